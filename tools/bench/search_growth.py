"""How the cost of an exact search grows with N: exponents of time and peak memory, from files, out of core.

    python tools/bench/search_growth.py                    # N = 10,000 to 80,000, about seven minutes
    python tools/bench/search_growth.py --features 512     # two of them
    python tools/bench/search_growth.py --features 512 --threads 1 --kernel float32
    python tools/bench/search_growth.py --rows 300000 --features 512 --check 1000   # about five minutes

Every size runs in a process of its own, which reads its points from a Zarr store by ranges of rows and gives
its lists away tile by tile, as the stage of a run does. Tiles have 5000 rows for all sizes. Memory is the
peak of the process beyond what it holds after a search of a few rows of the store; points of up to four tiles
are held, so its growth is that from there on. Time is given by the clock, and of all cores, which other work
on the machine matters less to. The tile phase is what meets every pair of tiles: reading them, products and
selection. The rest grows with N alone: the scan, the exact distances, the audit. The faster the products, the
more that weighs at these sizes, and the smaller the exponents: with float32 in one thread they are those of N
squared.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from hpcgeom import freed_memory
from hpcgeom.search import (
    ArrayRows,
    Settings,
    representation,
    search_memory_bytes,
    search_representation,
)
from hpcgeom.search.held import is_held
from hpcgeom.store import activations
from hpcgeom.store.activations import LayerRows
from hpcgeom.store.axes import Group, PointAxis

BLOCK_ROWS, WARM_ROWS = 8192, 2048
GROUP = "last/mean"


def write_points(store: Path, n_rows: int, n_features: int) -> None:
    """A layer of points on a surface of 12 dimensions with noise, in a store of activations."""
    samples = np.array([str(row) for row in range(n_rows)], dtype=object)
    activations.create(store, [Group(GROUP, (0,), n_features, PointAxis(samples), BLOCK_ROWS)], "float32", {})
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((12, n_features)) / np.sqrt(12)
    for start in range(0, n_rows, BLOCK_ROWS):
        latent = rng.standard_normal((min(BLOCK_ROWS, n_rows - start), 12))
        noise = 0.05 * rng.standard_normal((len(latent), n_features))
        block = (np.tanh(latent @ weights) + noise).astype(np.float32)
        activations.write(store, GROUP, start, block[None], "points")


def search(options: argparse.Namespace) -> dict[str, float]:
    """Search one store; seconds and bytes."""
    freed_memory.share_it()  # as the stage does
    rows = LayerRows(Path(options.store), [GROUP], 0)
    settings = Settings(
        options.neighbors, threads=options.threads, tile_rows=options.tile_rows, kernel=options.kernel
    )
    for kernel in ("float32", "bfloat16") if options.kernel == "auto" else (options.kernel,):
        few = replace(settings, kernel=kernel)  # reads compiled loops, and fills the caches of libraries
        search_representation(ArrayRows(rows.read(0, WARM_ROWS)), few).collect()
    before = forget_peak()
    in_tiles: list[float] = []
    representation.propose = timed(representation.propose, in_tiles)
    checked = set(np.random.default_rng(1).choice(rows.shape[0], options.check, replace=False).tolist())
    kept = {}
    start, used = time.perf_counter(), time.process_time()
    found = search_representation(rows, settings)
    for tile in found.tiles():
        for row in checked.intersection(range(tile.start, tile.stop)):
            kept[row] = tile.indices[row - tile.start], tile.distances[row - tile.start]
    seconds, core_seconds = time.perf_counter() - start, time.process_time() - used
    peak = memory_bytes("VmHWM")
    wrong = count_wrong(rows, kept)
    return {
        "seconds": seconds,
        "core_seconds": core_seconds,
        "tile_seconds": sum(in_tiles),
        "peak_bytes": peak - before,
        "planned_bytes": search_memory_bytes(*rows.shape, options.neighbors, options.tile_rows),
        "certified": found.certificate.certified,
        "wrong": wrong,
    }


def forget_peak() -> int:
    """Begin to watch for the peak of memory anew; bytes that are held now."""
    freed_memory.return_all()
    Path("/proc/self/clear_refs").write_text("5")
    return memory_bytes("VmRSS")


def memory_bytes(name: str) -> int:
    """One number of what Linux says of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))


def timed(work: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The same, which notes how long it takes."""

    def run(*arguments: Any) -> Any:
        start = time.perf_counter()
        found = work(*arguments)
        seconds.append(time.perf_counter() - start)
        return found

    return run


def count_wrong(rows: LayerRows, kept: dict[int, tuple[np.ndarray, np.ndarray]]) -> int:
    """Lists that differ from brute force in float64, by SciPy."""
    chosen_R = np.array(sorted(kept))
    index_RK, exact_RK = (np.stack([kept[row][part] for row in chosen_R.tolist()]) for part in (0, 1))
    query_RD = np.concatenate([rows.read(row, row + 1) for row in chosen_R.tolist()]).astype(np.float64)
    nearest_RK, given_RK = np.full(exact_RK.shape, np.inf), np.full(exact_RK.shape, np.nan)
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, rows.shape[0])
        distance_RB = cdist(query_RD, rows.read(start, stop).astype(np.float64))
        own_R = np.flatnonzero((chosen_R >= start) & (chosen_R < stop))
        distance_RB[own_R, chosen_R[own_R] - start] = np.inf
        r, rank = np.nonzero((index_RK >= start) & (index_RK < stop))
        given_RK[r, rank] = distance_RB[r, index_RK[r, rank] - start]
        both = np.concatenate([nearest_RK, distance_RB], axis=1)
        nearest_RK = np.partition(both, nearest_RK.shape[1] - 1, axis=1)[:, : nearest_RK.shape[1]]
    same_RK = np.isclose(np.sort(nearest_RK), exact_RK, rtol=1e-12, atol=0)
    same_RK &= np.isclose(given_RK, exact_RK, rtol=1e-12, atol=0)
    return int((~same_RK.all(axis=1)).sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 20_000, 40_000, 80_000])
    parser.add_argument("--features", type=int, nargs="*", default=[512, 1280])
    parser.add_argument("--neighbors", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tile-rows", type=int, default=5_000)
    parser.add_argument("--kernel", default="auto")
    parser.add_argument(
        "--repeat", type=int, default=3, help="the smallest time and the largest memory count"
    )
    parser.add_argument("--check", type=int, default=100, help="lists to compare with brute force")
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store:
        print(json.dumps(search(options)))
        return
    for n_features in options.features:
        print(f"{n_features} features")
        found = [measure(options, n_rows, n_features) for n_rows in options.rows]
        if len(found) > 1:
            print_growth(options, found)


def measure(options: argparse.Namespace, n_rows: int, n_features: int) -> dict[str, float]:
    """Search points of one size, as often as asked for, and print the best."""
    with tempfile.TemporaryDirectory() as folder:
        write_points(Path(folder), n_rows, n_features)
        results = [run_alone(options, folder) for _ in range(options.repeat if n_rows < 200_000 else 1)]
    best = {
        key: (min if key.endswith("seconds") else max)(result[key] for result in results)
        for key in results[0]
    }
    lists = 12 * options.neighbors * n_rows
    print(
        f"N={n_rows:<8} {best['seconds']:8.2f} s, of which tiles {best['tile_seconds']:8.2f}, "
        f"of cores {best['core_seconds']:8.2f}   "
        f"peak {best['peak_bytes'] / 2**20:5.0f} MiB (planned {best['planned_bytes'] / 2**20:.0f}, "
        f"the lists themselves {lists / 2**20:.0f})   certified {best['certified']:.0f}   "
        f"wrong {best['wrong']} of {options.check}",
        flush=True,
    )
    return best


def print_growth(options: argparse.Namespace, found: list[dict[str, float]]) -> None:
    """Fitted exponents of time, and bytes of memory for each further row."""
    for name, key in (
        ("the whole", "seconds"), ("the whole, of cores,", "core_seconds"), ("the tile phase", "tile_seconds")
    ):  # fmt: skip
        times = [result[key] for result in found]
        exponent = np.polyfit(np.log(options.rows), np.log(times), 1)[0]
        print(f"time of {name} grows as N^{exponent:.2f}")
    peaks = {
        n_rows: result["peak_bytes"]
        for n_rows, result in zip(options.rows, found, strict=True)
        if not is_held(n_rows, options.tile_rows)
    }
    if len(peaks) > 1:
        slope = np.polyfit(list(peaks), list(peaks.values()), 1)[0]
        print(f"peak memory grows by {slope:.0f} bytes a row; its list has {12 * options.neighbors}")


def run_alone(options: argparse.Namespace, folder: str) -> dict[str, float]:
    """Search in a process of its own."""
    arguments = ["neighbors", "threads", "tile_rows", "kernel", "check"]
    command = [sys.executable, __file__, "--store", folder]
    command += [
        part for name in arguments for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
