"""Overlaps and GRIDE against DADApy, in one run on the same lists: seconds, ratios, and whether all agree.

    python tools/bench/geometry.py                          # about three minutes, and 6 GB
    python tools/bench/geometry.py --sizes 5000x8           # a quick look, without the large case

Three parts. Overlaps of all pairs of layers at six k: DADApy's `return_data_overlap` is timed on some of the
pairs, and its time a pair multiplied. Overlaps of 61 layers of 90,000 points: seconds alone. GRIDE up to the
64th neighbor of 90,000 points. Lists are those of clouds that turn from one to another, layer by layer.
DADApy has an environment of its own, made by `make parity`; without it our times are printed alone. Both
sides use one core. The median counts.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KS = (1, 2, 5, 10, 20, 50)
K, RANGE_MAX = 50, 64
N_PAIRS = 6
"""Pairs of layers that DADApy compares, drawn at random from all."""
LARGE, N_GRIDE = "90000x61", 90_000
DADAPY = Path(__file__).parents[2] / ".venv-dadapy" / "bin" / "python"


def layers(n_points: int, n_layers: int) -> np.ndarray:
    """Lists (L, N, 50), int32, of Gaussian clouds in three dimensions, each close to the one before."""
    from scipy.spatial import cKDTree

    first, last = np.random.default_rng(0).standard_normal((2, n_points, 3))
    lists = np.empty((n_layers, n_points, K), np.int32)
    for layer, angle in enumerate(np.linspace(0, np.pi / 2, n_layers)):
        points = np.cos(angle) * first + np.sin(angle) * last
        lists[layer] = cKDTree(points).query(points, k=K + 1)[1][:, 1:]
    return lists


def drawn_pairs(n_layers: int) -> np.ndarray:
    """(pairs, 2): some pairs of different layers."""
    every = np.stack(np.triu_indices(n_layers, 1), axis=1)
    return np.random.default_rng(2).permutation(every)[:N_PAIRS]


def distances(n_points: int) -> np.ndarray:
    """Distances (N, 64) of a Gaussian cloud in five dimensions."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(1).standard_normal((n_points, 5))
    return cKDTree(points).query(points, k=RANGE_MAX + 1)[0][:, 1:].copy()


def timed(call: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Median of the seconds, and what was found."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def by_dadapy(folder: Path, repeat: int) -> dict[str, Any]:
    """DADApy's side, in its own interpreter: reads the lists of a folder, and gives seconds and values."""
    import warnings

    warnings.simplefilter("ignore")
    from dadapy import Data

    found: dict[str, Any] = {}
    if (folder / "lists.npy").exists():
        lists = np.load(folder / "lists.npy")
        own = np.arange(lists.shape[1])[:, None]
        # its lists begin with the point itself
        whole = [np.hstack([own, layer]).astype(np.int64) for layer in lists]
        apart = np.tile(np.arange(K + 1.0), (len(own), 1))
        found["overlap"] = []
        for a, b in zip(whole[::2], whole[1::2], strict=True):
            data = Data(distances=(apart, a), maxk=K)
            for k in KS:
                compare = lambda data=data, b=b, k=k: data.return_data_overlap(  # noqa: E731
                    distances=apart, dist_indices=b, k=k
                )
                seconds, value = timed(compare, repeat)
                found["overlap"].append([seconds, float(value)])
    if (folder / "distances.npy").exists():
        apart = np.load(folder / "distances.npy")
        apart = np.hstack([np.zeros((len(apart), 1)), apart])
        data = Data(distances=(apart, np.zeros(apart.shape, np.int64)), maxk=RANGE_MAX)
        seconds, (value, error, _) = timed(lambda: data.return_id_scaling_gride(range_max=RANGE_MAX), repeat)
        found["gride"] = [seconds, value.tolist(), error.tolist()]
    return found


def ask_dadapy(options: argparse.Namespace, name: str, array: np.ndarray) -> Any:
    """What `by_dadapy` finds in one array, by another interpreter; None where that is missing."""
    if not options.dadapy.exists():
        print(f"  DADApy: there is no {options.dadapy}; `make parity` makes it, and --dadapy names another")
        return None
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, f"{name}.npy"), array)
        command = [options.dadapy, __file__, "--repeat", str(options.repeat), "--measure-dadapy", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return next(iter(json.loads(done.stdout).values()))


def compare_overlaps(options: argparse.Namespace, size: str, *, alone: bool) -> bool:
    """Print the time of all pairs of layers, and DADApy's unless `alone`; whether all agree."""
    from hpcgeom.geometry import overlap_matrix

    n_points, n_layers = (int(part) for part in size.split("x"))
    lists = layers(n_points, n_layers)
    n_pairs = n_layers * (n_layers - 1) // 2
    print(f"overlap: N = {n_points}, {n_layers} layers, {n_pairs} pairs, K = {K}, k in {KS}")
    ours, matrix = timed(lambda: overlap_matrix(lists, KS), 1 if alone else options.repeat)
    print(f"  hpcgeom {ours:9.3f} s")
    pairs = drawn_pairs(n_layers)
    theirs = None if alone else ask_dadapy(options, "lists", lists[pairs.ravel()])
    if theirs is None:
        return True
    pair = sum(each for each, _ in theirs) / len(pairs)
    seconds = pair * n_pairs
    values = np.array([value for _, value in theirs]).reshape(len(pairs), len(KS))
    found = np.array([matrix[:, a, b] for a, b in pairs])
    off = float(np.abs(found / values - 1).max())
    print(f"  DADApy  {seconds:9.3f} s, {pair * 1e3:.1f} ms a pair   {seconds / ours:.1f} x ours")
    print(f"  largest relative difference {off:.1e}")
    return off < 1e-12


def compare_gride(options: argparse.Namespace, n_points: int) -> bool:
    """Print the time of GRIDE at all scales, and DADApy's; whether values and errors agree."""
    from hpcgeom.geometry import gride

    apart = distances(n_points)
    print(f"gride: N = {n_points}, n2 up to {RANGE_MAX}")
    ours, found = timed(lambda: gride(apart, RANGE_MAX, mu_filter="dadapy"), options.repeat)
    print(f"  hpcgeom {ours:9.3f} s")
    theirs = ask_dadapy(options, "distances", apart)
    if theirs is None:
        return True
    seconds, value, error = theirs
    off = max(float(np.abs(a / b - 1).max()) for a, b in ((found.value, value), (found.error, error)))
    print(f"  DADApy  {seconds:9.3f} s   {seconds / ours:.1f} x ours")
    print(f"  largest relative difference {off:.1e}")
    return off < 1e-6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", default=["20000x34", LARGE], help="points x layers")
    parser.add_argument("--points", type=int, default=N_GRIDE, help="points of GRIDE")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dadapy", type=Path, default=DADAPY, metavar="PYTHON", help="where DADApy is")
    parser.add_argument("--measure-dadapy", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_dadapy is not None:
        print(json.dumps(by_dadapy(options.measure_dadapy, options.repeat)))
        return
    from hpcgeom.geometry import gride, overlap_matrix

    overlap_matrix(layers(100, 2), KS)  # compiled and loaded
    gride(distances(100))
    agree = [compare_overlaps(options, size, alone=size == LARGE) for size in options.sizes]
    agree.append(compare_gride(options, options.points))
    if not all(agree):
        sys.exit("results differ by more than 1e-12 (overlaps) or 1e-6 (GRIDE)")


if __name__ == "__main__":
    main()
