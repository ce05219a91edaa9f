from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group

from hpcgeom.errors import InputError
from hpcgeom.geometry import merge_moments, moment_sums, moments, moments_from_sums
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)
NUMBERS = ("norm_mean", "norm_std", "norm_max", "mean_cosine", "anisotropy")


def numbers(result):
    return np.array([getattr(result, name) for name in NUMBERS])


def dense(points):
    """The same from all norms and from all pairs of points, by NumPy and SciPy."""
    points = points.astype(np.float64)
    norms = np.linalg.norm(points, axis=1)
    units = points / norms[:, None]
    mean = units.mean(axis=0)
    cosines = units @ (mean / np.linalg.norm(mean))
    pairs = 1.0 - pdist(points, "cosine")
    return np.array([norms.mean(), norms.std(), norms.max(), cosines.mean(), pairs.mean()])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0])
def test_is_what_all_norms_and_all_pairs_give(rng, dtype, offset):
    points = (rng.standard_normal((300, 7)) + offset).astype(dtype)
    result = moments(points)
    np.testing.assert_allclose(numbers(result), dense(points), rtol=1e-11, atol=1e-12)
    assert (result.n_points, result.n_zero_norms, result.status) == (300, 0, Status.OK)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, n_points=st.integers(2, 60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_does_not_depend_on_the_blocks(seed, n_points, cuts):
    points = np.random.default_rng(seed).standard_normal((n_points, 5)) * 1e3
    edges = sorted({0, n_points, *(cut for cut in cuts if cut < n_points)})
    parts = [moment_sums(points[a:b]) for a, b in pairwise(edges)]
    for order in (parts, parts[::-1]):
        cut = moments_from_sums(reduce(merge_moments, order))
        np.testing.assert_allclose(numbers(cut), numbers(moments(points)), rtol=1e-12, atol=1e-12)
        assert cut.n_points == n_points
    np.testing.assert_allclose(numbers(moments(points, block_rows=7)), numbers(moments(points)), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, scale=st.floats(1e-150, 1e150))
def test_cosines_ignore_rotations_scales_and_order_and_norms_follow_the_scale(seed, scale):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((40, 4)) + 0.5
    rotation = ortho_group(4).rvs(random_state=rng)
    moved = numbers(moments(rng.permutation(points) @ rotation * scale))
    expected = numbers(moments(points))
    np.testing.assert_allclose(moved / [scale, scale, scale, 1.0, 1.0], expected, rtol=1e-10, atol=1e-12)


def test_a_lone_direction_and_two_opposite_ones():
    same = moments(np.full((50, 3), 2.5, np.float32))
    assert same.mean_cosine == pytest.approx(1.0, rel=1e-15)
    assert same.anisotropy == pytest.approx(1.0, rel=1e-14)
    assert same.norm_std == pytest.approx(0.0, abs=1e-15)
    opposite = moments(np.array([[1.0, 0.0], [-3.0, 0.0]]))
    assert (opposite.mean_cosine, opposite.anisotropy) == (0.0, -1.0)


def test_points_at_the_origin_have_a_norm_and_no_direction(rng):
    points = rng.standard_normal((30, 3))
    with_zeros = np.concatenate([points, np.zeros((10, 3))])
    result = moments(with_zeros)
    assert (result.n_points, result.n_zero_norms, result.status) == (40, 10, Status.OK)
    assert result.norm_mean == pytest.approx(np.linalg.norm(with_zeros, axis=1).mean(), rel=1e-14)
    assert result.anisotropy == pytest.approx(moments(points).anisotropy, rel=1e-12)


@pytest.mark.parametrize(
    ("points", "status", "norm_mean"),
    [
        (np.zeros((5, 2)), Status.CONSTANT, 0.0),
        (np.zeros((1, 2)), Status.TOO_FEW_POINTS, 0.0),
        (np.array([[3.0, 4.0]]), Status.TOO_FEW_POINTS, 5.0),
        (np.array([[3.0, 4.0], [0.0, 0.0]]), Status.TOO_FEW_POINTS, 2.5),
        (np.zeros((0, 2)), Status.TOO_FEW_POINTS, np.nan),
    ],
)
def test_says_why_there_are_no_cosines(points, status, norm_mean):
    result = moments(points)
    assert result.status is status
    assert np.isnan([result.mean_cosine, result.anisotropy]).all()
    np.testing.assert_equal(result.norm_mean, norm_mean)
    assert np.isnan(result.norm_max) == (len(points) == 0)


def test_neither_overflows_nor_vanishes():
    assert moments(np.array([[3e200, 4e200], [3e-200, 4e-200]])).norm_max == pytest.approx(5e200, rel=1e-15)
    assert moments(np.array([[3e-200, 4e-200]] * 2)).norm_mean == pytest.approx(5e-200, rel=1e-15)


def test_is_read_from_any_layout(rng):
    points = rng.standard_normal((30, 4))
    turned = np.asfortranarray(points)
    turned.flags.writeable = False
    np.testing.assert_array_equal(numbers(moments(turned)), numbers(moments(points)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moments(np.zeros((3, 2), int)), r"points: expected floating point .* found int64 of shape"),
        (lambda: moments(np.zeros(3)), r"points: expected .* \(points, features\), found float64 of shape"),
        (lambda: moments(np.zeros((3, 0))), r"points: expected .*, found float64 of shape \(3, 0\)"),
        (lambda: moments([[1.0]]), r"points: expected .*, found list of shape \?; pass one row per point"),
        (
            lambda: moments(np.array([[0.0, 1.0], [0.0, np.nan]])),
            r"row 1, feature 1 is nan, expected a finite",
        ),
        (lambda: moments(np.array([[np.inf, 1.0]])), r"row 0, feature 0 is inf, expected a finite number"),
        (
            lambda: moments(np.full((2, 2), 1.7e308)),
            r"the norm of row 0 is beyond float64; divide all points",
        ),
        (lambda: moments(np.zeros((3, 2)), 0), r"block_rows: expected 1 or more, found 0; 4096 is usual"),
        (
            lambda: merge_moments(moment_sums(np.ones((1, 2))), moment_sums(np.ones((1, 3)))),
            r"the blocks have 2 and 3 features; expected one layer",
        ),
    ],
)
def test_refuses_what_cannot_be_measured(call, message):
    with pytest.raises(InputError, match=message):
        call()
