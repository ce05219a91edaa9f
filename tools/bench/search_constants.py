"""What a search costs on this machine, part by part, as JSON: the constants that tools/bench/scaling.py uses.

    python tools/bench/search_constants.py > constants.json     # about a minute; the machine should be quiet

Rates are of the time of one core. Files were just written, so they come from memory: what is timed of Zarr is
checksums and copies, not the disk. Two whole searches of one small cloud are timed as well, with one thread
and with two, to be held against what the constants predict for them.
"""

# ruff: noqa: T201
from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hpcgeom.plan.memory import choose_tile_rows
from hpcgeom.search import (
    ArrayRows,
    Settings,
    compiled,
    propose_pair,
    scan_points,
    search_representation,
)
from hpcgeom.search.bounds import float32_bound
from hpcgeom.search.candidates import Candidates, capacity, offer
from hpcgeom.search.kernels.base import cpu_multiplier
from hpcgeom.search.rerank import AUDITED_ROWS, Lists, brute_force
from hpcgeom.search.scan import scan_rows
from hpcgeom.search.tiles import norms, round_rows
from hpcgeom.store import activations, neighbors
from hpcgeom.store.axes import Group, PointAxis

N_FEATURES, K, PANEL = 8192, 128, 1024
RUN_ROWS, RUN_FEATURES, RUN_K = 20_000, 1280, 64


def surface(n_rows: int, n_features: int) -> np.ndarray:
    """(N, D) float32 points of a curved surface of 12 dimensions with noise."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((n_rows, 12)) @ rng.standard_normal((12, n_features)) / np.sqrt(12)
    noise = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    return np.tanh(mixed).astype(np.float32) + 0.05 * noise


def seconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """Smallest processor time of a call, all threads together, after one that does not count."""
    work()
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def gaussian(n_rows: int, n_features: int) -> np.ndarray:
    """(N, D) float32 points of the standard normal distribution."""
    return np.random.default_rng(0).standard_normal((n_rows, n_features), dtype=np.float32)


def n_appended(n_rows: float, k: int) -> float:
    """Candidates that enter the list of one row while it meets n rows in random order.

    The first panel gives it a threshold before any enter, so that k do. A threshold is that of the k nearest
    of all rows so far, and a share k / n of the next rows passes: n grows by room / k until the list is full,
    and is cut to about k again.
    """
    room, first = capacity(k) - k, min(n_rows, PANEL)
    return min(n_rows, k + room * math.log(n_rows / first, 1 + room / k))


def product_constants() -> dict[str, float]:
    """Products of panels in float32 as searches take them, and what a second thread adds to the first."""
    rows, multiplier = gaussian(4 * PANEL, N_FEATURES), cpu_multiplier()
    panels = [rows[first : first + PANEL] for first in range(0, len(rows), PANEL)]

    def products(first: int) -> None:
        for _ in range(4):
            multiplier.product(panels[first], panels[first + 1])

    def both() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(products, (0, 2)))

    with multiplier.one_thread():
        alone, together = seconds(lambda: products(0)), seconds(both)
    return {
        "product_flops_per_s": 4 * 2 * PANEL**2 * N_FEATURES / alone,
        "second_thread": 4 * alone / together - 1,
    }


def selection_constants() -> dict[str, float]:
    """Of each element of a product that is read, and of each candidate that enters a list."""
    points = surface(12 * PANEL, 64)
    norm_N = norms(points.astype(np.float64))
    rows = Candidates.empty(0, norm_N[:PANEL], K, float32_bound(64))
    columns = Candidates.empty(PANEL, norm_N[PANEL : 2 * PANEL], K, float32_bound(64))
    product = points[:PANEL] @ points[PANEL : 2 * PANEL].T
    for lists in (rows, columns):
        lists.thresholds[:], lists.bars[:] = 0.0, np.float32(1e30)  # nobody passes: what is left is the test

    def look() -> None:
        offer(product, rows, columns, to_rows=True, to_columns=True)

    def look_ten_times() -> None:
        for _ in range(10):
            look()

    element = seconds(look_ten_times) / (10 * PANEL**2)
    all_lists = Candidates.empty(0, norm_N, K, float32_bound(64))
    parts = [all_lists.part(low, low + PANEL) for low in range(0, len(points), PANEL)]
    taken = 0.0
    for i, first in enumerate(parts):
        for second in parts[i:]:
            product = points[first.start : first.stop] @ points[second.start : second.stop].T
            taken -= time.process_time()
            offer(product, first, second, to_rows=True, to_columns=True)
            taken += time.process_time()
    taken -= time.process_time()
    all_lists.settle()
    taken += time.process_time()
    appended = len(points) * n_appended(len(points), K)
    n_elements = sum(PANEL**2 * (0.5 if i == j else 1.0) for i in range(12) for j in range(i, 12))
    return {"element_s": element, "appended_s": (taken - element * n_elements) / appended}


def distance_constants() -> dict[str, float]:
    """Of each candidate and feature that is measured, and of each row and feature that an audit measures."""
    base = gaussian(4096, N_FEATURES)
    rng = np.random.default_rng(1)
    n_queries, n_candidates = 64, K + 16
    keys = np.sort(rng.integers(0, len(base), (n_queries, n_candidates)))
    counts, distances = np.full(n_queries, n_candidates, np.int32), np.empty(keys.shape)
    measured = seconds(lambda: compiled.measure(base[:n_queries], base, 0, keys, counts, distances))
    audited_A = np.arange(AUDITED_ROWS)
    lists = Lists.empty(AUDITED_ROWS, K)
    audited = seconds(lambda: brute_force(base[:AUDITED_ROWS], audited_A, base, 0, lists))
    return {
        "measured_s": measured / (keys.size * N_FEATURES),
        "audited_s": audited / (AUDITED_ROWS * len(base) * N_FEATURES),
    }


def row_constants() -> dict[str, float]:
    """Stored bytes that are scanned (hashes, means, extremes), and centered and rounded, in a second."""
    points = gaussian(4096, N_FEATURES)
    source, rounded = ArrayRows(points), np.empty_like(points)
    centering = scan_rows(source, 4096).centering
    scanned = seconds(lambda: scan_rows(source, 4096))
    rounds = seconds(lambda: round_rows(source, 0, len(points), centering, rounded, 1))
    return {"scanned_bytes_per_s": points.nbytes / scanned, "rounded_bytes_per_s": points.nbytes / rounds}


def store_constants(folder: Path) -> dict[str, float]:
    """Bytes of activations and of lists that Zarr reads and writes in a second."""
    n_rows = 2048
    block = gaussian(n_rows, N_FEATURES)[None]
    samples = np.array([str(row) for row in range(n_rows)], dtype=object)
    group = Group("last/mean", (0,), N_FEATURES, PointAxis(samples), n_rows)
    activations.create(folder / "activations", [group], "float32", {})
    neighbors.create(folder / "neighbors", [group], K, {})
    wrote = seconds(lambda: activations.write(folder / "activations", "last/mean", 0, block, "here"))
    rows = activations.LayerRows(folder / "activations", ["last/mean"], 0)
    read = seconds(lambda: rows.read(0, n_rows))
    lists = {
        "neighbor_index": np.zeros((n_rows, K), np.int32),
        "neighbor_distance": np.zeros((n_rows, K)),
        "duplicate_of": np.zeros(n_rows, np.int32),
    }
    listed = seconds(lambda: neighbors.write_rows(folder / "neighbors", "last/mean", 0, 0, lists))
    return {
        "stored_bytes_per_s": block.nbytes / wrote,
        "read_bytes_per_s": block.nbytes / read,
        "listed_bytes_per_s": sum(array.nbytes for array in lists.values()) / listed,
    }


def partial_constants() -> dict[str, float]:
    """Candidates that a pair of blocks keeps of a row, their bytes, and the time to pour one into a list."""
    points = scan_points(ArrayRows(surface(8192, 64)), Settings(K, tile_rows=4096))
    arrays = propose_pair(points, 0, 1, 2)
    norm_R = norms(points.source.read(0, 4096).astype(np.float64))

    def pour() -> None:
        lists = Candidates.empty(0, norm_R, K, float32_bound(64))
        for _ in range(4):
            lists.pour(
                np.arange(4096), *(arrays[f"first_{name}"] for name in ("keys", "counts", "thresholds"))
            )

    n_rows = len(arrays["first_counts"]) + len(arrays["second_counts"])
    return {
        "kept_of_k": (len(arrays["first_keys"]) + len(arrays["second_keys"])) / n_rows / K,
        "partial_bytes_per_row": sum(array.nbytes for array in arrays.values()) / n_rows,
        "poured_s": seconds(pour) / (4 * len(arrays["first_keys"])),
    }


def timed_runs(folder: Path) -> dict[str, float]:
    """Seconds of a whole search from a store, by the clock and of cores, with one thread and with two."""
    samples = np.array([str(row) for row in range(RUN_ROWS)], dtype=object)
    group = Group("last/mean", (0,), RUN_FEATURES, PointAxis(samples), 4096)
    activations.create(folder / "run", [group], "float32", {})
    points = surface(RUN_ROWS, RUN_FEATURES)[None]
    for first in range(0, RUN_ROWS, 4096):
        activations.write(folder / "run", "last/mean", first, points[:, first : first + 4096], "here")
    rows = activations.LayerRows(folder / "run", ["last/mean"], 0)
    found = {}
    for n_threads, name in ((1, "1_thread"), (2, "2_threads")):
        settings = Settings(RUN_K, threads=n_threads, tile_rows=choose_tile_rows(RUN_FEATURES, RUN_K))
        start, used = time.perf_counter(), time.process_time()
        for _ in search_representation(rows, settings).tiles():
            pass
        found[f"run_s_{name}"] = time.perf_counter() - start
        found[f"run_core_s_{name}"] = time.process_time() - used
    return found


def main() -> None:
    """Measure everything and print it, to three digits."""
    search_representation(
        ArrayRows(surface(3000, 64)), Settings(K, threads=2)
    ).collect()  # compiled and loaded
    constants = product_constants() | selection_constants() | distance_constants() | row_constants()
    with tempfile.TemporaryDirectory() as folder:
        constants |= store_constants(Path(folder)) | partial_constants() | timed_runs(Path(folder))
    print(json.dumps({name: float(f"{value:.3g}") for name, value in constants.items()}, indent=2))


if __name__ == "__main__":
    main()
