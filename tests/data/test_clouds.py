"""Point clouds: exact geometry, distribution, and dimension as scikit-dimension sees it."""

import numpy as np
import pytest
import skdim
from scipy.spatial.distance import pdist
from scipy.stats import kstest

from hpcgeom.data import clouds
from hpcgeom.errors import InputError

N = 2000


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("make", "dimension"),
    [
        (clouds.gaussian, 4),
        (clouds.sphere, 3),
        (clouds.ball, 3),
        (clouds.hypercube, 3),
        (clouds.hypercube_torus, 3),
    ],
)
def test_scikit_dimension_finds_the_dimension(make, dimension, rng):
    points_ND = clouds.embed(make(N, dimension, rng), 12, rng)
    assert points_ND.shape == (N, 12)
    assert points_ND.dtype == np.float64
    assert skdim.id.MLE(K=10).fit(points_ND).dimension_ == pytest.approx(dimension, rel=0.1)


def test_scikit_dimension_finds_two_in_the_swiss_roll(rng):
    points_ND = clouds.swiss_roll(N, rng)
    assert skdim.id.TwoNN().fit(points_ND).dimension_ == pytest.approx(2.0, rel=0.1)


def test_the_sphere_is_round_and_has_no_preferred_direction(rng):
    points_ND = clouds.sphere(N, 2, rng)
    np.testing.assert_allclose(np.linalg.norm(points_ND, axis=1), 1.0, rtol=1e-12)
    # Archimedes: on S^2 every coordinate is uniform in [-1, 1]
    assert all(kstest(points_ND[:, i], "uniform", args=(-1, 2)).pvalue > 1e-3 for i in range(3))


@pytest.mark.parametrize("dimension", [1, 2, 7])
def test_the_ball_is_filled_evenly(dimension, rng):
    radius_N = np.linalg.norm(clouds.ball(N, dimension, rng), axis=1)
    assert kstest(radius_N**dimension, "uniform").pvalue > 1e-3


def test_the_torus_is_a_product_of_unit_circles(rng):
    points_ND = clouds.hypercube_torus(N, 3, rng)
    for i in range(3):
        x, y = points_ND[:, 2 * i], points_ND[:, 2 * i + 1]
        np.testing.assert_allclose(np.hypot(x, y), 1.0, rtol=1e-12)
        assert kstest(np.arctan2(y, x), "uniform", args=(-np.pi, 2 * np.pi)).pvalue > 1e-3


def test_the_swiss_roll_is_even_along_its_spiral(rng):
    x, height, z = clouds.swiss_roll(N, rng).T
    t = np.sort(np.hypot(x, z))
    assert t[0] >= 1.5 * np.pi - 1e-6
    assert t[-1] <= 4.5 * np.pi + 1e-6
    grid = np.linspace(1.5 * np.pi, 4.5 * np.pi, 200_001)
    length = np.cumsum(np.sqrt(1.0 + grid**2))  # arc length of r = t by summation
    share = np.interp(t, grid, (length - length[0]) / (length[-1] - length[0]))
    assert kstest(share, "uniform").pvalue > 1e-3
    assert kstest(height, "uniform", args=(0, 21)).pvalue > 1e-3


def test_embedding_keeps_every_distance(rng):
    points_ND = clouds.gaussian(50, 3, rng)
    np.testing.assert_allclose(pdist(clouds.embed(points_ND, 40, rng)), pdist(points_ND), rtol=1e-10)
    assert clouds.embed(points_ND, 3, rng).shape == (50, 3)


def test_the_same_seed_gives_the_same_points():
    one, two = (clouds.swiss_roll(10, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_sizes_that_make_no_sense_are_refused(rng):
    with pytest.raises(InputError, match="dimension is 0; expected at least 1: raise it"):
        clouds.sphere(10, 0, rng)
    with pytest.raises(InputError, match="n_points is 0"):
        clouds.swiss_roll(0, rng)
    with pytest.raises(InputError, match=r"points of 3 features do not fit into 2 .* at least 3: raise it"):
        clouds.embed(np.zeros((4, 3)), 2, rng)
