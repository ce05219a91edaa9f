"""What a search holds in memory, against what is said before it starts; tiles that are streamed."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from search_oracle import assert_same_lists, oracle, search

from hpcgeom.search import ArrayRows, Settings, search_memory_bytes, search_representation
from hpcgeom.search.held import HeldRows
from hpcgeom.search.memory import bytes_per_row


class Generated:
    """Rows that exist only while they are read."""

    def __init__(self, n_rows, n_features, dtype=np.float32):
        self.shape, self._dtype = (n_rows, n_features), dtype

    def read(self, start, stop):
        row = 1 + np.arange(start, stop, dtype=np.float64)[:, None]
        return np.sin(row * (1 + np.arange(self.shape[1]))).astype(self._dtype)


@pytest.fixture
def traced():
    search(np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32), 5)  # compiled before
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


CASES = [
    ({}, 4),
    ({"threads": 2}, 4),
    ({"n_base": 700}, 4),
    ({"metric": "cosine"}, 8),
    ({"standardize": True}, 8),
]


@pytest.mark.parametrize(("options", "itemsize"), CASES)
@pytest.mark.parametrize("tile_rows", [400, 500, 1000])
def test_memory_stays_within_what_was_said(traced, options, itemsize, tile_rows):
    settings = Settings(16, tile_rows=tile_rows, kernel="float32", **options)
    for _ in search_representation(Generated(2000, 200), settings).tiles():
        pass
    assert traced() < search_memory_bytes(2000, 200, 16, tile_rows, itemsize=itemsize)


@pytest.mark.parametrize("tile_rows", [300, 3000])
def test_second_looks_at_all_rows_stay_within_it_too(traced, tile_rows):
    """Points that lie so close together that every row is searched again."""
    rows = 1e-9 * np.random.default_rng(1).standard_normal((1600, 40))
    rows[:, :2] += np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[np.arange(1600) % 4]
    settings = Settings(8, tile_rows=tile_rows, kernel="float32")
    prepared = search_representation(ArrayRows(rows), settings)
    for _ in prepared.tiles():
        pass
    assert prepared.certificate.recomputed == 1600
    assert traced() < search_memory_bytes(1600, 40, 8, tile_rows, itemsize=8)


@pytest.mark.parametrize("tile_rows", [400, 3000])
def test_equal_rows_are_held_once(traced, tile_rows):
    rows = np.random.default_rng(1).standard_normal((1500, 20)).repeat(2, axis=0).astype(np.float32)
    for _ in search_representation(ArrayRows(rows), Settings(64, tile_rows=tile_rows)).tiles():
        pass
    assert traced() < search_memory_bytes(3000, 20, 64, tile_rows, n_repeated=1500)


MEASURE = """
import numpy as np
from hpcgeom.search import ArrayRows, Settings, search_representation

def search(rows, k, tile_rows):
    settings = Settings(k, tile_rows=tile_rows, kernel="float32")
    for _ in search_representation(ArrayRows(rows), settings).tiles():
        pass

def bytes_of(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

rows = np.random.default_rng(0).standard_normal((12_000, 256)).astype(np.float32)
search(rows[:1500], 8, 1024)  # compiled and loaded
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
before = bytes_of("VmRSS")
search(rows, 32, 2048)
print(bytes_of("VmHWM") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks cannot be measured here")
def test_the_whole_process_grows_no_more_than_was_said():
    """Outside Python too: buffers of BLAS and of compiled loops. The rows themselves are there before."""
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    ).stdout
    assert 12e6 < int(answer) < search_memory_bytes(12_000, 256, 32, 2048)


def test_memory_grows_with_the_tile_and_by_candidates_with_the_rows():
    small, large = search_memory_bytes(10**5, 1024, 64, 4096), search_memory_bytes(10**6, 1024, 64, 4096)
    assert large - small == bytes_per_row(64) * 900_000
    assert bytes_per_row(64) <= 12 * 64 + 4  # what the list of a row takes, and the number of its equal
    assert bytes_per_row(500) <= 12 * 500 + 4
    assert search_memory_bytes(10**6, 1024, 64, 8192) > large
    assert search_memory_bytes(10**6, 1024, 64, 4096, itemsize=8) > large
    assert search_memory_bytes(10**6, 1024, 64, 4096, n_repeated=1000) - large == 1000 * 64 * 16


def test_tiles_can_be_streamed(rng):
    points = rng.standard_normal((60, 4)).astype(np.float32)
    tiles = list(search_representation(ArrayRows(points), Settings(5, tile_rows=16)).tiles())
    assert [(tile.start, tile.stop) for tile in tiles] == [(0, 15), (15, 30), (30, 45), (45, 60)]
    found = np.concatenate([t.distances for t in tiles]), np.concatenate([t.indices for t in tiles])
    assert_same_lists(found, oracle(points, 5))


def test_rows_are_read_in_tiles(rng):
    """Each pair of tiles once, a tile with itself when it is first read; all of them for the distances."""
    spans = []

    class Watched(ArrayRows):
        def read(self, start, stop):
            spans.append(stop - start)
            return super().read(start, stop)

    points = rng.standard_normal((400, 4))
    list(search_representation(Watched(points), Settings(5, tile_rows=80)).tiles())
    assert max(spans) <= 80
    assert sum(spans) == 400 * 1 + 80 * (5 + 4 + 3 + 2) + 5 * 400


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"metric": "cosine"}, {"standardize": True}, {"n_base": 150}])
def test_rows_of_four_tiles_are_read_once(dtype, options):
    spans = []

    class Watched(Generated):
        def read(self, start, stop):
            spans.append((start, stop))
            return super().read(start, stop)

    source = Watched(200, 7, dtype)
    found = search_representation(source, Settings(5, tile_rows=50, threads=2, **options)).collect()
    assert sorted(spans) == [(0, 50), (50, 100), (100, 150), (150, 200)]
    read_by_tiles = search_representation(source, Settings(5, tile_rows=49, **options)).collect()
    assert len(spans) > 4 + 2 * 5
    assert_same_lists((found.distances, found.indices), (read_by_tiles.distances, read_by_tiles.indices))


def test_held_rows_are_those_of_their_parts():
    rows = np.arange(30.0).reshape(10, 3)
    held = HeldRows([rows[:4], rows[4:9], rows[9:]])
    assert held.shape == (10, 3)
    for start in range(10):
        for stop in range(start + 1, 11):
            np.testing.assert_array_equal(held.read(start, stop), rows[start:stop])
    assert np.shares_memory(held.read(5, 8), rows)
