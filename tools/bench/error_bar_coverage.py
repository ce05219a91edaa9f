"""How often error bars hold what they promise: one standard error on either side in 68 % of clouds.

    python tools/bench/error_bar_coverage.py [--clouds 300] [--points 2000]

Each estimate is compared with its own expectation, the mean over all clouds, so that the table shows the
error bars and not the bias of few points (tools/bench/finite_size_bias.py does). Prints a Markdown table,
one row for each error bar and one column for each kind of cloud; a cell is the share of clouds whose bar
holds the mean, and in brackets the mean error over the spread of the estimates.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from scipy.spatial import cKDTree

from hpcgeom.geometry import (
    Covariance,
    gride,
    half_sample_errors,
    levina_bickel,
    local_dimension,
    spectrum,
    subsets,
    twonn,
    twonn_bayes,
    twonn_mle,
    twonn_mle_censored,
)

K, LOCAL_K, KS = 64, 20, (5, 10, 20)
CLOUDS = [("torus", 2), ("gaussian", 2), ("gaussian", 5), ("gaussian", 10), ("gaussian", 20)]


def drawn(kind, seed, n_points, d):
    rng = np.random.default_rng(seed)
    return rng.random((n_points, d)) if kind == "torus" else rng.standard_normal((n_points, d))


def neighbors(kind, points, k):
    """Distances and indices (N, k): by a tree on the torus, from all distances elsewhere."""
    if kind == "torus":
        distances, indices = cKDTree(points, boxsize=1.0).query(points, k=k + 1)
        return distances[:, 1:].copy(), indices[:, 1:].copy()
    squares = np.sum(points**2, axis=1)
    apart = squares[:, None] + squares - 2.0 * points @ points.T
    np.fill_diagonal(apart, np.inf)
    nearest = np.argpartition(apart, k - 1, axis=1)[:, :k]
    distances = np.sqrt(np.sum((points[:, None] - points[nearest]) ** 2, axis=2))
    order = np.argsort(distances, axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def two_neighbor_bars(distances, indices):
    """Name: value, lower and upper end of the bar; by one or two neighbors' ratios."""
    found = {
        "twonn": twonn(distances),
        "twonn, indices": twonn(distances, indices=indices),
        "twonn_mle": twonn_mle(distances),
        "twonn_mle, indices": twonn_mle(distances, indices),
        "twonn_mle_censored": twonn_mle_censored(distances),
        "twonn_mle_censored, indices": twonn_mle_censored(distances, indices=indices),
        "twonn_bayes": twonn_bayes(distances),
        "twonn_bayes, indices": twonn_bayes(distances, indices=indices),
    }
    bars = {name: bar(result.value, result.error) for name, result in found.items()}
    for name in ("twonn_bayes", "twonn_bayes, indices"):
        bars[f"{name}, 16 to 84 %"] = (found[name].value, found[name].quantile_16, found[name].quantile_84)
    return bars


def scale_bars(distances, indices):
    bars = {}
    scales = gride(distances, K)
    for n2, value, error in zip(scales.n2, scales.value, scales.error, strict=True):
        bars[f"gride, n2 = {n2}"] = bar(value, error)
    halves = half_sample_errors(lambda half: gride(half, 16).value, distances, indices, 16)
    for n2, value, error in zip(scales.n2, scales.value, halves, strict=False):
        bars[f"gride, n2 = {n2}, halves"] = bar(value, error)
    for average in ("inverse", "plain"):
        ks = [k for k in KS if average == "inverse" or k > 5]
        for name, given in (
            (f"levina_bickel, {average}", None),
            (f"levina_bickel, {average}, indices", indices),
        ):
            result = levina_bickel(distances, ks, given, average)
            for k, value, error in zip(ks, result.value, result.error, strict=True):
                bars[f"{name}, k = {k}"] = bar(value, error)
    return bars


def other_bars(kind, points, distances, seed):
    local = local_dimension(distances, LOCAL_K)
    bars = {f"local_dimension, k = {LOCAL_K}": bar(local.value, local.error)}
    for fraction in (1 / 4, 1 / 16):
        parts = [points[rows] for rows in subsets(len(points), fraction, seed)]
        values = [twonn(neighbors(kind, part, 2)[0]).value for part in parts]
        bars[f"decimated, {len(parts)} subsets"] = bar(
            np.mean(values), np.std(values, ddof=1) / np.sqrt(len(parts))
        )
    for name, scale in (
        ("equal", np.ones(points.shape[1])),
        ("unequal", 1.0 / np.arange(1, points.shape[1] + 1)),
    ):
        covariance = Covariance(points.shape[1], n_blocks=20)
        covariance.add(points * np.sqrt(scale))
        found = spectrum(covariance)
        bars[f"participation ratio, {name} variances"] = bar(
            found.participation_ratio, found.participation_ratio_error
        )
    return bars


def bar(value, error):
    return value, value - error, value + error


def cells(bars):
    """Coverage of the mean over clouds, and mean half length over spread; a point is as good as a cloud."""
    value, low, high = (np.concatenate([np.atleast_1d(b[i]) for b in bars]) for i in range(3))
    covered = ((low <= value.mean()) & (value.mean() <= high)).mean()
    return f"{covered:.2f} ({(high - low).mean() / 2 / value.std(ddof=1):.2f})"


def column(kind, d, n_clouds, n_points):
    clouds = []
    for seed in range(n_clouds):
        points = drawn(kind, seed, n_points, d)
        distances, indices = neighbors(kind, points, K)
        clouds.append(
            two_neighbor_bars(distances, indices)
            | scale_bars(distances, indices)
            | other_bars(kind, points, distances, seed)
        )
    return {name: cells([bars[name] for bars in clouds]) for name in clouds[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clouds", type=int, default=300)
    parser.add_argument("--points", type=int, default=2000)
    asked = parser.parse_args()
    start = time.perf_counter()
    columns = {}
    for kind, d in CLOUDS:
        columns[f"{kind} {d}"] = column(kind, d, asked.clouds, asked.points)
        sys.stderr.write(f"{kind} {d}: {time.perf_counter() - start:.0f} s\n")
    lines = [f"| error bar | {' | '.join(columns)} |", "|-|" + "-|" * len(columns)]
    for name in next(iter(columns.values())):
        lines.append(f"| {name} | {' | '.join(found[name] for found in columns.values())} |")
    lines.append(f"\n{asked.clouds} clouds of {asked.points:,} points, {time.perf_counter() - start:.0f} s")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
