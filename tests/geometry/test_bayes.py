from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, sphere, tree_neighbors
from scipy.integrate import quad

from hpcgeom.errors import InputError
from hpcgeom.geometry import twonn_bayes, twonn_mle
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)
FLAT = 1e-9


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 5.0), (0.5, 0.1), (30.0, 2.0)])
def test_is_prior_times_likelihood(two_gaussians, alpha, beta):
    distances = two_gaussians[0]
    log_mu = np.log(distances[:, 1] / distances[:, 0])

    def density(d):
        return np.exp(
            (alpha - 1) * np.log(d) - beta * d + np.sum(np.log(d) - d * log_mu) - 100 * (np.log(2) - 1)
        )

    def integral(f, high=20.0):
        return quad(
            lambda d: f(d) * density(d), 0.0, high, points=[1.0, 2.0, 3.0], epsabs=0, epsrel=1e-10, limit=500
        )[0]

    result = twonn_bayes(distances, alpha, beta)
    total = integral(lambda d: 1.0)
    mean = integral(lambda d: d) / total
    assert result.value == pytest.approx(mean, rel=1e-9)
    assert result.error == pytest.approx(np.sqrt(integral(lambda d: (d - mean) ** 2) / total), rel=1e-8)
    below = [
        quad(density, 0.0, q, points=[1.0], epsabs=0, epsrel=1e-10)[0]
        for q in (result.quantile_16, result.quantile_84)
    ]
    np.testing.assert_allclose(np.array(below) / total, [0.16, 0.84], rtol=1e-8)
    assert (result.n_points, result.n_effective, result.status) == (100, 100.0, Status.OK)


def test_reproduces_the_reference_values(two_gaussians):
    """compute_id_2NN_wprior() of DADApy 0.3.4, with its own prior."""
    result = twonn_bayes(two_gaussians[0])
    assert result.value == pytest.approx(1.8722015606216407, rel=1e-13)
    assert result.error == pytest.approx(0.18537557752066128, rel=1e-13)


def test_a_flat_prior_leaves_the_likelihood(two_gaussians):
    result, same = twonn_bayes(two_gaussians[0], FLAT, FLAT), twonn_mle(two_gaussians[0])
    assert result.value == pytest.approx(same.value * 100 / 99, rel=1e-9)
    assert result.error == pytest.approx(same.error * 100 / 99, rel=1e-9)


def test_with_indices_the_error_is_that_of_correlated_ratios(two_gaussians):
    distances, indices = two_gaussians
    result, same = twonn_bayes(distances, FLAT, FLAT, indices), twonn_mle(distances, indices)
    scores = np.log(distances[:, 1] / distances[:, 0])
    scores = scores / scores.mean() - 1.0
    triples = [{i, *indices[i, :2].tolist()} for i in range(100)]
    total = sum(scores[i] * scores[j] for i, j in product(range(100), repeat=2) if triples[i] & triples[j])
    assert result.n_effective == pytest.approx(100**2 / total, rel=1e-10)
    assert result.n_effective < 90
    assert result.value == pytest.approx(same.value * 100 / 99, rel=1e-9)
    # that of twonn_mle has scores of the unbiased value, 1 % lower
    assert result.error == pytest.approx(same.error, rel=0.03)


def test_the_prior_pulls_as_is_said(rng):
    d, n_points, alpha, beta = 20.0, 2000, 2.0, 5.0
    distances = np.stack([np.ones(n_points), np.exp(rng.exponential(1 / d, n_points))], axis=1)
    likely = twonn_bayes(distances, FLAT, FLAT).value
    pull = twonn_bayes(distances, alpha, beta).value / likely - 1
    assert pull == pytest.approx((alpha - beta * d) / n_points, rel=0.1)


def test_bars_hold_their_mean_where_neighbors_are_given():
    found = []
    for seed in range(300):
        distances, indices = tree_neighbors(np.random.default_rng(seed).random((400, 2)), 2, period=1.0)
        found.append([twonn_bayes(distances, indices=given) for given in (indices, None)])
    value = np.mean([results[0].value for results in found])
    plain_value = np.mean([results[1].value for results in found])
    covered = np.mean([a.quantile_16 < value < a.quantile_84 for a, _ in found])
    plain = np.mean([b.quantile_16 < plain_value < b.quantile_84 for _, b in found])
    assert 0.61 <= covered <= 0.75  # 68 %, and two and a half standard errors of a share of 300
    assert plain < covered - 0.03


@settings(max_examples=30, deadline=None)
@given(seed=seeds, exponent=st.floats(-100.0, 100.0))
def test_ignores_order_and_unit(seed, exponent):
    rng = np.random.default_rng(seed)
    points, order = gaussian(rng, 60, 3), rng.permutation(60)
    here = twonn_bayes(*_with_indices(brute_neighbors(points, 2)))
    distances, indices = brute_neighbors(points[order], 2)
    there = twonn_bayes(*_with_indices((distances * 10.0**exponent, indices)))
    for name in ("value", "error", "quantile_16", "quantile_84", "n_effective"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-9)


def _with_indices(lists):
    return lists[0], 2.0, 5.0, lists[1]


@pytest.mark.parametrize(("make", "d"), [(gaussian, 2), (gaussian, 5), (sphere, 2), (sphere, 5)])
def test_recovers_the_dimension(make, d):
    values = [
        twonn_bayes(tree_neighbors(make(np.random.default_rng(seed), 5000, d), 2)[0]).value
        for seed in range(3)
    ]
    assert np.mean(values) == pytest.approx(d, rel=0.05)


@pytest.mark.parametrize("percent", [0, 1, 5, 20])
def test_leaves_out_and_counts_zero_distances(rng, percent):
    points = gaussian(rng, 400, 2)
    n_copies = 4 * percent
    points[:n_copies] = points[n_copies : 2 * n_copies]
    distances = brute_neighbors(points, 4)[0]
    result = twonn_bayes(distances)
    assert (result.n_zero_distances, result.n_points) == (2 * n_copies, 400 - 2 * n_copies)
    assert result.value == twonn_bayes(distances[2 * n_copies :]).value


@pytest.mark.parametrize(
    ("distances", "status"),
    [
        (np.zeros((30, 3)), Status.CONSTANT),
        (np.ones((2, 1)), Status.TOO_FEW_POINTS),
        (np.ones((3, 2)), Status.TOO_FEW_POINTS),
        (np.tile([0.0, 1.0], (30, 1)), Status.DUPLICATES),
        (np.ones((30, 1)), Status.TOO_FEW_NEIGHBORS),
        (np.ones((30, 2)), Status.NO_SOLUTION),
    ],
)
def test_says_why_there_is_no_value(distances, status):
    result = twonn_bayes(
        distances, indices=np.zeros(distances.shape, int) if status == Status.CONSTANT else None
    )
    assert result.status is status
    for name in ("value", "error", "quantile_16", "quantile_84", "shape", "rate", "n_effective"):
        assert np.isnan(getattr(result, name))


def test_ten_points_are_enough(rng):
    distances, indices = brute_neighbors(gaussian(rng, 10, 2), 2)
    result = twonn_bayes(distances, indices=indices)
    assert result.status is Status.OK
    assert 0 < result.quantile_16 < result.value < result.quantile_84


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_refuses_a_prior_that_is_none(two_gaussians, name, bad):
    with pytest.raises(InputError, match=rf"{name}: expected a positive, finite number, found .*are usual"):
        twonn_bayes(two_gaussians[0], **{name: bad})


def test_refuses_wrong_indices(two_gaussians):
    with pytest.raises(InputError, match=r"indices: expected shape \(100, 2 or more\)"):
        twonn_bayes(two_gaussians[0], indices=two_gaussians[1][:50])
