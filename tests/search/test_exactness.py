"""The lists are those of brute force, bit by bit, on points that are easy, hard and degenerate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from search_oracle import assert_same_lists, oracle
from sklearn.neighbors import NearestNeighbors

from hpcgeom.search import ArrayRows, nearest_neighbors, search_representation


def gaussian(rng, n=500, d=32):
    return rng.standard_normal((n, d)).astype(np.float32)


def near_duplicates(rng, relative):
    base = gaussian(rng, 60, 48)
    rows = np.repeat(base, 6, axis=0).astype(np.float64)
    return (rows * (1 + relative * rng.standard_normal(rows.shape))).astype(np.float32)


def with_outlier(rng):
    points = gaussian(rng)
    points[7] = 1e6
    return points


def offset_in_one_column(rng, offset):
    points = gaussian(rng)
    points[:, 3] += offset
    return points


def exact_duplicates(rng):
    points = gaussian(rng)
    points[rng.permutation(500)[:150]] = points[rng.integers(0, 500, 150)]
    return points


CASES = {
    "gaussian, 2 features": lambda rng: gaussian(rng, d=2),
    "gaussian, 3 features": lambda rng: gaussian(rng, d=3),
    "gaussian, 17 features": lambda rng: gaussian(rng, d=17),
    "gaussian, 384 features": lambda rng: gaussian(rng, n=300, d=384),
    "one feature": lambda rng: gaussian(rng, d=1),
    "offset 1e4": lambda rng: gaussian(rng) + np.float32(1e4),
    "offset 1e6": lambda rng: gaussian(rng) + np.float32(1e6),
    "offset 1e4 in one column": lambda rng: offset_in_one_column(rng, 1e4),
    "offset 1e6 in one column": lambda rng: offset_in_one_column(rng, 1e6),
    "near-duplicates at 1e-6": lambda rng: near_duplicates(rng, 1e-6),
    "near-duplicates at 1e-7": lambda rng: near_duplicates(rng, 1e-7),
    "30 % exact duplicates": exact_duplicates,
    "constant layer": lambda rng: np.full((80, 16), 0.3, np.float32),
    "two distinct points": lambda rng: np.repeat(gaussian(rng, 2, 5), [30, 40], axis=0),
    "scale 1e-6": lambda rng: gaussian(rng) * np.float32(1e-6),
    "scale 1e6": lambda rng: gaussian(rng) * np.float32(1e6),
    "scale 1e-40, subnormal": lambda rng: gaussian(rng) * np.float32(1e-40),
    "scale 1e38": lambda rng: gaussian(rng) * np.float32(3e37),
    "one outlier at 1e6": with_outlier,
    "heavy tails": lambda rng: (rng.standard_t(1, (500, 8)) ** 5).astype(np.float32),
    "integer lattice": lambda rng: rng.integers(0, 3, (400, 5)).astype(np.float32),
    "lattice without duplicates": lambda rng: np.stack(np.meshgrid(*[np.arange(4.0)] * 4), -1).reshape(-1, 4),
    "float16": lambda rng: gaussian(rng).astype(np.float16),
    "float64": lambda rng: rng.standard_normal((400, 24)),
    "float64, differences below float32": lambda rng: 1 + 1e-12 * rng.standard_normal((300, 6)),
    "float64, clusters below float64 scores": lambda rng: (
        rng.standard_normal((20, 4)).repeat(20, axis=0) * (1 + 1e-14 * rng.standard_normal((400, 4)))
    ),
    "negative zeros": lambda rng: np.where(rng.random((100, 3)) < 0.5, -0.0, rng.integers(0, 2, (100, 3))),
    "big-endian, not contiguous": lambda rng: gaussian(rng).astype(">f4")[::2, ::3],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tile_rows", [8192, 97])
def test_lists_equal_brute_force(rng, name, tile_rows):
    points = CASES[name](rng)
    found = search_representation(ArrayRows(points), 20, tile_rows=tile_rows).collect()
    assert_same_lists((found.distances, found.indices), oracle(points, 20))


@pytest.mark.parametrize("k", [1, 5, 98, 99])
def test_any_k_up_to_all_other_points(rng, k):
    points = gaussian(rng, 100, 6)
    assert_same_lists(nearest_neighbors(points, k), oracle(points, k))


def test_two_points_are_neighbors_of_each_other():
    distances, indices = nearest_neighbors(np.array([[0.0, 0.0], [3.0, 4.0]]), 1)
    assert distances.tolist() == [[5.0], [5.0]]
    assert indices.tolist() == [[1], [0]]
    assert distances.dtype == np.float64
    assert indices.dtype == np.int32


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_float64_near_its_limits_neither_overflows_nor_vanishes(rng, scale):
    points = rng.standard_normal((200, 7))
    exponent = round(np.log2(scale))
    expected_distances, expected_indices = oracle(points, 10)
    distances, indices = nearest_neighbors(np.ldexp(points, exponent), 10)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(distances, np.ldexp(expected_distances, exponent))


def test_huge_and_tiny_differences_live_in_one_representation():
    points = np.array([[0.0], [1e-200], [3e-200], [1e300], [-1e300]])
    distances, indices = nearest_neighbors(points, 2)
    assert indices.tolist() == [[1, 2], [0, 2], [1, 0], [0, 1], [0, 1]]
    np.testing.assert_allclose(
        distances[:3], [[1e-200, 3e-200], [1e-200, 2e-200], [2e-200, 3e-200]], rtol=1e-15
    )


def test_a_search_tree_finds_the_same(rng):
    points = gaussian(rng, 2000, 4)
    distances, indices = nearest_neighbors(points, 30)
    tree_distances, tree_indices = cKDTree(points.astype(np.float64)).query(points, 31)
    np.testing.assert_allclose(distances, tree_distances[:, 1:], rtol=1e-14)
    gap = np.diff(tree_distances, axis=1) > 1e-13
    clear = gap & np.append(gap[:, 1:], np.zeros((len(gap), 1), bool), axis=1)
    np.testing.assert_array_equal(indices[clear], tree_indices[:, 1:][clear])
    assert clear.mean() > 0.9


def test_scikit_learn_finds_the_same(rng):
    points = gaussian(rng, 700, 96)
    model = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(points.astype(np.float64))
    expected_distances, expected_indices = model.kneighbors()
    distances, indices = nearest_neighbors(points, 15)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-10)
    np.testing.assert_array_equal(indices, expected_indices)


def unit_rows(points):
    norm = np.sqrt(np.cumsum(np.square(points.astype(np.float64)), axis=1)[:, -1])
    return points.astype(np.float64) / norm[:, None]


@pytest.mark.parametrize(
    "name", ["gaussian, 17 features", "offset 1e4", "float16", "heavy tails", "scale 1e38"]
)
def test_cosine_is_the_distance_of_unit_rows(rng, name):
    points = CASES[name](rng)
    assert_same_lists(nearest_neighbors(points, 12, metric="cosine"), oracle(unit_rows(points), 12))


def test_cosine_distance_is_the_chord_of_the_angle(rng):
    points = gaussian(rng, 100, 6)
    distances, indices = nearest_neighbors(points, 3, metric="cosine")
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = np.einsum("nd,nkd->nk", unit, unit[indices])
    np.testing.assert_allclose(distances, np.sqrt(2 * (1 - cosine)), rtol=1e-4)


def test_cosine_of_huge_and_tiny_rows_keeps_their_direction(rng):
    points = rng.standard_normal((60, 5))
    scaled = np.ldexp(points, rng.integers(-900, 900, (60, 1)))
    assert_same_lists(nearest_neighbors(scaled, 8, "cosine"), nearest_neighbors(points, 8, "cosine"))


@pytest.mark.parametrize("shift", [0.0, 0.5, 1e5])
def test_a_poor_mean_costs_time_and_not_exactness(rng, shift):
    points = gaussian(rng)
    mean = points.mean(axis=0, dtype=np.float64) + shift
    found = search_representation(ArrayRows(points), 10, mean=mean).collect()
    assert_same_lists((found.distances, found.indices), oracle(points, 10))


def test_neither_tiles_nor_threads_change_a_bit(rng):
    points = exact_duplicates(rng)
    reference = search_representation(ArrayRows(points), 25).collect()
    for tile_rows, threads in [(499, 1), (64, 2), (33, 3), (8192, 2)]:
        found = search_representation(ArrayRows(points), 25, tile_rows=tile_rows, threads=threads).collect()
        for name in ("distances", "indices", "duplicate_of", "distinct_distances", "distinct_indices"):
            np.testing.assert_array_equal(getattr(found, name), getattr(reference, name))


@pytest.mark.slow
def test_a_large_representation_agrees_with_brute_force_on_a_sample(rng):
    points = (rng.standard_normal((20_000, 16)) @ rng.standard_normal((16, 320))).astype(np.float32)
    distances, indices = nearest_neighbors(points, 64)
    for i in range(0, 20_000, 400):
        row = np.sqrt(np.cumsum(np.square(points.astype(np.float64) - points[i]), axis=1)[:, -1])
        row[i] = np.inf
        order = np.lexsort((np.arange(20_000), row))[:64]
        np.testing.assert_array_equal(indices[i], order)
        np.testing.assert_array_equal(distances[i], row[order])
