import numpy as np
import pytest
from known_clouds import brute_neighbors, gaussian

from hpcgeom.errors import InputError
from hpcgeom.geometry import gride, twonn, twonn_mle, twonn_mle_censored
from hpcgeom.geometry.ratios import MIN_POINTS, log_ratio
from hpcgeom.types import Status

ESTIMATORS = [twonn, twonn_mle, twonn_mle_censored]
by_estimator = pytest.mark.parametrize("estimator", [*ESTIMATORS, gride], ids=lambda f: f.__name__)
by_twonn = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda f: f.__name__)


def lists(rng, n_points=40, k=8):
    return brute_neighbors(gaussian(rng, n_points, 3), k)[0]


@by_estimator
@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (7, 1, -1.0, r"row 7, column 1 is -1: a negative value.*write NaN"),
        (7, 0, -np.inf, r"row 7, column 0 is -inf: a negative value"),
        (9, 7, np.inf, r"row 9, column 7 is inf: an infinite value"),
        (3, 2, 3.4028234663852886e38, r"row 3, column 2 is 3.40282e\+38: faiss's mark.*NaN among the points"),
        (3, 2, np.sqrt(3.4028234663852886e38), r"row 3, column 2 is 1.84467e\+19: faiss's mark"),
        (3, 2, float(np.sqrt(np.finfo(np.float32).max)), r"row 3, column 2 is 1.84467e\+19: faiss's mark"),
        (0, 4, 1e-9, r"row 0, column 4 is 1e-09: a value below the one before it; sort"),
        (5, 0, np.nan, r"row 5, column 1 is .*: a number after NaN"),
        (5, 1, np.nan, r"row 5, column 2 is .*: a number after NaN"),
        (6, 7, np.nan, r"row 6 has NaN after 7 neighbors, but other rows have 8; search its neighbors again"),
    ],
)
def test_refuses_a_bad_value_and_names_its_place(estimator, rng, row, column, value, message):
    distances = lists(rng)
    distances[row, column] = value
    with pytest.raises(InputError, match=message):
        estimator(distances)


@by_estimator
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones((4, 3), np.float32), r"expected float64, found float32; compute them in float64"),
        (np.ones((4, 3), np.int64), r"expected float64, found int64"),
        (np.ones(4), r"expected a 2-D array .* found \(4,\); pass the distances"),
        (np.ones((2, 2, 2)), r"expected a 2-D array .* found \(2, 2, 2\)"),
        ([[1.0, 2.0]], r"expected a 2-D array .* found list"),
    ],
)
def test_refuses_other_arrays(estimator, bad, message):
    with pytest.raises(InputError, match=message):
        estimator(bad)


@by_twonn
def test_leaves_out_rows_of_nan(estimator, rng):
    distances = lists(rng)
    holed = np.insert(distances, [0, 5, 40], np.nan, axis=0)
    assert estimator(holed) == estimator(distances)


@by_twonn
@pytest.mark.parametrize("percent", [0, 1, 5, 20])
def test_leaves_out_and_counts_zero_distances(estimator, rng, percent):
    n_points = 400
    points = gaussian(rng, n_points, 2)
    n_copies = n_points * percent // 100
    points[:n_copies] = points[n_copies : 2 * n_copies]
    distances, _ = brute_neighbors(points, 4)
    estimate = estimator(distances)
    assert estimate.n_zero_distances == 2 * n_copies
    assert estimate.n_points == n_points - 2 * n_copies
    assert estimate.status is Status.OK
    assert estimate.value == estimator(distances[2 * n_copies :]).value
    assert estimate.value == pytest.approx(2.0, rel=0.3)  # four standard errors of 240 ratios


@pytest.mark.parametrize("percent", [1, 5, 20])
def test_gride_leaves_out_zero_distances_at_every_scale(rng, percent):
    points = gaussian(rng, 400, 2)
    n_copies = 4 * percent
    points[:n_copies] = points[n_copies : 2 * n_copies]
    distances, _ = brute_neighbors(points, 16)
    result = gride(distances, 16)
    assert result.n_zero_distances == 2 * n_copies
    np.testing.assert_array_equal(result.value, gride(distances[2 * n_copies :], 16).value)
    assert (abs(result.value - 2.0) < 0.5).all()


@by_twonn
@pytest.mark.parametrize("n_points", [2, 3, MIN_POINTS, 1000])
def test_equal_points_are_constant(estimator, n_points):
    estimate = estimator(np.zeros((n_points, 5)))
    assert estimate.status is Status.CONSTANT
    assert np.isnan(estimate.value)
    assert np.isnan(estimate.error)
    assert (estimate.n_points, estimate.n_zero_distances) == (0, n_points)


@by_twonn
def test_one_distinct_point_among_many_is_constant(estimator):
    assert estimator(np.full((50, 3), np.nan)).status is Status.CONSTANT


@by_twonn
@pytest.mark.parametrize(
    ("n_points", "status"),
    [*((n, Status.TOO_FEW_POINTS) for n in (0, 1, 2, 3, MIN_POINTS - 1)), (MIN_POINTS, Status.OK)],
)
def test_says_when_points_are_too_few(estimator, rng, n_points, status):
    distances = np.full((n_points, 4), np.nan)
    if n_points > 1:
        n_others = min(4, n_points - 1)
        distances[:, :n_others] = lists(rng, n_points, n_others)
    estimate = estimator(distances)
    assert estimate.status is status
    assert np.isnan(estimate.value) == (status is not Status.OK)


@by_twonn
def test_too_few_points_because_of_zeros_are_duplicates(estimator, rng):
    distances = lists(rng, 30)
    distances[: 30 - MIN_POINTS + 1, 0] = 0.0
    estimate = estimator(distances)
    assert estimate.status is Status.DUPLICATES
    assert estimate.n_zero_distances == 30 - MIN_POINTS + 1


@by_twonn
def test_few_distinct_points_among_many_are_duplicates(estimator, rng):
    distances = np.full((1000, 4), np.nan)
    distances[:5] = lists(rng, 5, 4)
    assert estimator(distances).status is Status.DUPLICATES


@by_twonn
def test_one_column_is_too_few_neighbors(estimator, rng):
    assert estimator(lists(rng, 30, 1)).status is Status.TOO_FEW_NEIGHBORS


@by_estimator
def test_no_columns_are_no_error(estimator):
    assert np.isnan(estimator(np.empty((30, 0))).value).all()


@by_twonn
def test_equal_first_and_second_distances_have_no_solution(estimator):
    estimate = estimator(np.ones((50, 2)))
    assert estimate.status is Status.NO_SOLUTION
    assert np.isnan(estimate.value)


def test_log_ratio_keeps_its_digits_where_distances_are_nearly_equal():
    next_after = np.nextafter(0.7, 1.0)
    nearer = np.array([0.7, 1.0, 1e-300, 5e-324, 1e300])
    farther = np.array([next_after, 1.0 + 2**-40, 1.5e-300, 1e300, 1e300])
    expected = [2.0**-53 / 0.7, 2.0**-40 - 2.0**-81, np.log(1.5), np.log(1e300) - np.log(5e-324), 0.0]
    np.testing.assert_allclose(log_ratio(nearer, farther), expected, rtol=4e-16)
