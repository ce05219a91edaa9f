"""Finite-size bias of the estimators of intrinsic dimension, on clouds of known dimension.

    python tools/bench/finite_size_bias.py [--quick]

Prints a Markdown table of mean estimate / true dimension. Neighbors come from scipy's k-d tree up to d = 5,
from the whole matrix of distances above. Boundaries (ball), curvature (sphere) and the change of density
(Gaussian) bend the estimate; more points bring it back slowly.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from hpcgeom.geometry import gride, twonn, twonn_mle

K = 64
COLUMNS = ("twonn", "twonn_mle", "gride 4", "gride 16", "gride 64")


def gaussian(rng, n_points, d):
    return rng.standard_normal((n_points, d))


def sphere(rng, n_points, d):
    points = rng.standard_normal((n_points, d + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def ball(rng, n_points, d):
    radii = rng.random((n_points, 1)) ** (1.0 / d)
    return sphere(rng, n_points, d - 1) * radii


def neighbor_distances(points, d):
    """Shape (N, K), float64, self excluded."""
    if d <= 5:
        return cKDTree(points).query(points, k=K + 1)[0][:, 1:].copy()
    blocks = []
    for start in range(0, len(points), 500):
        squared = cdist(points[start : start + 500], points, "sqeuclidean")
        nearest = np.partition(squared, K, axis=1)[:, : K + 1]
        nearest.sort(axis=1)
        blocks.append(np.sqrt(nearest[:, 1:]))
    return np.concatenate(blocks)


def estimates(points, d):
    distances = neighbor_distances(points, d)
    scales = gride(distances, K).value
    return [twonn(distances).value, twonn_mle(distances).value, scales[1], scales[3], scales[5]]


def write_line(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="N = 1,000 alone")
    clouds_of = {1000: 10} if parser.parse_args().quick else {1000: 20, 5000: 4, 20000: 1}
    start = time.perf_counter()
    write_line("| points | d | N | clouds | " + " | ".join(COLUMNS) + " |")
    write_line("|-|-|-|-|" + "-|" * len(COLUMNS))
    for make in (gaussian, ball, sphere):
        for d in (1, 2, 5, 10, 20):
            for n_points, n_clouds in clouds_of.items():
                clouds = [make(np.random.default_rng(seed), n_points, d) for seed in range(n_clouds)]
                ratios = np.mean([estimates(points, d) for points in clouds], axis=0) / d
                cells = " | ".join(f"{ratio:.3f}" for ratio in ratios)
                write_line(f"| {make.__name__} | {d} | {n_points:,} | {n_clouds} | {cells} |")
    write_line(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
