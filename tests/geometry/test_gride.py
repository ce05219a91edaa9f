import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian
from scipy.optimize import minimize_scalar
from scipy.special import betaln

from hpcgeom.errors import InputError
from hpcgeom.geometry import gride, scales, twonn_mle
from hpcgeom.types import Status


def log_likelihood(d, mu, n1, n2):
    """The density of Denti et al., with N - 1 for N in front of log d."""
    log_mu = np.log(mu)
    terms = (n2 - n1 - 1) * np.log(np.expm1(d * log_mu)) - (d * (n2 - 1) + 1) * log_mu
    return (mu.size - 1) * np.log(d) + terms.sum() - mu.size * betaln(n2 - n1, n1)


def test_reproduces_the_reference_values(two_gaussians):
    result = gride(two_gaussians[0])
    assert result.n2.tolist() == [2, 4, 8, 16, 32, 64]
    np.testing.assert_allclose(result.value, [2.0007, 2.0321, 1.9118, 2.0005, 1.6747, 0.7208], atol=1e-4)
    assert result.n_points.tolist() == [100] * 6
    assert result.status.tolist() == [Status.OK] * 6
    assert result.value.dtype == result.error.dtype == result.distance.dtype == np.float64
    assert result.status.dtype == np.int8


@pytest.mark.parametrize("d", [1, 4])
def test_finds_the_maximum_of_the_likelihood(rng, d):
    distances, _ = brute_neighbors(gaussian(rng, 300, d), 64)
    result = gride(distances)
    for n2, value in zip(result.n2[1:].tolist(), result.value[1:].tolist(), strict=True):
        mu = distances[:, n2 - 1] / distances[:, n2 // 2 - 1]
        best = minimize_scalar(
            lambda x, mu=mu, n2=n2: -log_likelihood(x, mu, n2 // 2, n2),
            bounds=(d / 4, 4 * d),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert value == pytest.approx(best.x, rel=1e-6)  # a parabola's top is flat: half the digits


def test_error_is_the_curvature_of_the_likelihood(two_gaussians):
    distances = two_gaussians[0]
    result = gride(distances)
    for n2, value, error in zip(result.n2.tolist(), result.value, result.error, strict=True):
        mu = distances[:, n2 - 1] / distances[:, n2 // 2 - 1]
        step = 1e-4 * value
        around = [log_likelihood(value + i * step, mu, n2 // 2, n2) for i in (-1, 0, 1)]
        curvature = (2 * around[1] - around[0] - around[2]) / step**2
        # the curvature has N - 1 for N in one term
        assert error**-2 == pytest.approx(curvature + 1 / value**2, rel=1e-4)


def test_the_root_is_exact_to_the_last_bits(two_gaussians):
    distances = two_gaussians[0].astype(np.longdouble)
    result = gride(two_gaussians[0])
    for n2, value in zip(result.n2.tolist(), result.value.tolist(), strict=True):
        log_mu = np.log(distances[:, n2 - 1] / distances[:, n2 // 2 - 1])

        def slope(d, log_mu=log_mu, n2=n2):
            free = n2 - n2 // 2 - 1
            return np.sum(((n2 - 1) - free / -np.expm1(-d * log_mu)) * log_mu) - (log_mu.size - 1) / d

        low, high = np.longdouble(0.5), np.longdouble(4.0)
        while high - low > 1e-18 * high:
            middle = (low + high) / 2
            if middle in (low, high):
                break
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        assert value == pytest.approx(float(low), rel=2e-15)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_first_scale_is_the_likelihood_of_two_neighbors(seed):
    distances = np.sort(np.random.default_rng(seed).uniform(0.1, 1.0, (50, 2)), axis=1)
    first, same = gride(distances, 2), twonn_mle(distances)
    assert first.value[0] == pytest.approx(same.value, rel=1e-14)
    assert first.error[0] == pytest.approx(same.error, rel=1e-14)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-100.0, 100.0))
def test_ignores_order_and_unit(seed, exponent):
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.uniform(0.5, 1.0, (60, 16)), axis=1)
    here, there = gride(distances, 16), gride(rng.permutation(distances) * 10.0**exponent, 16)
    np.testing.assert_allclose(there.value, here.value, rtol=1e-12)
    np.testing.assert_allclose(there.error, here.error, rtol=1e-12)
    np.testing.assert_allclose(there.distance, here.distance * 10.0**exponent, rtol=1e-12)


@pytest.mark.parametrize("n1", [1, 2, 8])
def test_recovers_the_dimension_of_ratios_that_follow_the_model(rng, n1):
    d, n2 = 6.0, 2 * n1
    volumes = rng.beta(n1, n2 - n1, 20_000)  # share of the larger ball's volume inside the smaller
    distances = np.ones((20_000, n2))
    distances[:, :n1] = volumes[:, None] ** (1 / d)
    result = gride(distances, n2)
    assert result.value[-1] == pytest.approx(d, rel=4 / np.sqrt(20_000))
    assert abs(result.value[-1] - d) < 4 * result.error[-1]


def test_distance_is_the_mean_of_both_neighbors(two_gaussians):
    distances = two_gaussians[0]
    expected = [distances[:, [n2 // 2 - 1, n2 - 1]].mean() for n2 in (2, 4, 8, 16, 32, 64)]
    np.testing.assert_allclose(gride(distances).distance, expected, rtol=1e-14)


def test_ties_in_some_rows_are_kept(two_gaussians):
    distances = two_gaussians[0][:, :4].copy()
    distances[:20, 2:] = distances[:20, 1:2]
    result = gride(distances, 4)
    assert result.status.tolist() == [Status.OK, Status.OK]
    assert result.n_points[1] == 100
    assert result.value[1] > gride(two_gaussians[0], 4).value[1]


def test_ties_everywhere_have_no_solution():
    result = gride(np.ones((50, 8)), 8)
    assert result.status.tolist() == [Status.NO_SOLUTION] * 3
    assert np.isnan(result.value).all()
    assert np.isnan(result.error).all()
    assert np.isnan(result.distance).all()


def test_scales_beyond_the_lists_say_so(two_gaussians):
    cut = gride(two_gaussians[0][:, :20].copy())
    assert cut.status.tolist() == [Status.OK] * 4 + [Status.TOO_FEW_NEIGHBORS] * 2
    assert np.isnan(cut.value).tolist() == [False] * 4 + [True] * 2


def test_lists_that_end_in_nan_are_short(rng):
    distances = np.full((20, 64), np.nan)
    distances[:, :19] = brute_neighbors(gaussian(rng, 20, 2), 19)[0]
    assert gride(distances).status.tolist() == [Status.OK] * 4 + [Status.TOO_FEW_NEIGHBORS] * 2


@pytest.mark.parametrize(
    ("distances", "status"),
    [
        (np.zeros((30, 4)), Status.CONSTANT),
        (np.ones((3, 4)), Status.TOO_FEW_POINTS),
        (np.tile([0.0, 1.0, 1.0, 2.0], (30, 1)), Status.DUPLICATES),
    ],
)
def test_says_why_there_is_no_value(distances, status):
    result = gride(distances, 4)
    assert result.status.tolist() == [status] * 2
    assert np.isnan(result.value).all()


@pytest.mark.parametrize(
    ("range_max", "n2"), [(2, [2]), (3, [2]), (64, [2, 4, 8, 16, 32, 64]), (np.int64(5), [2, 4])]
)
def test_scales_are_powers_of_two(range_max, n2):
    assert scales(range_max).tolist() == n2


@pytest.mark.parametrize("range_max", [1, 0, -8, 2.5, "64", None])
def test_refuses_a_range_without_scales(two_gaussians, range_max):
    with pytest.raises(InputError, match=r"range_max: expected an integer of 2 or more, found .*64 is usual"):
        gride(two_gaussians[0], range_max)


def test_a_filter_leaves_out_large_ratios_of_the_value_alone(rng):
    distances, _ = brute_neighbors(gaussian(rng, 200, 3), 8)
    distances[7, 1:] *= 1e6  # a ratio far beyond 20 times the spread
    ratios = distances[:, 1] / distances[:, 0]
    others = np.arange(200) != 7
    filtered = gride(distances, 8, mu_filter="dadapy")
    assert filtered.n_points.tolist() == [199, 200, 200]
    assert filtered.value[0] == pytest.approx(198 / np.log(ratios[others]).sum(), rel=1e-12)
    # at n2 = 2 the information is N / d^2, of all ratios
    assert filtered.error[0] == pytest.approx(filtered.value[0] / np.sqrt(200), rel=1e-12)
    unfiltered = gride(distances, 8)
    assert unfiltered.n_points.tolist() == [200] * 3
    assert filtered.distance.tolist() == unfiltered.distance.tolist()
    assert filtered.value[1:].tolist() == unfiltered.value[1:].tolist()


def test_a_filter_may_leave_too_few_ratios():
    """Equal quantiles leave only what is below them: nothing, or one ratio."""
    distances = np.tile([1.0, 3.0], (40, 1))
    for below, n_left in ((0, 0), (1, 1)):
        distances[:below, 1] = 2.0
        result = gride(distances, 2, mu_filter="dadapy")
        assert (result.n_points.tolist(), result.status.tolist()) == ([n_left], [Status.TOO_FEW_POINTS])
        assert np.isnan([result.value, result.error, result.distance]).all()


def test_refuses_a_filter_that_is_none(two_gaussians):
    with pytest.raises(InputError, match="there is no 'dada'; expected 'none' or 'dadapy'; choose one"):
        gride(two_gaussians[0], mu_filter="dada")
