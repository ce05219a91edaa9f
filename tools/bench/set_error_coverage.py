"""Print how long the error bars of common neighbors are, against the spread over simulated clouds.

python tools/bench/set_error_coverage.py
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from hpcgeom.geometry import half_sample_set_errors, neighbor_sets

N_CLOUDS, N_POINTS, K = 200, 1000, 90
KS = (1, 10, 30)
CASES = ((2, 0.1), (5, 0.3), (10, 0.5))  # dimension, noise

Floats = npt.NDArray[np.float64]


def _lists(points: Floats) -> npt.NDArray[np.int64]:
    return np.asarray(cKDTree(points).query(points, k=K + 1)[1][:, 1:])


def _cloud(d: int, noise: float, seed: int) -> Floats:
    """Shape (6, len(KS)): value, jackknife and half-sample error of mutual k-NN, then of Jaccard."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((N_POINTS, d))
    lists = np.stack([_lists(points), _lists(points + noise * rng.standard_normal(points.shape))])
    found = neighbor_sets(lists, KS)
    halves = half_sample_set_errors(lists, KS, n_splits=16, seed=seed)
    rows = (
        *(found.mutual_knn, found.mutual_knn_error, halves[0]),
        *(found.jaccard, found.jaccard_error, halves[1]),
    )
    return np.stack([row[:, 0, 1] for row in rows])


def main() -> None:
    """Print a Markdown table: mean error / spread, and the share of clouds within one error of the mean."""
    out = sys.stdout
    out.write("| d | noise | k | number | mean | spread | jackknife | coverage | halves | coverage |\n")
    out.write("|-|-|-|-|-|-|-|-|-|-|\n")
    for d, noise in CASES:
        clouds = np.stack([_cloud(d, noise, seed) for seed in range(N_CLOUDS)])
        for column, k in enumerate(KS):
            for name, first in (("mutual k-NN", 0), ("Jaccard", 3)):
                value, *errors = clouds[:, first : first + 3, column].T
                away = np.abs(value - value.mean())
                cells = [f"{e.mean() / value.std():.2f} | {np.mean(away < e):.2f}" for e in errors]
                start = f"| {d} | {noise} | {k} | {name} | {value.mean():.3f} | {value.std():.4f} | "
                out.write(start + " | ".join(cells) + " |\n")
                out.flush()


if __name__ == "__main__":
    main()
