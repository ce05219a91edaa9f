import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian

from hpcgeom.errors import InputError
from hpcgeom.geometry import twonn, twonn_by_mu_fraction, twonn_mle, twonn_mle_censored
from hpcgeom.types import Status

ESTIMATORS = [twonn, twonn_mle, twonn_mle_censored]
by_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda f: f.__name__)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [(twonn, 1.854913), (twonn_mle, 2.000755), (twonn_mle_censored, 1.905241)],
)
def test_reproduces_the_reference_values(two_gaussians, estimator, expected):
    assert estimator(two_gaussians[0]).value == pytest.approx(expected, abs=6e-7)


def test_reproduces_the_line_at_another_fraction(two_gaussians):
    assert twonn(two_gaussians[0], 0.98).value == pytest.approx(2.003, abs=5e-4)


@pytest.mark.parametrize("d", [1, 3, 8])
def test_agrees_with_scikit_dimension(rng, d):
    from skdim import id as skdim_id  # not in the environment of the parity tests

    distances, _ = brute_neighbors(gaussian(rng, 500, d), 2)

    def theirs(discard, method):
        estimator = skdim_id.TwoNN(discard_fraction=discard, dist=True, method=method)
        with np.errstate(divide="ignore"):  # it plots the largest ratio at infinity
            return estimator.fit(distances).dimension_

    assert twonn(distances).value == pytest.approx(theirs(0.1, "linear"), rel=1e-12)
    assert twonn(distances, 0.75).value == pytest.approx(theirs(0.25, "linear"), rel=1e-12)
    assert twonn_mle(distances).value == pytest.approx(theirs(0.0, "mle"), rel=1e-12)
    # theirs has n - 1 in the place of n: unbiased, where ours is the maximum of the likelihood
    n_kept = 450
    unbiased = twonn_mle_censored(distances).value * (n_kept - 1) / n_kept
    assert unbiased == pytest.approx(theirs(0.1, "mle"), rel=1e-12)


def test_squared_distances_would_give_half_the_dimension(two_gaussians):
    distances = two_gaussians[0]
    assert twonn_mle(distances**2).value == pytest.approx(twonn_mle(distances).value / 2, rel=1e-12)


@by_estimator
@settings(max_examples=30, deadline=None)
@given(seed=seeds, exponent=st.floats(-100.0, 100.0))
def test_ignores_the_unit_of_distance(estimator, seed, exponent):
    distances = np.sort(np.random.default_rng(seed).uniform(0.5, 1.0, (60, 3)), axis=1)
    scaled = estimator(distances * 10.0**exponent)
    assert scaled.value == pytest.approx(estimator(distances).value, rel=1e-12)
    assert scaled.error == pytest.approx(estimator(distances).error, rel=1e-12)


@by_estimator
@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_ignores_the_order_of_points(estimator, seed):
    rng = np.random.default_rng(seed)
    points = gaussian(rng, 60, 3)
    order = rng.permutation(60)
    distances, indices = brute_neighbors(points, 2)
    shuffled_distances, shuffled_indices = brute_neighbors(points[order], 2)
    here = estimator(distances, indices=indices)
    there = estimator(shuffled_distances, indices=shuffled_indices)
    assert there.value == pytest.approx(here.value, rel=1e-12)
    assert there.error == pytest.approx(here.error, rel=1e-9)


@by_estimator
def test_uses_the_first_two_columns_alone(estimator, two_gaussians):
    distances, indices = two_gaussians
    assert estimator(distances, indices=indices) == estimator(
        np.ascontiguousarray(distances[:, :2]), indices=indices[:, :2].astype(np.int32)
    )


def test_measures_several_fractions_as_one_by_one(two_gaussians):
    distances, indices = two_gaussians
    fractions = [0.5, 0.9, 1.0]
    values, errors = twonn_by_mu_fraction(distances, fractions)
    assert values.dtype == errors.dtype == np.float64
    assert values.tolist() == [twonn(distances, f).value for f in fractions]
    assert errors.tolist() == [twonn(distances, f).error for f in fractions]
    correlated = twonn_by_mu_fraction(distances, fractions, indices)[1]
    assert correlated.tolist() == [twonn(distances, f, indices).error for f in fractions]


def test_several_fractions_of_nothing_are_nan():
    values, errors = twonn_by_mu_fraction(np.zeros((20, 2)), [0.5, 0.9])
    assert np.isnan(values).all()
    assert np.isnan(errors).all()


@pytest.mark.parametrize("estimator", [twonn, twonn_mle_censored])
def test_a_fraction_of_fewer_than_two_ratios_is_too_few(estimator, two_gaussians):
    assert estimator(two_gaussians[0], 0.019).status is Status.TOO_FEW_POINTS
    assert estimator(two_gaussians[0], 0.02).status is Status.OK


@pytest.mark.parametrize("estimator", [twonn, twonn_mle_censored])
def test_ties_in_all_kept_ratios_have_no_solution(estimator, two_gaussians):
    distances = two_gaussians[0][:, :2].copy()
    distances[:95, 1] = distances[:95, 0]
    assert estimator(distances, 0.9).status is Status.NO_SOLUTION
    assert twonn_mle(distances).status is Status.OK


def test_all_ratios_censored_at_none_are_the_plain_likelihood(two_gaussians):
    distances = two_gaussians[0]
    assert twonn_mle_censored(distances, 1.0).value * 99 / 100 == pytest.approx(
        twonn_mle(distances).value, rel=1e-14
    )


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, np.nan])
@pytest.mark.parametrize(
    "call",
    [twonn, twonn_mle_censored, lambda distances, fraction: twonn_by_mu_fraction(distances, [0.9, fraction])],
    ids=["twonn", "twonn_mle_censored", "twonn_by_mu_fraction"],
)
def test_refuses_a_fraction_that_is_none(two_gaussians, call, fraction):
    with pytest.raises(InputError, match=r"fraction: expected a number in \(0, 1\], found .*pass the share"):
        call(two_gaussians[0], fraction)
