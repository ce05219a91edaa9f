"""The same distances and indices through DADApy 0.3.4 and through hpcgeom.

DADApy's lists begin with the point itself, ours do not. Its GRIDE drops large ratios (`_filter_mus`) and
stops its bisection at 1e-7; where it would drop a ratio, the root of its derivative of the likelihood and its
Fisher information are taken over all of them.
"""

import contextlib
import warnings

import numpy as np
import pytest
from scipy.optimize import bisect
from scipy.spatial.distance import cdist

from hpcgeom.geometry import (
    class_fraction_ks,
    gride,
    label_overlap,
    label_overlap_balanced,
    overlap,
    overlap_matrix,
    twonn,
    twonn_by_mu_fraction,
    twonn_mle,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dadapy import Data
    from dadapy._utils import utils as dadapy_utils

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

N_CLOUDS, N_POINTS, K = 20, 200, 64


class Cloud:
    """Random points of some dimension and width, their lists, and a second cloud of the same points."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 12))
        draw = [rng.standard_normal, rng.random][seed % 2]
        points = draw((N_POINTS, d)) @ rng.standard_normal((d, d + 3)) * 10.0 ** rng.uniform(-3, 3)
        other = points + points.std() * rng.uniform(0.01, 1.0) * rng.standard_normal(points.shape)
        self.distances, self.indices = lists_with_self(points)
        self.other_distances, self.other_indices = lists_with_self(other)
        sizes = rng.multinomial(N_POINTS - 4, [0.6, 0.25, 0.1, 0.05]) + 1
        labels = np.repeat(np.arange(4), sizes)
        self.labels = labels[np.argsort(points[:, 0] + points[:, 0].std() * rng.standard_normal(N_POINTS))]

    def data(self):
        return Data(distances=(self.distances, self.indices), maxk=K)


def lists_with_self(points):
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, -1.0)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, : K + 1]
    distances = np.take_along_axis(matrix, indices, axis=1)
    distances[:, 0] = 0.0
    return distances, indices


@pytest.fixture(scope="module", params=range(N_CLOUDS), ids=lambda seed: f"cloud{seed}")
def cloud(request):
    return Cloud(request.param)


def without_self(lists):
    return np.ascontiguousarray(lists[:, 1:])


def test_twonn_is_its_base_algorithm(cloud):
    ours = without_self(cloud.distances)
    fractions = [0.5, 0.9, 0.98]
    theirs = [cloud.data().compute_id_2NN(algorithm="base", mu_fraction=f)[0] for f in fractions]
    assert twonn(ours).value == pytest.approx(theirs[1], rel=1e-6)
    np.testing.assert_allclose(twonn_by_mu_fraction(ours, fractions)[0], theirs, rtol=1e-6)


def test_twonn_mle_is_its_ml_algorithm(cloud):
    theirs = cloud.data().compute_id_2NN(algorithm="ml")[0]
    assert twonn_mle(without_self(cloud.distances)).value == pytest.approx(theirs, rel=1e-6)


def keeps_all_ratios(mu):
    return dadapy_utils._filter_mus(np.float64, mu.copy(), 1, 2)[0].size == mu.size


def test_gride_is_its_gride_at_every_scale(cloud):
    result = gride(without_self(cloud.distances))
    for i, n2 in enumerate(result.n2.tolist()):
        n1 = n2 // 2
        mu = cloud.distances[:, n2] / cloud.distances[:, n1]
        if keeps_all_ratios(mu):
            theirs, error = cloud.data()._compute_id_gride_single_scale(1e-3, 1e3, mu.copy(), n1, n2, 1e-9)
        else:
            theirs = bisect(
                lambda d, mu=mu, n1=n1, n2=n2: dadapy_utils._neg_dloglik_did(d, mu, n1, n2, mu.size, 1e-16),
                1e-3,
                1e3,
                xtol=1e-10,
            )
            error = dadapy_utils._fisher_info_scaling(theirs, mu, n1, n2, eps=1e-16) ** -0.5
        assert result.value[i] == pytest.approx(theirs, rel=1e-6)
        assert result.error[i] == pytest.approx(error, rel=1e-6)


def test_gride_is_its_public_method_where_that_drops_nothing():
    n_compared = 0
    for seed in range(N_CLOUDS):
        cloud = Cloud(seed)
        ranks = 2 ** np.arange(7)
        ratios = cloud.distances[:, ranks[1:]] / cloud.distances[:, ranks[:-1]]
        if not all(keeps_all_ratios(mu) for mu in ratios.T):
            continue
        n_compared += 1
        with contextlib.redirect_stdout(None):
            values, errors, scales = cloud.data().return_id_scaling_gride(range_max=64)
        result = gride(without_self(cloud.distances))
        np.testing.assert_allclose(result.value, values, rtol=1e-6)
        np.testing.assert_allclose(result.error, errors, rtol=1e-6)
        np.testing.assert_allclose(result.distance, scales, rtol=1e-12)
    assert n_compared >= 5


@pytest.mark.parametrize("k", [1, 5, 30, 64])
def test_overlap_is_its_data_overlap(cloud, k):
    theirs = cloud.data().return_data_overlap(
        distances=cloud.other_distances, dist_indices=cloud.other_indices, k=k
    )
    ours, others = without_self(cloud.indices), without_self(cloud.other_indices)
    assert overlap(ours, others, k).value == pytest.approx(theirs, rel=1e-12)
    assert overlap_matrix(np.stack([ours, others]), [k])[0, 0, 1] == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("k", [1, 5, 30, 64])
def test_label_overlap_is_its_own_plain_and_weighted(cloud, k):
    ours = without_self(cloud.indices)
    plain = cloud.data().return_label_overlap(cloud.labels, k=k, weighted=False)
    weighted = cloud.data().return_label_overlap(cloud.labels, k=k, weighted=True)
    assert label_overlap(ours, cloud.labels, k).value == pytest.approx(plain, rel=1e-12)
    assert label_overlap_balanced(ours, cloud.labels, k).value == pytest.approx(weighted, rel=1e-12)


def test_label_overlap_follows_its_class_fraction(cloud):
    ours = without_self(cloud.indices)
    ks = class_fraction_ks(cloud.labels, 0.25)
    plain = cloud.data().return_label_overlap(cloud.labels, class_fraction=0.25, weighted=False)
    weighted = cloud.data().return_label_overlap(cloud.labels, class_fraction=0.25, weighted=True)
    assert label_overlap(ours, cloud.labels, ks).value == pytest.approx(plain, rel=1e-12)
    assert label_overlap_balanced(ours, cloud.labels, ks).value == pytest.approx(weighted, rel=1e-12)
