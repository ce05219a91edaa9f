from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, random_lists

from hpcgeom.errors import InputError
from hpcgeom.geometry import (
    chance_levels,
    common_bins,
    jackknife_error,
    neighbor_sets,
    overlap_counts,
    overlap_matrix,
    set_sums,
)

seeds = st.integers(0, 2**32 - 1)


def jaccard_by_sets(lists_a, lists_b, k):
    """|A n B| / |A u B| of every point by Python sets; an entry of -1 is an element of its own."""
    shares = []
    for a, b in zip(lists_a.tolist(), lists_b.tolist(), strict=True):
        first = {("a", rank) if j == -1 else j for rank, j in enumerate(a[:k])}
        second = {("b", rank) if j == -1 else j for rank, j in enumerate(b[:k])}
        shares.append(len(first & second) / len(first | second))
    return np.array(shares)


def jackknife_by_leaving_out(values, edges):
    """The delete-a-block jackknife written with its pseudo-values, as Busing et al. (1999) do."""
    n_points, n_blocks = len(values), len(edges) - 1
    estimate = values.mean()
    left_out = [np.delete(values, np.arange(a, b)).mean() for a, b in pairwise(edges)]
    sizes = np.diff(edges)
    combined = n_blocks * estimate - np.sum((1.0 - sizes / n_points) * left_out)
    h = n_points / sizes
    pseudo_values = h * estimate - (h - 1.0) * left_out
    return np.sqrt(np.mean((pseudo_values - combined) ** 2 / (h - 1.0)))


@settings(max_examples=40, deadline=None)
@given(
    n_layers=st.integers(1, 4),
    n_others=st.integers(1, 3),
    n_points=st.integers(1, 12),
    k=st.integers(1, 9),
    n_missing=st.integers(0, 3),
    dtype=st.sampled_from([np.int32, np.int64]),
    seed=seeds,
)
def test_is_what_sets_have_in_common_at_every_k(n_layers, n_others, n_points, k, n_missing, dtype, seed):
    rng = np.random.default_rng(seed)
    both = np.argsort(rng.random((n_layers + n_others, n_points, k + 5)), axis=2)[:, :, :k].astype(dtype)
    both[:, :, max(k - n_missing, 0) :] = -1
    layers, others = both[:n_layers], both[n_layers:]
    ks = range(1, k + 1)
    for right, given_other in ((layers, None), (others, others)):
        found = neighbor_sets(layers, ks, given_other)
        assert found.jaccard.shape == (k, n_layers, len(right))
        expected = [[[jaccard_by_sets(a, b, k).mean() for b in right] for a in layers] for k in ks]
        np.testing.assert_allclose(found.jaccard, expected, rtol=1e-13)
        np.testing.assert_allclose(found.mutual_knn, overlap_matrix(layers, ks, given_other), rtol=1e-13)


@pytest.mark.parametrize(
    "ks", [[1, 2, 5, 10, 20, 50], list(range(1, 21)), [255], [256], [300, 1, 20, 255, 256]]
)
def test_bins_hold_the_counts_and_squares_of_the_overlap(rng, ks):
    lists = random_lists(rng, 3, 305, 304).astype(np.int32)
    for other in (None, lists[:2].copy()):
        bins = common_bins(lists, ks, other)
        counts, squares = overlap_counts(lists, other, ks)
        for of_k, k, count, square in zip(bins, ks, counts, squares, strict=True):
            assert of_k.dtype == np.int64
            assert of_k.shape == (*count.shape, k + 1)
            np.testing.assert_array_equal(of_k.sum(axis=-1), 305)
            np.testing.assert_array_equal(of_k @ np.arange(k + 1), count)
            np.testing.assert_array_equal(of_k @ np.arange(k + 1) ** 2, square)


def test_blocks_of_points_add_up(rng):
    lists, other = random_lists(rng, 3, 50, 10), random_lists(rng, 2, 50, 12)
    whole = common_bins(lists, [3, 10], other)
    parts = [common_bins(lists[:, rows], [3, 10], other[:, rows]) for rows in (slice(0, 17), slice(17, None))]
    for i in range(2):
        np.testing.assert_array_equal(whole[i], parts[0][i] + parts[1][i])


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_is_symmetric_one_with_itself_and_ignores_names_and_order(seed):
    rng = np.random.default_rng(seed)
    lists = random_lists(rng, 3, 20, 8)
    found = neighbor_sets(lists, [1, 3, 8])
    np.testing.assert_array_equal(found.jaccard, np.swapaxes(found.jaccard, 1, 2))
    np.testing.assert_allclose(np.diagonal(found.jaccard, axis1=1, axis2=2), 1.0, rtol=1e-15)
    renamed = rng.permutation(10_000)[:20][lists][:, rng.permutation(20)]
    np.testing.assert_allclose(neighbor_sets(renamed, [1, 3, 8]).jaccard, found.jaccard, rtol=1e-14)
    assert (found.jaccard <= found.mutual_knn + 1e-15).all()


@pytest.mark.parametrize("n_blocks", [2, 7, 20, 100, 1000])
def test_errors_are_those_of_leaving_blocks_out(rng, n_blocks):
    points = gaussian(rng, 100, 3)
    lists = np.stack([brute_neighbors(c, 10)[1] for c in (points, points + 0.3 * gaussian(rng, 100, 3))])
    found = neighbor_sets(lists, [4, 10], n_blocks=n_blocks)
    edges = np.linspace(0, 100, min(n_blocks, 100) + 1).astype(int)
    for i, k in enumerate((4, 10)):
        jaccard = jaccard_by_sets(*lists, k)
        shared = 2.0 * jaccard / (1.0 + jaccard)
        assert found.jaccard_error[i, 0, 1] == pytest.approx(
            jackknife_by_leaving_out(jaccard, edges), rel=1e-9
        )
        assert found.mutual_knn_error[i, 1, 0] == pytest.approx(
            jackknife_by_leaving_out(shared, edges), rel=1e-9
        )
        np.testing.assert_allclose(np.diagonal(found.jaccard_error[i]), 0.0, atol=1e-12)


def test_blocks_of_one_point_give_the_error_of_independent_points(rng):
    values = rng.random(60)
    error = jackknife_error(values, np.ones(60, int))
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(60), rel=1e-12)


def test_the_error_is_the_spread_over_samples_where_points_come_in_groups(rng):
    """Groups of 10 equal terms: blocks of whole groups cover the truth, single points do not."""
    means, grouped, single = [], [], []
    for _ in range(300):
        terms = np.repeat(rng.random(40), 10)
        means.append(terms.mean())
        grouped.append(jackknife_error(terms.reshape(20, 20).sum(axis=1), np.full(20, 20)))
        single.append(jackknife_error(terms, np.ones(400, int)))
    assert np.mean(grouped) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(single) < 0.4 * np.std(means)


def test_chance_is_the_mean_over_independent_lists(rng):
    n_points, ks = 40, [1, 5, 20, 39]
    lists = random_lists(rng, 2, n_points, 39)
    many = [neighbor_sets(random_lists(rng, 2, n_points, 39), ks) for _ in range(100)]
    chance = chance_levels(n_points, ks)
    for name, level in zip(("mutual_knn", "jaccard"), chance, strict=True):
        found = np.array([getattr(each, name)[:, 0, 1] for each in many])
        error = found.std(axis=0) / np.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - level) <= 4 * error + 1e-12).all()
    found = neighbor_sets(lists, ks)
    np.testing.assert_array_equal(found.mutual_knn_chance, chance[0])
    np.testing.assert_array_equal(found.jaccard_chance, chance[1])
    np.testing.assert_allclose(chance[0], np.array(ks) / 39)


@pytest.mark.parametrize(("n_points", "k"), [(5, 2), (30, 7), (10, 9)])
def test_chance_of_jaccard_is_the_sum_over_all_overlaps(n_points, k):
    n = n_points - 1
    expected = sum(comb(k, c) * comb(n - k, k - c) / comb(n, k) * c / (2 * k - c) for c in range(k + 1))
    assert chance_levels(n_points, [k])[1][0] == pytest.approx(expected, rel=1e-12)


def test_there_is_no_chance_level_without_as_many_other_points():
    assert np.isnan(chance_levels(5, [4, 5])).tolist() == [[False, True], [False, True]]


def test_few_points_have_no_error_and_no_points_no_value():
    lone = neighbor_sets(np.array([[[1, 2]], [[2, 3]]]), [2])
    assert (lone.n_points, lone.jaccard[0, 0, 1]) == (1, 1 / 3)
    assert np.isnan(lone.jaccard_error).all()
    nothing = neighbor_sets(np.empty((2, 0, 4), int), [1, 2])
    for array in (nothing.jaccard, nothing.mutual_knn, nothing.jaccard_error, nothing.mutual_knn_error):
        assert array.shape == (2, 2, 2)
        assert np.isnan(array).all()


LISTS = np.zeros((2, 5, 4), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: neighbor_sets(LISTS[0], [1]),
            r"indices: expected integers of shape \(layers, points, neigh",
        ),
        (lambda: neighbor_sets(LISTS, [1], LISTS * 1.0), r"other: expected integers .*, found float64"),
        (
            lambda: common_bins(LISTS, [1], LISTS[:, :4]),
            r"the lists are of 5 and of 4 points; expected",
        ),
        (lambda: neighbor_sets(LISTS, [1], LISTS[:, :4]), r"the lists are of 5 and of 4 points"),
        (
            lambda: neighbor_sets(LISTS, [1, 5]),
            r"ks: k = 5 is not in 1\.\.4, the length of the neighbor lists",
        ),
        (lambda: neighbor_sets(LISTS, []), r"ks: expected at least one k, found none"),
        (
            lambda: neighbor_sets(LISTS, [1], n_blocks=0),
            r"n_blocks: expected 1 or more, found 0; 20 is usual",
        ),
        (
            lambda: jackknife_error(np.ones(3), np.ones(2, int)),
            r"jackknife: .* found 3 sums and the sizes \[1, 1",
        ),
        (
            lambda: jackknife_error(np.ones(2), np.array([3, 0])),
            r"none of them empty.*sizes \[3, 0\]; make fewer",
        ),
    ],
)
def test_refuses_what_cannot_be_counted(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_sums_are_those_of_the_bins():
    bins = (np.array([[[2, 3]]]), np.array([[[1, 0, 4]]]))
    shared, jaccard = set_sums(bins)
    assert shared[:, 0, 0].tolist() == [3.0, 8.0]
    assert jaccard[:, 0, 0].tolist() == [3.0, 4.0]
