import numpy as np
import pytest
from known_clouds import gaussian, random_lists, tree_neighbors

from hpcgeom.errors import InputError
from hpcgeom.geometry import half_sample_set_errors, neighbor_sets


def layers_of(rng, n_points, k, d=2, noise=0.1):
    points = gaussian(rng, n_points, d)
    clouds = (points, points + noise * gaussian(rng, n_points, d), gaussian(rng, n_points, d))
    return np.stack([tree_neighbors(cloud, k)[1] for cloud in clouds])


def by_halves(lists_a, lists_b, k, n_splits, seed):
    """Mutual k-NN of halves whose lists are walked by Python, with the same permutations."""
    generator = np.random.Generator(np.random.PCG64(seed))
    squares = []
    for _ in range(n_splits):
        side = generator.permutation(len(lists_a)) % 2
        means = []
        for half in (0, 1):
            shares = []
            for i in np.flatnonzero(side == half):
                a, b = ([j for j in each[i] if side[j] == half][:k] for each in (lists_a, lists_b))
                assert len(a) == len(b) == k
                shares.append(len(set(a) & set(b)) / k)
            means.append(np.mean(shares))
        squares.append((means[0] - means[1]) ** 2)
    return np.sqrt(np.mean(squares)) / 2.0


@pytest.mark.parametrize("n_points", [60, 61])
def test_is_the_difference_of_halves_with_neighbors_of_their_own(rng, n_points):
    lists = layers_of(rng, n_points, n_points - 1)
    for other in (None, lists[1:].astype(np.int32)):
        mutual_knn, jaccard = half_sample_set_errors(lists, [3, 9], other, n_splits=5, seed=4)
        column = 1 if other is None else 0
        for i, k in enumerate((3, 9)):
            expected = by_halves(lists[0], lists[1], k, 5, 4)
            assert mutual_knn[i, 0, column] == pytest.approx(expected, rel=1e-10)
        assert mutual_knn.shape == jaccard.shape == (2, 3, 3 if other is None else 2)
    lone, _ = half_sample_set_errors(lists, [1], n_splits=5, seed=4)
    both = half_sample_set_errors(lists, [1], n_splits=5, seed=4)
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)  # sets of one: c / k and c / (2k - c) are equal
    np.testing.assert_array_equal(lone, both[0])
    np.testing.assert_array_equal(np.diagonal(lone[0]), 0.0)


def test_is_the_spread_over_clouds_where_the_jackknife_is_too_short(rng):
    values, halves, jackknife = [], [], []
    for seed in range(60):
        lists = layers_of(rng, 300, 40)
        found = neighbor_sets(lists, [10])
        values.append(found.jaccard[0, 0, 1])
        jackknife.append(found.jaccard_error[0, 0, 1])
        halves.append(half_sample_set_errors(lists, [10], n_splits=8, seed=seed)[1][0, 0, 1])
    assert np.mean(halves) == pytest.approx(np.std(values), rel=0.25)
    assert np.mean(jackknife) < 0.8 * np.mean(halves)


def test_lists_that_end_too_soon_have_no_error(rng):
    lists = layers_of(rng, 200, 24)
    mutual_knn, jaccard = half_sample_set_errors(lists, [2, 5, 12], n_splits=4)
    for errors in (mutual_knn, jaccard):
        assert np.isfinite(errors[:2]).all()
        assert np.isnan(errors[2]).all()
    shorter = lists.copy()
    shorter[1, :, 8:] = -1
    mutual_knn, _ = half_sample_set_errors(shorter, [5], n_splits=4)
    assert np.isnan(mutual_knn[0]).tolist() == [[False, True, False], [True] * 3, [False, True, False]]


def test_the_seed_decides(rng):
    lists = layers_of(rng, 80, 30)
    first = half_sample_set_errors(lists, [5], n_splits=3, seed=1)[0]
    np.testing.assert_array_equal(half_sample_set_errors(lists, [5], n_splits=3, seed=1)[0], first)
    assert (half_sample_set_errors(lists, [5], n_splits=3, seed=2)[0] != first).any()


def test_three_points_have_no_halves(rng):
    errors = half_sample_set_errors(random_lists(rng, 2, 3, 2), [1])
    assert np.isnan(errors).all()


LISTS = np.zeros((2, 5, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: half_sample_set_errors(LISTS, [1], n_splits=0),
            r"n_splits: expected 1 or more, found 0; 32",
        ),
        (
            lambda: half_sample_set_errors(LISTS + 5, [1]),
            r"indices: expected row numbers in 0\.\.4, or -1, fou",
        ),
        (
            lambda: half_sample_set_errors(LISTS, [1], LISTS - 2),
            r"other: expected row numbers .* found -2\.\.-2",
        ),
        (lambda: half_sample_set_errors(LISTS, [5]), r"ks: k = 5 is not in 1\.\.4"),
        (
            lambda: half_sample_set_errors(LISTS, [1], LISTS[:, :4]),
            r"the lists are of 5 and of 4 points",
        ),
    ],
)
def test_refuses_what_cannot_be_halved(call, message):
    with pytest.raises(InputError, match=message):
        call()
