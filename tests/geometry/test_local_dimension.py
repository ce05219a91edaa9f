import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, tree_neighbors
from scipy import stats

from hpcgeom.errors import InputError
from hpcgeom.geometry import levina_bickel, local_dimension
from hpcgeom.types import Status


def test_agrees_with_scikit_dimension_at_every_point(rng):
    from skdim.id import MLE  # not in the environment of the parity tests

    distances, indices = brute_neighbors(gaussian(rng, 200, 4), 25)
    theirs = MLE().fit(np.zeros((200, 2)), precomputed_knn_arrays=(distances[:, :20], indices[:, :20]))
    result = local_dimension(distances, 20)
    np.testing.assert_allclose(result.value, theirs.dimension_pw_, rtol=1e-11)
    np.testing.assert_allclose(result.error, theirs.dimension_pw_ / np.sqrt(19), rtol=1e-11)
    assert (result.k, result.n_points, result.status) == (20, 200, Status.OK)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_values_have_the_distribution_of_the_model(rng, k):
    d, n_points = 3.0, 4000
    distances = np.ones((n_points, k))
    distances[:, :-1] = np.sort(rng.random((n_points, k - 1)), axis=1) ** (1 / d)
    value = local_dimension(distances, k).value
    assert stats.kstest((k - 1) * d / value, stats.gamma(k - 1).cdf).pvalue > 0.01


@pytest.mark.parametrize(("k", "low", "high"), [(10, 0.67, 0.72), (20, 0.66, 0.71)])
def test_bars_hold_the_dimension_of_ratios_that_follow_the_model(rng, k, low, high):
    d, n_points = 3.0, 20_000
    distances = np.ones((n_points, k))
    distances[:, :-1] = np.sort(rng.random((n_points, k - 1)), axis=1) ** (1 / d)
    result = local_dimension(distances, k)
    assert low < np.mean(abs(result.value - d) < result.error) < high


def test_tells_a_line_from_a_plane(rng):
    line, plane = np.zeros((500, 3)), np.zeros((500, 3))
    line[:, 0] = rng.random(500)
    plane[:, :2] = 10.0 + rng.random((500, 2))
    result = local_dimension(tree_neighbors(np.concatenate([line, plane]), 20)[0], 20)
    assert np.median(result.value[:500]) == pytest.approx(1.0, rel=0.1)
    assert np.median(result.value[500:]) == pytest.approx(2.0, rel=0.1)


def test_its_inverses_average_to_the_dimension_of_all(two_gaussians):
    result = local_dimension(two_gaussians[0], 12)
    assert 1 / np.mean(1 / result.value) == pytest.approx(
        levina_bickel(two_gaussians[0], [12]).value[0], rel=1e-13
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-100.0, 100.0))
def test_goes_with_the_rows_and_ignores_the_unit(seed, exponent):
    rng = np.random.default_rng(seed)
    distances, order = np.sort(rng.uniform(0.5, 1.0, (40, 8)), axis=1), rng.permutation(40)
    here, there = local_dimension(distances, 8), local_dimension(distances[order] * 10.0**exponent, 8)
    np.testing.assert_allclose(there.value, here.value[order], rtol=1e-12)
    np.testing.assert_allclose(there.error, here.error[order], rtol=1e-12)


def test_rows_without_a_value_are_nan_and_counted_by_reason(two_gaussians):
    distances = two_gaussians[0][:, :5].copy()
    distances[[3, 50]] = np.nan
    distances[7, 0] = 0.0
    distances[[8, 9, 10]] = 2.0
    result = local_dimension(distances, 5)
    assert np.flatnonzero(np.isnan(result.value)).tolist() == [3, 7, 8, 9, 10, 50]
    np.testing.assert_array_equal(np.isnan(result.error), np.isnan(result.value))
    assert (result.n_without_list, result.n_zero_distances, result.n_equal_distances) == (2, 1, 3)
    assert result.n_points == 94
    assert result.status is Status.OK


@pytest.mark.parametrize("percent", [0, 1, 5, 20])
def test_points_at_distance_zero_are_counted(rng, percent):
    points = gaussian(rng, 400, 2)
    n_copies = 4 * percent
    points[:n_copies] = points[n_copies : 2 * n_copies]
    result = local_dimension(brute_neighbors(points, 10)[0], 10)
    assert np.flatnonzero(np.isnan(result.value)).tolist() == list(range(2 * n_copies))
    assert (result.n_zero_distances, result.n_points) == (2 * n_copies, 400 - 2 * n_copies)


@pytest.mark.parametrize(
    ("distances", "status"),
    [
        (np.zeros((30, 6)), Status.CONSTANT),
        (np.ones((0, 6)), Status.TOO_FEW_POINTS),
        (np.ones((4, 0)), Status.TOO_FEW_POINTS),
        (np.full((4, 6), np.nan), Status.CONSTANT),
        (np.tile([0.0, 1.0, 2.0], (30, 1)), Status.DUPLICATES),
        (np.ones((2, 1)), Status.TOO_FEW_NEIGHBORS),
        (np.ones((30, 4)), Status.NO_SOLUTION),
    ],
)
def test_says_why_no_point_has_a_value(distances, status):
    result = local_dimension(distances, 3 if status is not Status.TOO_FEW_NEIGHBORS else 2)
    assert result.status is status
    assert result.value.shape == (len(distances),)
    assert np.isnan(result.value).all()
    assert result.n_points == 0


def test_three_points_have_three_values():
    distances = brute_neighbors(np.array([[0.0], [1.0], [3.0]]), 2)[0]
    np.testing.assert_allclose(local_dimension(distances, 2).value, 1 / np.log([3.0, 2.0, 1.5]), rtol=1e-12)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (1, r"k: expected 2 or more neighbors, found 1; 10 to 50 are usual"),
        (0, r"k: k = 0 is not in 1"),
        (2.5, r"k: expected integers, found"),
    ],
)
def test_refuses_a_k_without_ratios(two_gaussians, k, message):
    with pytest.raises(InputError, match=message):
        local_dimension(two_gaussians[0], k)
