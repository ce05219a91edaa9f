"""Which tiles are read and meet, by a kernel that only writes it down; and that they may meet in threads."""

from __future__ import annotations

import numpy as np
import pytest
from search_oracle import assert_same_lists, lists, oracle, search

from hpcgeom.search.bounds import float32_bound
from hpcgeom.search.kernels import panels
from hpcgeom.search.propose import propose
from hpcgeom.search.rows import ArrayRows
from hpcgeom.search.scan import Centering
from hpcgeom.search.tiles import Tile, tile_ranges

N_ROWS, TILE_ROWS = 23, 5


class Recorder:
    """A kernel that gives nothing to any list."""

    name = "recorder"

    def __init__(self):
        self.read, self.met = [], []

    def bound(self, n_features):
        return float32_bound(n_features)

    def load(self, source, start, stop, centering, *, is_base, threads):
        self.read.append(start)
        return Tile(start, stop, None, np.ones(stop - start), is_base)

    def meet(self, pairs, lists, threads):
        for first, second in pairs:
            assert (first is second) == (first.start == second.start)
            assert all(lists[tile.start].start == tile.start for tile in (first, second))
            self.met.append((first.start, second.start))


def proposed(n_base, first, second):
    kernel, source = Recorder(), ArrayRows(np.zeros((N_ROWS, 2), np.float32))
    lists = propose(source, Centering(np.zeros(2), 1.0), kernel, 3, n_base, first, second, 1)
    return kernel, lists


@pytest.mark.parametrize("n_base", [N_ROWS, 12, 4])
def test_every_pair_of_tiles_meets_once_and_a_tile_meets_itself_first(n_base):
    ranges = tile_ranges(0, N_ROWS, TILE_ROWS, n_base)
    kernel, lists = proposed(n_base, ranges, None)
    starts = [start for start, _ in ranges]
    expected = {(a, b) for a in starts for b in starts if a <= b and a < n_base}
    assert len(kernel.met) == len(expected)
    assert set(kernel.met) == expected
    assert sorted(lists) == starts
    for start in starts:
        if start < n_base:
            assert next(pair for pair in kernel.met if start in pair) == (start, start)


@pytest.mark.parametrize("n_tiles", [1, 2, 5])
def test_a_tile_is_not_read_again_to_meet_itself(n_tiles):
    kernel, _ = proposed(N_ROWS, tile_ranges(0, N_ROWS, -(-N_ROWS // n_tiles), N_ROWS), None)
    assert len(kernel.read) == n_tiles * (n_tiles + 1) // 2 - (n_tiles > 1)


def test_ranges_of_two_blocks_meet_each_other_and_not_themselves():
    first, second = tile_ranges(0, 10, TILE_ROWS, 20), tile_ranges(10, N_ROWS, TILE_ROWS, 20)
    kernel, _ = proposed(20, first, second)
    assert sorted(kernel.met) == sorted((a, b) for a, _ in first for b, _ in second)


def test_queries_alone_have_nothing_to_give():
    kernel, lists = proposed(10, tile_ranges(10, N_ROWS, TILE_ROWS, 10), None)
    assert (kernel.read, kernel.met, lists) == ([], [], {})


@pytest.mark.parametrize("n_base", [300, 260])
def test_tiles_of_several_panels_meet_in_threads(n_base, monkeypatch, rng):
    """Panels of a batch of pairs of tiles share their lists."""
    monkeypatch.setattr(panels, "PANEL_ROWS", 16)
    points = rng.standard_normal((300, 5)).astype(np.float32)
    found = search(points, 7, n_base=n_base, tile_rows=100, threads=3, kernel="float32")
    assert found.certificate.recomputed == 0
    assert_same_lists(lists(found), oracle(points, 7, np.arange(n_base)))
