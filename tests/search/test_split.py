"""Searches in parts give the lists of the whole, bit by bit, whoever does which part."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from clouds import CASES, exact_duplicates, gaussian
from hypothesis import given, settings
from hypothesis import strategies as st
from search_oracle import search

from hpcgeom.search import (
    ArrayRows,
    Scan,
    Settings,
    merge_rows,
    pairs_of_blocks,
    propose_pair,
    scan_points,
    scanned_points,
)

ARRAYS = ("distances", "indices", "distinct_distances", "distinct_indices")


def stored(arrays):
    """As it comes back from a file."""
    return {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in arrays.items()}


def split_search(points_ND, settings, n_blocks, cuts, order=None, merged_by=None):
    """Tiles and certificates of all ranges; every part scans anew what was stored of the scan."""
    source = ArrayRows(points_ND)
    arrays = stored(scan_points(source, settings).scan.arrays())

    def points(settings=settings):
        return scanned_points(source, settings, Scan.from_arrays(arrays))

    pairs = pairs_of_blocks(n_blocks)
    proposed = {
        pairs[i]: stored(propose_pair(points(), *pairs[i], n_blocks))
        for i in (range(len(pairs)) if order is None else order)
    }
    tiles, certificates = [], []
    for start, stop in pairwise(cuts):
        found, certificate = merge_rows(
            points(merged_by or settings), start, stop, n_blocks, lambda a, b: proposed[a, b]
        )
        tiles += found
        certificates.append(certificate())
    return tiles, certificates


def assert_same_as_whole(tiles, whole):
    assert [tile.start for tile in tiles[1:]] == [tile.stop for tile in tiles[:-1]]
    assert (tiles[0].start, tiles[-1].stop) == (0, len(whole.distances))
    for name in ARRAYS:
        expected, parts = getattr(whole, name), [getattr(tile, name) for tile in tiles]
        if expected is None:
            assert parts == [None] * len(tiles)
        else:
            np.testing.assert_array_equal(np.concatenate(parts), expected)


def assert_sums(certificates, whole):
    for name in ("rows", "n_distinct", "n_duplicates", "zero_distances"):
        assert sum(getattr(c, name) for c in certificates) == getattr(whole.certificate, name)
    for c in certificates:
        assert c.certified + c.recomputed == c.n_distinct
        assert c.kernel == whole.certificate.kernel


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "name",
    ["30 % exact duplicates", "near-duplicates at 1e-7", "integer lattice", "heavy tails"],
)
def test_parts_give_the_lists_of_the_whole(rng, name, n_blocks):
    points = CASES[name](rng)
    n = len(points)
    asked = Settings(11, tile_rows=170)
    whole = search(points, 11)
    tiles, certificates = split_search(points, asked, n_blocks, [0, 1, n // 3, n // 3 + 50, n])
    assert_same_as_whole(tiles, whole)
    assert_sums(certificates, whole)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_base", [1 + 128, 300])
def test_parts_know_queries_and_standard_features(rng, metric, n_base):
    points = exact_duplicates(rng, 400, share=0.4)
    options = {"metric": metric, "standardize": True, "n_base": n_base, "tile_rows": 64}
    tiles, certificates = split_search(points, Settings(128, **options), 3, [0, 100, n_base + 7, 400])
    whole = search(points, 128, **options)
    assert_same_as_whole(tiles, whole)
    assert_sums(certificates, whole)


def test_a_group_of_equal_rows_may_lie_in_all_ranges(rng):
    points = gaussian(rng, 90, 4)
    points[::3] = points[0]
    tiles, certificates = split_search(points, Settings(35), 4, list(range(0, 91, 10)))
    assert_same_as_whole(tiles, search(points, 35))
    assert sum(c.n_distinct for c in certificates) == 61


def test_constant_points_can_be_split():
    points = np.full((20, 3), 0.1)
    tiles, certificates = split_search(points, Settings(4), 2, [0, 7, 20])
    assert_same_as_whole(tiles, search(points, 4))
    assert [c.certified for c in certificates] == [1, 0]


def test_a_range_without_rows_has_no_tiles(rng):
    tiles, certificates = split_search(gaussian(rng, 30, 2), Settings(3), 2, [0, 30, 30])
    assert len(tiles) == 1
    assert (certificates[1].rows, certificates[1].certified) == (0, 0)


def test_neither_order_nor_tiles_nor_threads_of_the_parts_change_a_bit(rng):
    points = exact_duplicates(rng)
    asked, cuts = Settings(9, tile_rows=80), [0, 120, 300, 499]
    straight = split_search(points, asked, 3, cuts)
    order = rng.permutation(6)
    shuffled = split_search(points, dataclasses.replace(asked, threads=2), 3, cuts, order)
    other_tiles = split_search(points, asked, 3, cuts, merged_by=dataclasses.replace(asked, tile_rows=33))
    assert shuffled[1] == straight[1]
    whole = search(points, 9)
    for tiles, _ in (straight, shuffled, other_tiles):
        assert_same_as_whole(tiles, whole)


def test_what_a_pair_says_does_not_depend_on_threads(rng):
    points = exact_duplicates(rng, 1500)
    for pair in pairs_of_blocks(2):
        one, two = (
            propose_pair(scan_points(ArrayRows(points), Settings(6, threads=threads)), *pair, 2)
            for threads in (1, 2)
        )
        assert one.keys() == two.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, two[name])


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_cut_of_any_lattice(data):
    n, d = data.draw(st.integers(3, 40)), data.draw(st.integers(1, 2))
    points = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 4, (n, d)).astype(np.float32)
    n_base = data.draw(st.integers(2, n))
    k = data.draw(st.integers(1, n_base - 1))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=3))), n]
    asked = Settings(k, n_base=n_base, tile_rows=data.draw(st.sampled_from([5, 16, 99])))
    tiles, certificates = split_search(points, asked, data.draw(st.integers(1, 6)), cuts)
    whole = search(points, k, n_base=n_base)
    assert_same_as_whole(tiles, whole)
    assert_sums(certificates, whole)
