from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import tree_neighbors

from hpcgeom.errors import InputError
from hpcgeom.geometry import twonn, twonn_mle, twonn_mle_censored
from hpcgeom.geometry.correlation import sum_over_sharing_pairs

by_estimator = pytest.mark.parametrize(
    "estimator", [twonn, twonn_mle, twonn_mle_censored], ids=lambda f: f.__name__
)


def coverage(estimator, n_clouds, n_points, d):
    """Share of 95 % intervals around the dimension of a torus, with and without neighbors given."""
    hits = np.zeros(2)
    for seed in range(n_clouds):
        points = np.random.default_rng(seed).random((n_points, d))
        distances, indices = tree_neighbors(points, 2, period=1.0)
        for i, given_indices in enumerate([indices, None]):
            estimate = estimator(distances, indices=given_indices)
            hits[i] += abs(estimate.value - d) < 1.96 * estimate.error
    return hits / n_clouds


@by_estimator
def test_error_bars_cover_the_truth_where_neighbors_are_given(estimator):
    correlated, plain = coverage(estimator, n_clouds=300, n_points=400, d=2)
    assert 0.90 <= correlated <= 0.98  # two standard errors of a share of 300 are 0.025
    assert plain < correlated - 0.03


@pytest.mark.slow
@by_estimator
@pytest.mark.parametrize("d", [1, 2, 3])
def test_error_bars_cover_the_truth_in_many_clouds(estimator, d):
    correlated, plain = coverage(estimator, n_clouds=2000, n_points=1000, d=d)
    assert 0.925 <= correlated <= 0.975
    assert plain < 0.925


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("estimator", [twonn, twonn_mle_censored])
def test_plain_errors_are_the_spread_over_independent_ratios(rng, estimator, fraction):
    log_mu = rng.exponential(1 / 7.0, (2000, 400))
    distances = np.stack([np.ones_like(log_mu), np.exp(log_mu)], axis=-1)
    estimates = [estimator(cloud, fraction) for cloud in distances]
    values = np.array([estimate.value for estimate in estimates])
    assert values.mean() == pytest.approx(7.0, rel=0.02)
    assert np.mean([estimate.error for estimate in estimates]) == pytest.approx(values.std(), rel=0.06)


@pytest.mark.parametrize(
    "estimator",
    [
        twonn,
        twonn_mle,
        twonn_mle_censored,
        partial(twonn, fraction=0.5),
        partial(twonn_mle_censored, fraction=0.5),
    ],
)
def test_disjoint_triples_are_independent(rng, estimator):
    """Points in groups of three have neighbors in their own group; three equal ratios count as one."""
    n_groups = 400
    log_mu = np.repeat(rng.exponential(0.5, n_groups), 3)
    distances = np.stack([np.ones_like(log_mu), np.exp(log_mu)], axis=1)
    group = 3 * np.arange(n_groups)[:, None, None]
    indices = (group + np.array([[1, 2], [0, 2], [0, 1]])).reshape(-1, 2)
    plain, grouped = estimator(distances).error, estimator(distances, indices=indices).error
    assert grouped / plain == pytest.approx(np.sqrt(3.0), rel=0.15)


def test_likelihood_error_without_neighbors_is_the_value_over_root_n(two_gaussians):
    estimate = twonn_mle(two_gaussians[0])
    assert estimate.error == pytest.approx(estimate.value / 10.0, rel=1e-14)


def test_likelihood_error_is_the_sum_over_sharing_pairs(two_gaussians):
    distances, indices = two_gaussians
    estimate = twonn_mle(distances, indices)
    s = estimate.value * np.log(distances[:, 1] / distances[:, 0]) - 1.0
    s -= s.mean()
    triples = [{i, *indices[i, :2].tolist()} for i in range(100)]
    total = sum(s[i] * s[j] for i, j in product(range(100), repeat=2) if triples[i] & triples[j])
    assert estimate.error == pytest.approx(estimate.value / 100 * np.sqrt(total), rel=1e-10)


def test_rows_left_out_take_no_part_in_the_pairs(two_gaussians):
    distances, indices = (array[:, :2].copy() for array in two_gaussians)
    distances[::7] = np.nan
    kept = [i for i in range(100) if i % 7]
    estimate = twonn_mle(distances, indices)
    s = estimate.value * np.log(distances[:, 1] / distances[:, 0]) - 1.0
    s -= s[kept].mean()
    triples = {i: {i, *indices[i].tolist()} for i in kept}
    total = sum(s[i] * s[j] for i, j in product(kept, repeat=2) if triples[i] & triples[j])
    assert estimate.error == pytest.approx(estimate.value / len(kept) * np.sqrt(total), rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(n_points=st.integers(3, 30), n_hubs=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_sharing_pairs_are_those_of_a_double_loop(n_points, n_hubs, seed):
    rng = np.random.default_rng(seed)
    weights = np.ones(n_points)
    weights[:n_hubs] = 1e3
    members = []
    for i in range(n_points):
        others = np.delete(np.arange(n_points), i)
        chosen = rng.choice(others, 2, replace=False, p=weights[others] / weights[others].sum())
        members.append([i, *chosen.tolist()])
    scores = rng.standard_normal(n_points)
    expected = sum(
        scores[i] * scores[j]
        for i, j in product(range(n_points), repeat=2)
        if set(members[i]) & set(members[j])
    )
    total = sum_over_sharing_pairs(scores, np.array(members), n_points)
    assert total == pytest.approx(expected, abs=1e-9)


def test_a_hub_of_all_points_costs_no_more():
    n_points = 200_000
    members = np.stack(
        [np.arange(2, n_points), np.zeros(n_points - 2, int), np.ones(n_points - 2, int)], axis=1
    )
    scores = np.ones(n_points - 2)
    assert sum_over_sharing_pairs(scores, members, n_points) == float(n_points - 2) ** 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.astype(float), r"indices: expected an array of integers, found float64"),
        (lambda i: i.tolist(), r"indices: expected an array of integers, found list"),
        (lambda i: i[:, :1], r"indices: expected shape \(100, 2 or more\).*found \(100, 1\)"),
        (lambda i: i[:99], r"indices: expected shape \(100, 2 or more\).*found \(99, 64\)"),
        (
            lambda i: np.where(i == i[4, 1], -1, i),
            r"row \d+ names \[.*outside 0\.\.99; pass lists without self",
        ),
        (lambda i: i + 50, r"row \d+ names \[.*outside 0\.\.99"),
        (lambda i: np.c_[np.arange(100), i], r"row 0 names \[0, .*itself or one neighbor twice"),
        (lambda i: np.c_[i[:, :1], i], r"row 0 names .*itself or one neighbor twice"),
    ],
)
@by_estimator
def test_refuses_wrong_indices(two_gaussians, estimator, change, message):
    distances, indices = two_gaussians
    with pytest.raises(InputError, match=message):
        estimator(distances, indices=change(indices))
