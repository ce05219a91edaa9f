import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import gaussian, tree_neighbors

from hpcgeom.errors import InputError
from hpcgeom.geometry import gride, plateau
from hpcgeom.types import Status


def test_is_the_range_where_the_curve_is_flat():
    values = [20.0, 11.0, 5.1, 5.0, 5.05, 4.97, 3.0]
    found = plateau(values, np.full(7, 0.1))
    assert (found.start, found.stop, found.status) == (2, 6, Status.OK)
    assert found.value == pytest.approx(5.03, rel=1e-12)
    assert found.error == pytest.approx(0.1, rel=1e-12)


def test_value_is_weighted_and_error_is_that_of_scales_that_move_together():
    values, errors = np.array([5.2, 5.1, 5.0]), np.array([0.4, 0.2, 0.1])
    found = plateau(values, errors)
    weights = errors**-2.0
    assert found.value == pytest.approx(np.sum(weights * values) / weights.sum(), rel=1e-12)
    assert found.error == pytest.approx(np.sum(weights * errors) / weights.sum(), rel=1e-12)
    assert found.error > weights.sum() ** -0.5  # that of independent scales


def test_error_bounds_the_spread_whatever_the_correlation(rng):
    errors = np.array([0.3, 0.2, 0.1])
    for correlation in (0.0, 0.9, 0.9999):
        noise = rng.multivariate_normal(
            np.zeros(3), np.outer(errors, errors) * (correlation + (1 - correlation) * np.eye(3)), 2000
        )
        found = [plateau(5 + row, errors, n_errors=100.0) for row in noise]
        assert np.std([item.value for item in found]) < 1.05 * found[0].error


def test_the_longest_range_wins_and_of_equal_ones_the_flattest():
    errors = np.full(8, 0.1)
    longer = plateau([9.0, 9.0, 9.0, 7.0, 5.1, 5.0, 5.1, 5.0], errors)
    assert (longer.start, longer.stop) == (4, 8)
    flatter = plateau([9.0, 9.1, 9.0, 7.0, 5.0, 5.0, 5.0, 3.0], errors)
    assert (flatter.start, flatter.stop) == (4, 7)
    relative = plateau([9.0, 9.05, 9.0, 7.0, 5.0, 5.04, 5.0, 3.0], errors)  # 0.6 % beats 0.8 %
    assert (relative.start, relative.stop) == (0, 3)
    first = plateau([5.0, 5.0, 5.0, 9.0, 5.0, 5.0, 5.0], errors[:7])
    assert (first.start, first.stop) == (0, 3)


def test_a_scale_without_value_or_error_ends_a_range():
    values, errors = np.full(7, 4.0), np.full(7, 0.1)
    values[3] = np.nan
    assert (plateau(values, errors).start, plateau(values, errors).stop) == (0, 3)
    errors[1] = np.nan
    assert (plateau(values, errors).start, plateau(values, errors).stop) == (4, 7)
    errors[5] = np.nan
    assert plateau(values, errors).status is Status.TOO_FEW_NEIGHBORS


@pytest.mark.parametrize("n_scales", [0, 1, 2])
def test_fewer_scales_than_asked_for_are_too_few(n_scales):
    found = plateau(np.full(n_scales, 4.0), np.full(n_scales, 0.1))
    assert (found.start, found.stop, found.status) == (0, 0, Status.TOO_FEW_NEIGHBORS)
    assert np.isnan([found.value, found.error]).all()


def test_a_curve_that_falls_everywhere_has_none():
    found = plateau([16.0, 8.0, 4.0, 2.0, 1.0], np.full(5, 0.1))
    assert (found.start, found.stop, found.status) == (0, 0, Status.NO_SOLUTION)
    assert np.isnan([found.value, found.error]).all()


def test_a_tolerance_allows_what_errors_of_many_points_do_not():
    values, errors = np.array([5.1, 5.0, 4.95, 4.9, 3.0]), np.full(5, 0.001)
    assert plateau(values, errors).status is Status.NO_SOLUTION
    found = plateau(values, errors, tolerance=0.015)
    assert (found.start, found.stop) == (0, 4)
    bars = np.sqrt(errors**2 + (0.015 * values) ** 2)[:4]
    assert found.value == pytest.approx(np.average(values[:4], weights=bars**-2), rel=1e-12)
    assert found.error == pytest.approx(np.average(bars, weights=bars**-2), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(1.0, 30.0), min_size=3, max_size=9),
    error=st.floats(0.01, 3.0),
    n_errors=st.floats(0.0, 3.0),
    unit=st.floats(0.1, 10.0),
)
def test_is_a_range_that_agrees_and_no_longer_one_does(values, error, n_errors, unit):
    v = np.array(values)
    found = plateau(v, np.full(v.size, error), n_errors=n_errors)

    def agrees(start, stop):
        return (
            np.ptp(v[start:stop]) == 0
            or (abs(v[start:stop] - v[start:stop].mean()) <= n_errors * error).all()
        )

    lengths = [b - a for a in range(v.size) for b in range(a + 3, v.size + 1) if agrees(a, b)]
    if not lengths:
        assert found.status is Status.NO_SOLUTION
    elif found.status is Status.OK:  # rounding of means may end a range of equal values
        assert found.stop - found.start == max(lengths)
        assert agrees(found.start, found.stop)
        scaled = plateau(v * unit, np.full(v.size, error * unit), n_errors=n_errors)
        if n_errors > 0:
            assert scaled.value == pytest.approx(found.value * unit, rel=1e-6) or scaled.stop != found.stop


@pytest.mark.parametrize("noise", [0.005, 0.01])
def test_noise_at_small_scales_is_left_out(rng, noise):
    """A plane with noise in eight more directions: 2 at large scales, more at small ones."""
    points = noise * gaussian(rng, 8000, 10)
    points[:, :2] += 4 * rng.random((8000, 2))
    curve = gride(tree_neighbors(points, 512)[0], 512)
    found = plateau(curve.value, curve.error, tolerance=0.02)
    assert curve.value[0] > 3.0
    assert found.status is Status.OK
    assert found.start > 1
    assert found.value == pytest.approx(2.0, rel=0.05)  # boundaries bend the largest scales


@pytest.mark.parametrize(("d", "seed"), [(1, 0), (2, 1), (5, 2)])
def test_finds_the_dimension_of_a_torus(d, seed):
    points = np.random.default_rng(seed).random((3000, d))
    curve = gride(tree_neighbors(points, 64, period=1.0)[0])
    found = plateau(curve.value, curve.error, n_errors=3.0)
    assert found.status is Status.OK
    assert found.stop - found.start >= 4
    assert abs(found.value - d) < 4 * found.error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plateau([1.0, 2.0], [0.1]),
            r"one shape \(scales,\), found \(2,\) and \(1,\); pass the value and",
        ),
        (lambda: plateau([[1.0]], [[0.1]]), r"one shape \(scales,\), found \(1, 1\)"),
        (
            lambda: plateau([1.0, -2.0], [0.1, 0.1]),
            r"values: scale 1 is -2, expected a positive, finite number",
        ),
        (lambda: plateau([1.0, np.inf], [0.1, 0.1]), r"values: scale 1 is inf"),
        (lambda: plateau([1.0, 1.0], [0.0, 0.1]), r"errors: scale 0 is 0, .*write NaN where there is none"),
        (lambda: plateau([1.0], [0.1], min_scales=1), r"min_scales: expected 2 or more, found 1; 3 is usual"),
        (
            lambda: plateau([1.0], [0.1], n_errors=-1.0),
            r"n_errors: expected a number of 0 or more, found -1.0; 2",
        ),
        (
            lambda: plateau([1.0], [0.1], tolerance=np.nan),
            r"tolerance: expected a number of 0 or more, found nan",
        ),
    ],
)
def test_refuses_what_is_no_curve(call, message):
    with pytest.raises(InputError, match=message):
        call()
