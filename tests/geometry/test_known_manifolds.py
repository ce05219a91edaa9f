"""Means over three clouds of 5,000 points: within 5 % up to d = 5, and within 10 % at d = 10."""

import numpy as np
import pytest
from known_clouds import gaussian, sphere, swiss_roll, tree_neighbors

from hpcgeom.geometry import gride, twonn, twonn_mle, twonn_mle_censored

CLOUDS = [(gaussian, d) for d in (1, 2, 5, 10)] + [(sphere, d) for d in (1, 2, 5, 10)] + [(swiss_roll, 2)]


@pytest.fixture(scope="module", params=CLOUDS, ids=lambda cloud: f"{cloud[0].__name__}-{cloud[1]}")
def cloud(request):
    make, d = request.param
    return d, [tree_neighbors(make(np.random.default_rng(seed), 5000, d), 4) for seed in range(3)]


def tolerance(d):
    return 0.05 if d <= 5 else 0.10


@pytest.mark.parametrize("estimator", [twonn, twonn_mle, twonn_mle_censored], ids=lambda f: f.__name__)
def test_recovers_the_dimension(cloud, estimator):
    d, lists = cloud
    values = [estimator(distances).value for distances, _ in lists]
    assert np.mean(values) == pytest.approx(d, rel=tolerance(d))


def test_gride_recovers_the_dimension_at_its_first_scales(cloud):
    d, lists = cloud
    values = np.mean([gride(distances, 4).value for distances, _ in lists], axis=0)
    np.testing.assert_allclose(values, d, rtol=tolerance(d))
