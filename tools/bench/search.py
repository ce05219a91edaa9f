"""How long the exact search takes, where the time goes, and how it compares with faiss and scikit-learn in
the same run.

    OMP_NUM_THREADS=1 python tools/bench/search.py --rows 4500 --features 384 --neighbors 64
    OMP_NUM_THREADS=2 python tools/bench/search.py --rows 20000 --features 1280 --threads 2 --peers

Points lie on a curved surface of ``--dimension`` dimensions with noise, off center, as hidden representations
do. Times are the smallest of ``--repeat`` runs. The machine's other load changes seconds; compare ratios.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcgeom.search import ArrayRows, propose, search_representation, tiles


def surface(n_rows: int, n_features: int, dimension: int) -> np.ndarray:
    """(N, D) float32 points of a curved surface with 5 % noise and an offset in each feature."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_rows, dimension))
    points = np.tanh(latent @ rng.standard_normal((dimension, n_features)) / np.sqrt(dimension))
    points += 0.05 * rng.standard_normal(points.shape) + 3 * rng.standard_normal(n_features)
    return points.astype(np.float32)


def best(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Smallest time of some runs in seconds, and the answer of the last."""
    seconds, answer = [], None
    for _ in range(repeat):
        start = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), answer


class Stopwatch:
    """Sums the time spent in functions of the search."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, module: Any, function: str, part: str) -> None:
        """Count the time of a function of a module as a part."""
        original = getattr(module, function)
        self.seconds[part] = 0.0

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                self.seconds[part] += time.perf_counter() - start

        setattr(module, function, timed)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4500)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--neighbors", type=int, default=64)
    parser.add_argument("--dimension", type=int, default=12, help="of the surface")
    parser.add_argument("--tile-rows", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="also time faiss.knn and scikit-learn")
    options = parser.parse_args()
    points = surface(options.rows, options.features, options.dimension)

    def exact() -> Any:
        return search_representation(
            ArrayRows(points), options.neighbors, tile_rows=options.tile_rows, threads=options.threads
        ).collect()

    search_representation(ArrayRows(points[:200].copy()), 3).collect()  # compiled and loaded
    ours, found = best(exact, options.repeat)
    print(
        f"N={options.rows} D={options.features} k={options.neighbors} threads={options.threads}: {ours:.2f} s"
    )
    print(found.certificate)
    show_shares(exact)
    if options.peers:
        show_peers(points, options, ours, found)


def show_shares(exact: Callable[[], Any]) -> None:
    """One more run, with a clock on each part."""
    stopwatch = Stopwatch()
    stopwatch.watch(propose, "propose", "propose (faiss)")
    stopwatch.watch(tiles, "_merge_in_float64", "second look")
    stopwatch.watch(tiles, "brute_force", "audit")
    stopwatch.watch(tiles, "_merge_tile", "re-rank in float64")
    seconds, _ = best(exact, 1)
    parts = stopwatch.seconds
    parts["re-rank in float64"] -= parts["propose (faiss)"] + parts["second look"]
    for part, spent in parts.items():
        print(f"  {part:<20} {spent:7.2f} s  {100 * spent / seconds:5.1f} %")
    rest = seconds - sum(parts.values())
    print(f"  {'checks, hashes, rest':<20} {rest:7.2f} s  {100 * rest / seconds:5.1f} %")


def show_peers(points: np.ndarray, options: argparse.Namespace, ours: float, found: Any) -> None:
    """Time plain faiss and scikit-learn, and count the lists that differ from the exact ones."""
    import faiss
    from sklearn.neighbors import NearestNeighbors

    faiss.omp_set_num_threads(options.threads)
    model = NearestNeighbors(n_neighbors=options.neighbors, algorithm="brute").fit(points)
    peers = {
        "faiss.knn": lambda: faiss.knn(points, points, options.neighbors + 1)[1][:, 1:],
        "scikit-learn brute": lambda: model.kneighbors()[1],
    }
    for name, work in peers.items():
        seconds, indices = best(work, options.repeat)
        wrong = np.mean((indices != found.indices).any(axis=1))
        print(f"  {name:<20} {seconds:7.2f} s  {seconds / ours:5.2f} x ours; {wrong:.1%} of its lists differ")


if __name__ == "__main__":
    main()
