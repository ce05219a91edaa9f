"""The lists are those of brute force, bit by bit, on points that are easy, hard and degenerate."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import CASES, exact_duplicates, gaussian
from scipy.spatial import cKDTree
from search_oracle import assert_same_lists, lists, oracle, search, unit_rows
from sklearn.neighbors import NearestNeighbors

from hpcgeom.search import nearest_neighbors

ARRAYS = ("distances", "indices", "duplicate_of", "distinct_distances", "distinct_indices")


KERNELS = ("auto", "bfloat16")
"""What runs by default, on few points in float32; and what runs on many where the processor has it."""


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", CASES)
def test_lists_equal_brute_force(rng, name, kernel):
    points = CASES[name](rng)
    expected = oracle(points, 20)
    for tile_rows in (8192, 97):
        assert_same_lists(lists(search(points, 20, tile_rows=tile_rows, kernel=kernel)), expected)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [1, 5, 128, 209, 210])
def test_any_k_up_to_all_other_points(rng, k, kernel):
    points = gaussian(rng, 211, 6)
    assert_same_lists(lists(search(points, k, kernel=kernel)), oracle(points, k))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [2, 3, 31, 32, 33, 64, 257, 1025])
def test_any_number_of_points(rng, n, kernel):
    """Around the chunks, panels and blocks that rows are cut into."""
    points = gaussian(rng, n, 3)
    k = min(n - 1, 7)
    assert_same_lists(lists(search(points, k, kernel=kernel)), oracle(points, k))


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
    assert_same_lists(lists(search(points, 10, mean=mean)), oracle(points, 10))


def test_neither_tiles_nor_threads_change_a_bit(rng):
    points = exact_duplicates(rng)
    reference = search(points, 25)
    for tile_rows, threads in [(499, 1), (64, 2), (33, 3), (8192, 2)]:
        found = search(points, 25, tile_rows=tile_rows, threads=threads)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found, name), getattr(reference, name))


def test_threads_share_the_panels_of_a_tile(rng):
    """More rows than a panel and a block hold, so that threads have something to share."""
    points = exact_duplicates(rng, 2900)
    one, three = search(points, 12), search(points, 12, threads=3)
    for name in (*ARRAYS, "certificate"):
        np.testing.assert_array_equal(getattr(three, name), getattr(one, name))
    chosen = rng.permutation(2900)[:40]
    for i in chosen:
        row = np.sqrt(np.cumsum(np.square(points.astype(np.float64) - points[i]), axis=1)[:, -1])
        row[i] = np.inf
        order = np.lexsort((np.arange(2900), row))[:12]
        np.testing.assert_array_equal(one.indices[i], order)
        np.testing.assert_array_equal(one.distances[i], row[order])


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
