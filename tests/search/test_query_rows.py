"""Queries: rows that have neighbors among the base rows and are nobody's."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import CASES, gaussian
from search_oracle import assert_same_lists, lists, oracle, search, unit_rows


def base_oracle(points, k, n_base):
    return oracle(points, k, np.arange(n_base))


@pytest.mark.parametrize(
    "name",
    [
        "gaussian, 17 features",
        "one outlier at 1e6",
        "near-duplicates at 1e-7",
        "30 % exact duplicates",
        "heavy tails",
        "integer lattice",
        "float64, differences below float32",
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_queries_have_the_lists_of_brute_force_among_the_base(rng, name, share):
    points = rng.permutation(CASES[name](rng))
    n_base = int(share * len(points))
    for tile_rows in (8192, 61):
        found = search(points, 9, n_base=n_base, tile_rows=tile_rows)
        assert_same_lists(lists(found), base_oracle(points, 9, n_base))
        assert found.indices.max() < n_base


def test_all_rows_are_base_where_nothing_is_said(rng):
    points = gaussian(rng, 150, 4)
    assert_same_lists(lists(search(points, 5, n_base=150)), lists(search(points, 5)))


@pytest.mark.parametrize("n_base", [2, 6, 59])
def test_the_base_can_be_as_small_as_k_allows(rng, n_base):
    points = gaussian(rng, 60, 4)
    for k in {1, n_base - 1}:
        assert_same_lists(lists(search(points, k, n_base=n_base)), base_oracle(points, k, n_base))


def test_a_query_that_equals_base_rows_has_all_of_them_at_distance_zero(rng):
    points = gaussian(rng, 80, 6)
    points[[11, 30]] = points[4]
    points[[70, 71]] = points[4]
    points[75] = points[76] = points[5] + 1
    found = search(points, 4, n_base=60)
    assert_same_lists(lists(found), base_oracle(points, 4, 60))
    assert found.indices[70, :3].tolist() == found.indices[71, :3].tolist() == [4, 11, 30]
    assert found.indices[11, :2].tolist() == [4, 30]
    assert found.certificate.zero_distances == 5  # the two queries that are equal have no equal in the base
    assert found.duplicate_of[[70, 71, 75, 76]].tolist() == [4, 4, 75, 75]


@pytest.mark.parametrize("k", [1, 5, 9])
def test_a_base_of_equal_rows_is_given_by_number(rng, k):
    points = gaussian(rng, 30, 3)
    points[:10] = points[0]
    found = search(points, k, n_base=10, kernel="float32")
    assert_same_lists(lists(found), base_oracle(points, k, 10))
    assert found.indices[29].tolist() == list(range(k))
    assert found.certificate.certified == 21


def test_everything_equal_with_queries():
    found = search(np.full((9, 2), 0.7), 3, n_base=5, tile_rows=2)
    assert found.indices[2:].tolist() == [[0, 1, 3], [0, 1, 2], [0, 1, 2], *[[0, 1, 2]] * 4]
    assert not found.distances.any()
    assert found.certificate.zero_distances == 9


def test_lists_over_distinct_rows_are_those_of_first_rows(rng):
    points = gaussian(rng, 100, 5)
    points[20:40] = points[:20]
    points[90:] = points[10:20]
    found = search(points, 6, n_base=70)
    distinct = np.setdiff1d(np.arange(100), [*range(20, 40), *range(90, 100)])
    members = np.flatnonzero(distinct < 70)
    distances, position = oracle(points[distinct], 6, members)
    np.testing.assert_array_equal(found.distinct_distances[distinct], distances)
    np.testing.assert_array_equal(found.distinct_indices[distinct], distinct[position])
    assert np.isnan(found.distinct_distances[90:]).all()


def test_far_queries_and_near_ones_do_not_disturb_each_other(rng):
    points = gaussian(rng, 300, 12)
    points[200:230] *= np.float32(1e8)
    points[230:260] = points[:30] * np.float32(1 + 2.0**-22)
    assert_same_lists(lists(search(points, 7, n_base=200)), base_oracle(points, 7, 200))


@pytest.mark.parametrize("name", ["gaussian, 17 features", "offset 1e4", "30 % exact duplicates"])
def test_cosine_has_queries_too(rng, name):
    points = CASES[name](rng)
    found = search(points, 8, n_base=250, metric="cosine", tile_rows=90)
    assert_same_lists(lists(found), base_oracle(unit_rows(points), 8, 250))


def test_the_lists_of_the_base_do_not_know_of_queries(rng):
    points = gaussian(rng, 200, 8)
    alone = search(points[:120], 10)
    together = search(points, 10, n_base=120)
    assert_same_lists((together.distances[:120], together.indices[:120]), lists(alone))
