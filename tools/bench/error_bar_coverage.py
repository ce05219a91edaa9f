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
from functools import reduce

import numpy as np
from scipy.spatial import cKDTree

from hpcgeom.geometry import (
    Covariance,
    gride,
    gride_resampling_errors,
    label_overlap,
    label_overlap_balanced,
    levina_bickel,
    local_dimension,
    merge_moments,
    moment_errors,
    moment_sums,
    moments_from_sums,
    plateau,
    retrieval,
    spectrum,
    subsets,
    twonn,
    twonn_bayes,
    twonn_mle,
    twonn_mle_censored,
)

K, LOCAL_K, LABEL_K, KS = 64, 20, 10, (5, 10, 20)
N_GROUPS = 10
"""Groups of points of the jackknife, as in a run."""
N_QUERIES = 500
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
    halves = gride_resampling_errors(distances, indices, K)
    for n2, value, error in zip(scales.n2, scales.value, halves, strict=True):
        if n2 <= 16:
            bars[f"gride, n2 = {n2}, halves"] = bar(value, error)
    flat = plateau(scales.value, np.fmax(scales.error, halves), tolerance=0.02)
    bars["plateau of gride"] = bar(flat.value, flat.error)
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
    return bars


def point_bars(kind, points):
    """By the jackknife over groups: of variances, of norms, and of directions on two sides of the origin."""
    bars, d = {}, points.shape[1]
    for name, scale in (("equal", np.ones(d)), ("unequal", 1.0 / np.arange(1, d + 1))):
        for n_groups in (N_GROUPS, 20):
            covariance = Covariance(d, n_groups)
            covariance.add(points * np.sqrt(scale))
            found = spectrum(covariance)
            bars[f"participation ratio, {name} variances, {n_groups} groups"] = bar(
                found.participation_ratio, found.participation_ratio_error
            )
    around = points - 0.5 if kind == "torus" else points
    for where, cloud in (("around the origin", around), ("beside the origin", around + 1.0)):
        groups = [moment_sums(cloud[number::N_GROUPS]) for number in range(N_GROUPS)]
        value, error = moments_from_sums(reduce(merge_moments, groups)), moment_errors(groups)
        for name in ("norm_mean", "norm_std", "mean_cosine", "anisotropy"):
            bars[f"{name}, {where}"] = bar(getattr(value, name), getattr(error, name))
    return bars


def label_bars(kind, points, indices, seed):
    """Of two classes, the first three times as often, that overlap along the first axis."""
    rng = np.random.default_rng([seed, 1])
    queries = drawn(kind, [seed, 2], N_QUERIES, points.shape[1])
    nearest = cKDTree(points, boxsize=1.0 if kind == "torus" else None).query(queries, k=LABEL_K)[1]
    classes, classes_of_queries = (_classes(kind, cloud, rng) for cloud in (points, queries))
    found = {
        f"label_overlap, k = {LABEL_K}": label_overlap(indices, classes, LABEL_K),
        f"label_overlap_balanced, k = {LABEL_K}": label_overlap_balanced(indices, classes, LABEL_K),
    }
    bars = {name: bar(result.value, result.error) for name, result in found.items()}
    p = float(np.mean(classes[indices[:, 0]] == classes))
    bars["top_1_accuracy"] = bar(p, np.sqrt(p * (1 - p) / len(points)))
    found = retrieval(nearest, classes, classes_of_queries, [1, LABEL_K])
    bars["retrieval_accuracy, k = 1"] = bar(found.accuracy[0], found.accuracy_error[0])
    bars[f"retrieval_overlap, k = {LABEL_K}"] = bar(found.overlap[1], found.overlap_error[1])
    return bars


def _classes(kind, points, rng):
    along = np.cos(2 * np.pi * points[:, 0]) if kind == "torus" else points[:, 0]
    return (rng.random(len(points)) < 1 / (1 + np.exp(1.5 - 2 * along))).astype(np.int64)


def bar(value, error):
    return value, value - error, value + error


def cells(bars):
    """Coverage of the mean over clouds, and mean half length over spread; a point is as good as a cloud.

    Where there is no bar for some of them, their share follows: they are left out.
    """
    value, low, high = (np.concatenate([np.atleast_1d(b[i]) for b in bars]) for i in range(3))
    known = ~np.isnan(low)
    value, low, high = value[known], low[known], high[known]
    covered = ((low <= value.mean()) & (value.mean() <= high)).mean()
    cell = f"{covered:.2f} ({(high - low).mean() / 2 / value.std(ddof=1):.2f})"
    return cell if known.all() else f"{cell}, {1 - known.mean():.2f} without"


def column(kind, d, n_clouds, n_points):
    clouds = []
    for seed in range(n_clouds):
        points = drawn(kind, seed, n_points, d)
        distances, indices = neighbors(kind, points, K)
        clouds.append(
            two_neighbor_bars(distances, indices)
            | scale_bars(distances, indices)
            | other_bars(kind, points, distances, seed)
            | point_bars(kind, points)
            | label_bars(kind, points, indices, seed)
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
