"""Neighbors among subsets, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from search_oracle import assert_same_lists, oracle

from hpcgeom.errors import InputError
from hpcgeom.search import ArrayRows, nearest_neighbors, neighbors_of_rows


@pytest.fixture
def points(rng):
    return rng.integers(0, 4, (200, 4)).astype(np.float32)


@pytest.mark.parametrize("tile_rows", [4096, 17])
def test_subsets_equal_the_oracle(points, rng, tile_rows):
    rows, members = rng.integers(0, 200, 30), rng.permutation(200)[:90]
    distances, indices = oracle(points, 12, members)
    found = neighbors_of_rows(ArrayRows(points), rows, members, 12, tile_rows=tile_rows)
    assert_same_lists(found, (distances[rows], indices[rows]))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_all_rows_among_all_rows_are_the_exact_search(rng, metric):
    points = rng.standard_normal((150, 9))
    everything = np.arange(150)
    found = neighbors_of_rows(ArrayRows(points), everything, everything, 149, metric)
    assert_same_lists(found, nearest_neighbors(points, 149, metric))


def test_no_rows_have_no_lists(points):
    distances, indices = neighbors_of_rows(ArrayRows(points), [], [1, 2, 3], 2)
    assert distances.shape == indices.shape == (0, 2)


def test_a_row_outside_the_members_can_have_them_all(points):
    assert sorted(neighbors_of_rows(ArrayRows(points), [9], [4, 2], 2)[1][0]) == [2, 4]


@pytest.mark.parametrize(
    ("rows", "members", "k", "words"),
    [
        ([0], [0, 1, 2], 3, r"k is 3, and each of 3 points has at most 2 neighbors"),
        ([9], [0, 1], 3, r"k is 3, and each of 3 points has at most 2 neighbors"),
        ([0], [0, 1, 1], 1, r"members names row 1 more than once"),
        ([200], [0, 1], 1, r"rows names row 200, expected row numbers from 0 to 199"),
        ([0], [-1, 1], 1, r"members names row -1, expected row numbers from 0 to 199"),
        ([0.5], [0, 1], 1, r"rows has the shape \(1,\) and the dtype float64, expected row numbers"),
    ],
)
def test_subsets_that_cannot_be_searched_are_refused(points, rows, members, k, words):
    with pytest.raises(InputError, match=words):
        neighbors_of_rows(ArrayRows(points), rows, members, k)


def test_rows_that_are_not_finite_are_named(points):
    points[150, 1] = np.nan
    with pytest.raises(InputError, match=r"row 150 has values that are NaN"):
        neighbors_of_rows(ArrayRows(points), [3], [1, 150, 160], 1)


def test_an_unknown_metric_is_refused(points):
    with pytest.raises(InputError, match=r"the metric is 'l1', expected 'euclidean' or 'cosine'"):
        neighbors_of_rows(ArrayRows(points), [3], [1, 2], 1, "l1")
