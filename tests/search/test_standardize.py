"""Standardized features: the moments, and the lists of the rows that they give."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import gaussian
from search_oracle import assert_same_lists, lists, oracle, search, unit_rows

from hpcgeom.search import ArrayRows, Settings, scan_points


def mirrored(rng, n_base=256, n_queries=40, d=9):
    """Integer base rows, each with its mirror image about the mean: moments are exact in any order of sums.

    The mean is an integer, and the variance a sum of integers over 256.
    """
    half = rng.integers(-50, 50, (n_base // 2, d))
    base = rng.permutation(np.concatenate([half, -half])) + rng.integers(-1000, 1000, d)
    return np.concatenate([base, base[:n_queries] + rng.integers(-9, 9, (n_queries, d))]).astype(np.float32)


def standard(points, n_base, constant=()):
    """By NumPy's own mean and standard deviation of the population; constant features are only centered."""
    rows = points.astype(np.float64)
    mean, std = rows[:n_base].mean(axis=0), rows[:n_base].std(axis=0)
    std[list(constant)] = 1.0
    return (rows - mean) / std


def moments(points, n_base=None, tile_rows=8192):
    settings = Settings(1, standardize=True, n_base=n_base, tile_rows=tile_rows)
    return scan_points(ArrayRows(points), settings).scan.moments


@pytest.mark.parametrize("tile_rows", [8192, 50])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_standard_rows_have_the_lists_of_brute_force(rng, tile_rows, metric):
    points = mirrored(rng)
    points[:, 4] = 7
    points[256:, 4] = rng.integers(-20, 20, 40)
    rows = standard(points, 256, constant=[4])
    expected = oracle(rows if metric == "euclidean" else unit_rows(rows), 6, np.arange(256))
    found = search(points, 6, standardize=True, n_base=256, metric=metric, tile_rows=tile_rows)
    assert_same_lists(lists(found), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_base", [301, 777])
def test_moments_are_those_of_the_base_rows(rng, dtype, n_base):
    points = (gaussian(rng, 777, 6) * 10.0 ** np.arange(-3, 3) + 100).astype(dtype)
    mean, std = moments(points, n_base, tile_rows=100)
    exact = points[:n_base].astype(np.longdouble)
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=1e-14)
    np.testing.assert_allclose(std, exact.std(axis=0).astype(float), rtol=1e-9)


@pytest.mark.parametrize("n_base", [None, 250])
def test_lists_are_those_of_rows_standardized_by_the_moments(rng, n_base):
    points = gaussian(rng, 300, 5) * np.float32([1, 10, 100, 1e-3, 1]) + np.float32(3)
    mean, std = moments(points, n_base)
    rows = (points.astype(np.float64) - mean) / std
    members = np.arange(300 if n_base is None else n_base)
    found = search(points, 8, standardize=True, n_base=n_base)
    assert_same_lists(lists(found), oracle(rows, 8, members))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 1e4, -7.7])
def test_a_constant_feature_is_only_centered_whatever_its_value(rng, dtype, value):
    """0.1 has a rounded mean, which must not become a spread that queries are divided by."""
    points = gaussian(rng, 797, 4).astype(dtype)
    points[:, 2] = value
    points[777:, 2] += np.linspace(0.1, 2, 20).astype(dtype)
    std = moments(points, 777, tile_rows=90)[1]
    assert std[2] == 0
    found = search(points, 5, standardize=True, n_base=777, tile_rows=90)
    assert found.distances.max() < 50


def test_the_unit_of_a_feature_does_not_matter(rng):
    points = rng.standard_normal((200, 4))
    scaled = points * 2.0 ** np.array([0, 10, -30, 60])
    assert_same_lists(lists(search(scaled, 6, standardize=True)), lists(search(points, 6, standardize=True)))


@pytest.mark.parametrize("exponent", [600, -600])
def test_features_whose_squares_do_not_fit_float64_are_standardized_too(rng, exponent):
    points = rng.standard_normal((200, 3))
    scaled = np.ldexp(points, [0, exponent, 0])
    assert_same_lists(lists(search(scaled, 6, standardize=True)), lists(search(points, 6, standardize=True)))


@pytest.mark.parametrize("d", [1, 5])
def test_neither_tiles_nor_threads_change_a_bit_of_standard_rows(rng, d):
    """Means are sums over all rows, and sums depend on how they are cut."""
    points = gaussian(rng, 700, d) + np.float32(3)
    expected = lists(search(points, 5, standardize=True))
    for tile_rows, threads in ((699, 1), (130, 2)):
        found = search(points, 5, standardize=True, tile_rows=tile_rows, threads=threads)
        assert_same_lists(lists(found), expected)
