"""Equal rows: found, searched once, and given back to all samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search_oracle import assert_same_lists, lists, oracle, search

from hpcgeom.search import ArrayRows, Settings, nearest_neighbors, search_representation
from hpcgeom.search.duplicates import first_equal_rows, row_hashes

lattices = st.tuples(st.integers(3, 24), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.sampled_from([-1.0, -0.0, 0.0, 1.0]))
)


@settings(max_examples=60, deadline=None)
@given(points=lattices, tile_rows=st.sampled_from([1, 4, 11, 30]), data=st.data())
def test_small_lattices_with_ties_and_duplicates_everywhere(points, tile_rows, data):
    k = data.draw(st.integers(1, len(points) - 1))
    found = search(points, k, tile_rows=tile_rows)
    assert_same_lists(lists(found), oracle(points, k))
    check_distinct_lists(points, k, found)


def check_distinct_lists(points, k, found):
    """Against np.unique, which knows nothing of hashes."""
    _, first, inverse = np.unique(points + np.float32(0), axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found.duplicate_of, first[inverse.ravel()])
    representatives = np.sort(first)
    if len(representatives) == len(points):
        assert found.distinct_distances is None
        assert found.distinct_indices is None
        return
    n_ranks = min(k, len(representatives) - 1)
    distances, indices = np.full((len(points), k), np.nan), np.full((len(points), k), -1)
    if n_ranks:
        among, position = oracle(points[representatives], n_ranks)
        distances[representatives, :n_ranks], indices[representatives, :n_ranks] = (
            among,
            representatives[position],
        )
    np.testing.assert_array_equal(found.distinct_distances, distances)
    np.testing.assert_array_equal(found.distinct_indices, indices)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.99])
@pytest.mark.parametrize("tile_rows", [8192, 41])
def test_lists_over_distinct_rows_leave_duplicates_out(rng, share, tile_rows):
    points = rng.standard_normal((400, 12)).astype(np.float32)
    copies = rng.permutation(400)[: int(400 * share)]
    points[copies] = points[rng.integers(0, 400, len(copies))]
    found = search(points, 15, tile_rows=tile_rows)
    check_distinct_lists(points, 15, found)
    assert np.nanmin(found.distinct_distances) > 0
    assert_same_lists(lists(found), oracle(points, 15))


def test_own_duplicates_come_first_at_distance_zero(rng):
    points = rng.standard_normal((50, 4))
    points[[10, 20, 30]] = points[40]
    distances, indices = nearest_neighbors(points, 5)
    assert indices[20, :3].tolist() == [10, 30, 40]
    assert distances[20, :3].tolist() == [0.0, 0.0, 0.0]
    assert distances[20, 3] > 0


def test_a_constant_representation_has_the_smallest_other_rows_as_neighbors():
    found = search(np.full((6, 3), 0.1), 3)
    assert found.indices.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert not found.distances.any()
    assert np.isnan(found.distinct_distances).all()
    assert (found.distinct_indices == -1).all()
    assert found.certificate.n_distinct == 1
    assert found.certificate.zero_distances == 6


def test_tiles_arrive_in_order_and_none_is_too_long(rng):
    points = rng.standard_normal((7, 3))[rng.integers(0, 7, 300)]
    tiles = list(search_representation(ArrayRows(points), Settings(4, tile_rows=32)).tiles())
    assert [tile.start for tile in tiles[1:]] == [tile.stop for tile in tiles[:-1]]
    assert (tiles[0].start, tiles[-1].stop) == (0, 300)
    assert max(tile.stop - tile.start for tile in tiles) <= 32


def test_rows_that_differ_in_the_last_bit_are_distinct():
    points = np.ones((4, 8), np.float32)
    points[2, 5] = np.nextafter(np.float32(1), np.float32(2))
    found = search(points, 2)
    assert found.duplicate_of.tolist() == [0, 0, 2, 0]
    assert found.distinct_distances[0, 0] == 2.0**-23


def test_distinct_rows_are_never_at_distance_zero():
    smallest = np.float64(5e-324)
    distances, _ = nearest_neighbors(np.array([[0.0, 1.0], [smallest, 1.0], [0.0, 2.0]]), 1)
    assert distances[0, 0] == smallest


def test_hashes_do_not_depend_on_the_sign_of_zero():
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]], np.float32)
    assert first_equal_rows(row_hashes(rows)).tolist() == [0, 0, 2]


def test_parallel_rows_are_duplicates_of_the_cosine_metric(rng):
    points = rng.standard_normal((40, 6))
    points[5] = 4 * points[2]
    found = search(points, 3, metric="cosine")
    assert found.duplicate_of[5] == 2
    assert found.indices[5, 0] == 2
    assert found.distances[5, 0] == 0
