"""The exact search against faiss and scikit-learn: time and wrong lists, in one run with equal threads.

    python tools/bench/search.py                                # both sizes, about 20 minutes
    python tools/bench/search.py --sizes 20000x1280 --repeat 1  # a quick look

Two clouds. `surface`: a curved surface of 12 dimensions with noise, off center, like hidden representations.
`gaussian`: isotropic, so that all distances are nearly equal: the worst case for a certificate. Everything is
inside our time: checks, hashes, products, selection, exact distances, audit. Engines take turns; the median
counts. scikit-learn searches for a quarter of the points where they are many, and its time is multiplied.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hpcgeom.search import ArrayRows, Settings, search_representation

SIZES = ((20_000, 1280), (90_000, 512))
LARGE = 50_000
"""From here on scikit-learn searches for a quarter of the points."""


def surface(n_rows: int, n_features: int) -> np.ndarray:
    """(N, D) float32 points of a curved surface of 12 dimensions with 5 % noise and an offset."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_rows, 12))
    points = np.tanh(latent @ rng.standard_normal((12, n_features)) / np.sqrt(12))
    points += 0.05 * rng.standard_normal(points.shape) + 3 * rng.standard_normal(n_features)
    return points.astype(np.float32)


def gaussian(n_rows: int, n_features: int) -> np.ndarray:
    """(N, D) float32 points of the standard normal distribution."""
    return np.random.default_rng(0).standard_normal((n_rows, n_features), dtype=np.float32)


def engines(
    points: np.ndarray, k: int, threads: int, kernel: str
) -> dict[str, Callable[[], tuple[Any, float]]]:
    """By name, what searches: gives row numbers, and by how much its time is to be multiplied."""
    import faiss
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    settings = Settings(k, threads=threads, tile_rows=32_768, kernel=kernel)
    share = 4 if len(points) >= LARGE else 1

    def by_sklearn() -> tuple[Any, float]:
        model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
        with threadpool_limits(threads):
            return model.kneighbors(points[: len(points) // share], k + 1)[1][:, 1:], share

    def by_faiss() -> tuple[Any, float]:
        faiss.omp_set_num_threads(threads)
        return faiss.knn(points, points, k + 1)[1][:, 1:], 1

    return {
        "hpcgeom": lambda: (search_representation(ArrayRows(points), settings).collect(), 1),
        "faiss.knn": by_faiss,
        "scikit-learn brute": by_sklearn,
    }


def compare(points: np.ndarray, options: argparse.Namespace) -> None:
    """Let the engines take turns, and print times, ratios and shares of wrong lists."""
    runs = engines(points, options.neighbors, options.threads, options.kernel)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    answers: dict[str, Any] = {}
    for _ in range(options.repeat):
        for name, run in runs.items():
            start = time.perf_counter()
            answers[name], times = run()
            seconds[name].append((time.perf_counter() - start) * times)
    exact = answers["hpcgeom"]
    ours = statistics.median(seconds["hpcgeom"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        indices = exact.indices if name == "hpcgeom" else answers[name]
        wrong = np.mean((indices != exact.indices[: len(indices)]).any(axis=1))
        print(
            f"  {name:<20} {median:8.2f} s   {median / ours:5.2f} x ours   {wrong:6.1%} of its lists differ"
        )
    certificate = exact.certificate
    print(
        f"  certified {certificate.certified}, searched again {certificate.recomputed} ({certificate.kernel})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", nargs="*", default=[f"{n}x{d}" for n, d in SIZES], help="points x features"
    )
    parser.add_argument("--neighbors", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kernel", default="auto")
    options = parser.parse_args()
    for warm in engines(gaussian(3000, 64), options.neighbors, options.threads, options.kernel).values():
        warm()  # compiled and loaded
    for size in options.sizes:
        n_rows, n_features = (int(part) for part in size.split("x"))
        for make in (surface, gaussian):
            print(
                f"{make.__name__}: N={n_rows} D={n_features} k={options.neighbors} threads={options.threads}"
            )
            compare(make(n_rows, n_features), options)


if __name__ == "__main__":
    main()
