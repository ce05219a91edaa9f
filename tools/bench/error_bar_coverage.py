"""Whether 95 % error bars of intrinsic dimension hold the truth in 95 % of clouds.

    python tools/bench/error_bar_coverage.py

Clouds are uniform on a torus, where no boundary biases the estimate. Prints a Markdown table: the spread of
the estimates over clouds, the mean error bar, and the share of clouds whose bar (1.96 errors) holds d.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from scipy.spatial import cKDTree

from hpcgeom.geometry import gride, twonn, twonn_mle, twonn_mle_censored

N_CLOUDS, N_POINTS, K = 500, 1000, 64
MEASURES = {
    "twonn": lambda distances, indices: twonn(distances),
    "twonn, indices": lambda distances, indices: twonn(distances, indices=indices),
    "twonn_mle": lambda distances, indices: twonn_mle(distances),
    "twonn_mle, indices": lambda distances, indices: twonn_mle(distances, indices),
    "twonn_mle_censored, indices": lambda distances, indices: twonn_mle_censored(distances, indices=indices),
}
SCALES = (4, 16, 64)


def measure(seed, d):
    """Shape (measures and scales, 2): value and error."""
    points = np.random.default_rng(seed).random((N_POINTS, d))
    distances, indices = cKDTree(points, boxsize=1.0).query(points, k=K + 1)
    distances, indices = distances[:, 1:].copy(), indices[:, 1:]
    found = [f(distances, indices) for f in MEASURES.values()]
    scales = gride(distances, K)
    chosen = np.isin(scales.n2, SCALES)
    pairs = [(estimate.value, estimate.error) for estimate in found]
    return [*pairs, *zip(scales.value[chosen], scales.error[chosen], strict=True)]


def write_line(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    start = time.perf_counter()
    write_line(f"{N_CLOUDS} clouds of {N_POINTS:,} points each\n")
    write_line("| d | estimator | mean | spread | mean error | coverage |\n|-|-|-|-|-|-|")
    for d in (1, 2, 5):
        values, errors = np.moveaxis(np.array([measure(seed, d) for seed in range(N_CLOUDS)]), 2, 0)
        covered = (abs(values - d) < 1.96 * errors).mean(axis=0)
        for i, name in enumerate([*MEASURES, *(f"gride, n2 = {n2}" for n2 in SCALES)]):
            mean, spread, error = values[:, i].mean(), values[:, i].std(), errors[:, i].mean()
            write_line(f"| {d} | {name} | {mean:.3f} | {spread:.3f} | {error:.3f} | {covered[i]:.3f} |")
    write_line(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
