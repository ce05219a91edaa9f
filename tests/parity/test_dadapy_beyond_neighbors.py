"""Information imbalance and density peaks through DADApy 0.3.4 and through hpcgeom."""

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from hpcgeom.geometry import (
    density_peaks,
    imbalance_bounds,
    imbalance_counts,
    imbalance_matrix,
    information_imbalance,
    twonn_mle,
)
from hpcgeom.types import Status

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dadapy import Data, MetricComparisons

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

N_POINTS, K = 150, 40


def lists_with_self(points, k):
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, -1.0)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, : k + 1]
    distances = np.take_along_axis(matrix, indices, axis=1)
    distances[:, 0] = 0.0
    return distances, indices


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_imbalance_is_its_information_imbalance_on_all_ranks(seed, k):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((N_POINTS, 4))
    layers = [points, points[:, :2], points + 0.5 * rng.standard_normal(points.shape)]
    found = imbalance_matrix(lambda layer, start, stop: layers[layer][start:stop], 3, N_POINTS, k)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        there, back = MetricComparisons(layers[a]).return_information_imbalace(layers[b], k=k)
        np.testing.assert_allclose([found.value[a, b], found.value[b, a]], [there[0], back[0]], rtol=1e-12)
        assert information_imbalance(layers[a], layers[b], k).value == found.value[a, b]


def test_bounds_hold_its_random_ranks(rng):
    """DADApy draws ranks beyond the lists at random; over many draws their mean is that of both bounds."""
    points = rng.standard_normal((N_POINTS, 4))
    other = points + rng.standard_normal(points.shape)
    lists = [lists_with_self(each, 5)[1] for each in (points, other)]
    ours = np.stack([each[:, 1:] for each in lists])
    bounds = imbalance_bounds(imbalance_counts(ours, N_POINTS), N_POINTS)
    assert bounds.n_censored[0, 1] > 20
    draws = [their_imbalance(*lists, np.random.default_rng(seed)) for seed in range(200)]
    assert bounds.low[0, 1] <= min(draws)
    assert max(draws) <= bounds.high[0, 1]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - (bounds.low[0, 1] + bounds.high[0, 1]) / 2) < 4 * error


def their_imbalance(lists_a, lists_b, rng):
    from dadapy._utils.metric_comparisons import _return_imbalance

    return _return_imbalance(lists_a, lists_b, rng)


@pytest.mark.parametrize("halo", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_its_density_peaks(seed, halo):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 300)
    points = 3.5 * np.eye(3)[labels] + rng.standard_normal((300, 3))
    distances, indices = lists_with_self(points, K)
    found = density_peaks(distances[:, 1:].copy(), indices[:, 1:], intrinsic_dimension=3.0, halo=halo)
    theirs = Data(points)
    theirs.compute_distances(maxk=K)
    theirs.set_id(3.0)
    theirs.compute_density_PAk()
    np.testing.assert_array_equal(found.assignment, theirs.compute_clustering_ADP(Z=1.65, halo=halo))
    np.testing.assert_allclose(found.log_density, theirs.log_den, rtol=1e-9)
    np.testing.assert_allclose(found.log_density_error, theirs.log_den_err, rtol=1e-9)
    assert found.centers.tolist() == list(theirs.cluster_centers)
    assert (found.assignment == -1).any() == halo
    assert found.n_at_limit == np.count_nonzero(theirs.kstar == K - 1)
    assert found.status is Status.OK


def test_the_dimension_of_the_density_is_that_of_the_lists(rng):
    points = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 5))
    distances, indices = lists_with_self(points, K)
    ours = distances[:, 1:].copy()
    assert density_peaks(ours, indices[:, 1:]).intrinsic_dimension == twonn_mle(ours).value


@pytest.fixture
def rng():
    return np.random.default_rng(7)
