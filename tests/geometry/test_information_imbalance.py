import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, random_lists
from scipy.stats import ortho_group, rankdata

from hpcgeom.errors import InputError
from hpcgeom.geometry import (
    imbalance_bounds,
    imbalance_counts,
    imbalance_matrix,
    information_imbalance,
)
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)


def of_full_lists(lists_a, lists_b, k=1):
    """2 / N <r_B | r_A <= k> from lists of all other points, with Python's own `index`."""
    n_points = len(lists_a)
    ranks = [b.index(j) + 1 for a, b in zip(lists_a.tolist(), lists_b.tolist(), strict=True) for j in a[:k]]
    return 2.0 * np.mean(ranks) / n_points


def by_scipy_ranks(points_a, points_b):
    """The ranks of one point after the other, by scipy."""
    found = []
    for i in range(len(points_a)):
        away_a, away_b = (np.delete(np.linalg.norm(p - p[i], axis=1), i) for p in (points_a, points_b))
        found.append(rankdata(away_b, method="ordinal")[np.argmin(away_a)])
    return 2.0 * np.mean(found) / len(points_a), 2.0 * np.std(found) / len(points_a) ** 1.5


def matrix_of(layers, **kwargs):
    return imbalance_matrix(lambda layer, a, b: layers[layer][a:b], len(layers), len(layers[0]), **kwargs)


def clouds(rng, n_points=60):
    points = gaussian(rng, n_points, 4)
    return [points, points[:, :2], points + 0.3 * gaussian(rng, n_points, 4), gaussian(rng, n_points, 3)]


@pytest.mark.parametrize("k", [1, 2, 7, 58])
def test_is_the_mean_rank_in_lists_of_all_points(rng, k):
    layers = clouds(rng)
    lists = [brute_neighbors(points, 59)[1] for points in layers]
    expected = [[of_full_lists(a, b, k) for b in lists] for a in lists]
    found = matrix_of(layers, k=k)
    np.testing.assert_allclose(found.value, expected, rtol=1e-13)
    np.testing.assert_allclose(np.diagonal(found.value), (k + 1) / 60, rtol=1e-13)
    assert not found.status.any()
    pair = information_imbalance(layers[0], layers[1], k)
    assert (pair.value, pair.status, pair.n_points) == (found.value[0, 1], Status.OK, 60)


def test_value_and_error_are_those_of_scipy_ranks(rng):
    layers = clouds(rng)
    found = matrix_of(layers)
    for a, points_a in enumerate(layers):
        for b, points_b in enumerate(layers):
            value, error = by_scipy_ranks(points_a, points_b)
            assert found.value[a, b] == pytest.approx(value, rel=1e-13)
            assert found.error[a, b] == pytest.approx(error, rel=1e-10, abs=1e-15)


def test_does_not_depend_on_how_much_is_held_at_once(rng):
    layers = [points.astype(np.float32) for points in clouds(rng)]
    whole = matrix_of(layers)
    for memory_bytes in (1, 10_000, 50_000):
        parts = matrix_of(layers, memory_bytes=memory_bytes)
        np.testing.assert_array_equal(parts.value, whole.value)
        np.testing.assert_array_equal(parts.error, whole.error)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, scale=st.floats(1e-6, 1e6), offset=st.floats(-10, 10))
def test_ignores_rotations_translations_scales_and_the_order_of_points(seed, scale, offset):
    rng = np.random.default_rng(seed)
    a, b = gaussian(rng, 25, 3), gaussian(rng, 25, 4)
    order = rng.permutation(25)
    moved = (a @ ortho_group(3).rvs(random_state=rng) + offset)[order] * scale
    assert information_imbalance(moved, b[order]).value == information_imbalance(a, b).value
    assert information_imbalance(b[order], moved).value == information_imbalance(b, a).value


def test_knows_which_representation_holds_the_other(rng):
    """A part of the coordinates is predicted by all of them, and does not predict them."""
    points = gaussian(rng, 500, 3)
    part = points[:, :1]
    assert information_imbalance(points, part).value < 0.6 * information_imbalance(part, points).value
    independent = information_imbalance(points, gaussian(rng, 500, 3))
    assert abs(independent.value - 1.0) < 4 * independent.error
    assert 0.02 < independent.error < 0.03  # a uniform rank has the spread N / sqrt(12)


def test_duplicates_are_counted_and_ordered_by_row(rng):
    points = gaussian(rng, 30, 3)
    points[20:25] = points[:5]
    other = gaussian(rng, 30, 2)
    found = matrix_of([points, other])
    assert found.n_zero_distances.tolist() == [10, 0]
    lists = [brute_neighbors(each, 29)[1] for each in (points, other)]
    assert found.value[0, 1] == pytest.approx(of_full_lists(*lists), rel=1e-14)
    assert found.value[1, 0] == pytest.approx(of_full_lists(*lists[::-1]), rel=1e-14)


def test_equal_points_have_no_neighbors_in_order(rng):
    found = matrix_of([gaussian(rng, 20, 2), np.full((20, 3), 0.1)])
    assert found.status.tolist() == [Status.OK, Status.CONSTANT]
    assert np.isnan(found.value).tolist() == [[False, True], [True, True]]
    assert np.isnan(found.error).tolist() == [[False, True], [True, True]]
    assert found.n_zero_distances.tolist() == [0, 20]


@pytest.mark.parametrize(("n_points", "k"), [(0, 1), (1, 1), (2, 1), (6, 5)])
def test_few_points_have_no_imbalance(n_points, k):
    estimate = information_imbalance(np.zeros((n_points, 2)), np.zeros((n_points, 2)), k)
    assert np.isnan(estimate.value)
    assert estimate.status is Status.TOO_FEW_POINTS


def bounds_of(lists, n_points, other=None):
    return imbalance_bounds(imbalance_counts(lists, n_points, other), n_points)


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds, k=st.integers(1, 15), n_layers=st.integers(1, 3), dtype=st.sampled_from([np.int16, np.int64])
)
def test_lists_bound_the_exact_value(seed, k, n_layers, dtype):
    lists = random_lists(np.random.default_rng(seed), n_layers, 16, 15)
    found = bounds_of(lists[:, :, :k].astype(dtype), 16)
    exact = np.array([[of_full_lists(a, b) for b in lists] for a in lists])
    assert (found.low <= exact + 1e-12).all()
    assert (found.high >= exact - 1e-12).all()
    hidden = np.array(
        [[sum(i not in row for i, row in zip(a[:, 0], b[:, :k], strict=True)) for b in lists] for a in lists]
    )
    np.testing.assert_array_equal(found.n_censored, hidden)
    np.testing.assert_allclose((found.high - found.low) * 16**2 / 2, hidden * (15 - (k + 1)), atol=1e-9)
    if k == 15:
        np.testing.assert_allclose(found.low, exact, rtol=1e-14)
        np.testing.assert_array_equal(found.high, found.low)


def test_lists_of_two_models_are_those_of_both_together(rng):
    lists = random_lists(rng, 5, 30, 9)
    together = bounds_of(lists, 30)
    apart = bounds_of(lists[:2], 30, lists[2:, :, :7])
    np.testing.assert_array_equal(apart.n_compared, [30, 30])
    assert (apart.low <= together.low[:2, 2:]).all()
    np.testing.assert_array_equal(bounds_of(lists[:2], 30, lists[2:]).low, together.low[:2, 2:])


def test_blocks_of_points_add_up(rng):
    lists = random_lists(rng, 3, 40, 6)
    whole = imbalance_counts(lists, 40)
    parts = imbalance_counts(lists[:, :13], 40) + imbalance_counts(lists[:, 13:], 40)
    for name in ("rank_sum", "n_censored", "n_listed", "n_compared"):
        assert getattr(whole, name).dtype == np.int64
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_points_without_a_neighbor_are_not_compared():
    a = np.array([[1, 2], [-1, -1], [0, 1]])
    b = np.array([[1, 2], [0, 2], [1, -1]])
    counts = imbalance_counts(np.stack([a, b]), 3)
    assert counts.n_compared.tolist() == [2, 3]
    # row 2 of B ends after one neighbor: the rank of row 0 is 2 or more, and at most N - 1 = 2
    assert counts.rank_sum.tolist() == [[2, 3], [1 + 1 + 2, 3]]
    assert counts.n_censored.tolist() == [[0, 1], [1, 0]]
    found = imbalance_bounds(counts, 3)
    np.testing.assert_allclose(found.low, [[2 * 2 / 6, 2 * 3 / 6], [2 * 4 / 9, 2 * 3 / 9]])
    np.testing.assert_allclose(found.high, [[2 * 2 / 6, 2 * 3 / 6], [2 * 5 / 9, 2 * 3 / 9]])
    nobody = bounds_of(np.full((1, 4, 2), -1), 4)
    assert np.isnan([nobody.low, nobody.high]).all()


LISTS = np.zeros((2, 5, 4), int)
CLOUD = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: information_imbalance(CLOUD, CLOUD[:3]),
            r"have 4 and 3 points; .*, pass the rows they share",
        ),
        (
            lambda: information_imbalance(CLOUD, CLOUD * np.nan),
            r"layer 1, rows from 0: row 0, feature 0 is nan",
        ),
        (lambda: information_imbalance(CLOUD, CLOUD.astype(int)), r"layer 1, .*: expected floating point"),
        (lambda: information_imbalance(CLOUD, CLOUD, 0), r"k of 1 or more, found 2 layers, 4 points, k = 0"),
        (lambda: imbalance_matrix(lambda *_: CLOUD, 0, 4), r"expected 1 layer or more.*found 0 layers"),
        (
            lambda: imbalance_matrix(lambda *_: CLOUD, 1, 5),
            r"rows 0\.\.4 have shape \(4, 2\), expected \(5, 2\)",
        ),
        (lambda: imbalance_counts(LISTS[0], 5), r"indices: expected integers of shape \(layers, points"),
        (lambda: imbalance_counts(LISTS, 5, LISTS * 1.0), r"other: expected integers .* found float64"),
        (
            lambda: imbalance_counts(LISTS, 5, LISTS[:, :4]),
            r"lists are of 5 and of 4 points; expected the same",
        ),
        (lambda: imbalance_counts(LISTS + 5, 5), r"indices: expected lists .* row number in 0\.\.4 or -1"),
        (lambda: imbalance_counts(LISTS[:, :, :0], 5), r"lists of 1 neighbor or more.*shape \(2, 5, 0\)"),
    ],
)
def test_refuses_what_cannot_be_ranked(call, message):
    with pytest.raises(InputError, match=message):
        call()
