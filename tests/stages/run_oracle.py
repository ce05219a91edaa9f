"""What the results must be, from the definitions: float64 brute force, sorts, sets and loops."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.spatial.distance import cdist


def neighbors(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the k nearest others, ties to the smaller index."""
    distances = cdist(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


def first_of_equal(points: np.ndarray) -> np.ndarray:
    """For each row the first row that is equal to it."""
    return np.array([int(np.flatnonzero((points == row).all(axis=1))[0]) for row in points])


def twonn(distances: np.ndarray, fraction: float) -> float:
    """Slope through the origin of -log(1 - i/N) against log mu_(i), the first `fraction` of the ratios."""
    x = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    n_kept = min(int(len(x) * fraction), len(x) - 1)
    y = -np.log(1.0 - np.arange(1, n_kept + 1) / len(x))
    return float((x[:n_kept] * y).sum() / (x[:n_kept] ** 2).sum())


def twonn_mle(distances: np.ndarray) -> float:
    return float((len(distances) - 1) / np.log(distances[:, 1] / distances[:, 0]).sum())


def twonn_mle_error(distances: np.ndarray, indices: np.ndarray) -> float:
    """d/N sqrt(sum s_i s_j) over pairs that share a point among {self, first, second neighbor}."""
    n, d = len(distances), twonn_mle(distances)
    s = d * np.log(distances[:, 1] / distances[:, 0]) - 1.0
    s -= s.mean()
    near = [{row, *indices[row, :2].tolist()} for row in range(n)]
    total = sum(s[i] * s[j] for i in range(n) for j in range(n) if near[i] & near[j])
    return float(d / n * np.sqrt(total))


def twonn_mle_censored(distances: np.ndarray, fraction: float) -> float:
    x = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    n_kept = int(len(x) * fraction)
    return float(n_kept / (x[:n_kept].sum() + (len(x) - n_kept) * x[n_kept - 1]))


def gride(distances: np.ndarray, n2: int) -> tuple[float, float, float]:
    """Root of the likelihood's derivative, its error from Fisher information, and the mean distance."""
    n1 = n2 // 2
    mu = distances[:, n2 - 1] / distances[:, n1 - 1]
    n, free = len(mu), n2 - n1 - 1

    def derivative(d: float) -> float:
        return float(((-free / (1.0 - mu**-d) + n2 - 1) * np.log(mu)).sum() - (n - 1) / d)

    d = brentq(derivative, 1e-3, 1e3, xtol=1e-13)
    information = n / d**2 + (free * (np.log(mu) / (1.0 - mu**-d)) ** 2 * mu**-d).sum()
    scale = (distances[:, n1 - 1] + distances[:, n2 - 1]).mean() / 2.0
    return float(d), float(1.0 / np.sqrt(information)), float(scale)


def decimated(points: np.ndarray, fraction: float, seed: int, mu_fraction: float) -> tuple[float, float]:
    """Mean of TwoNN over the disjoint subsets of a PCG64 permutation, and its standard error."""
    n = len(points)
    n_subsets = round(1.0 / fraction)
    size = min(round(fraction * n), n // n_subsets)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n)
    found = [
        twonn(neighbors(points[order[i * size : (i + 1) * size]], 2)[0], mu_fraction)
        for i in range(n_subsets)
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(n_subsets)) if n_subsets > 1 else 0.0


def overlap(a: np.ndarray, b: np.ndarray, k: int) -> tuple[float, float]:
    """Mean share of common neighbors, and its standard error over points."""
    shares = [len(set(x) & set(y)) / k for x, y in zip(a[:, :k].tolist(), b[:, :k].tolist(), strict=True)]
    return float(np.mean(shares)), float(np.std(shares) / np.sqrt(len(shares)))


def label_overlap(indices: np.ndarray, labels: list[str], k: int) -> tuple[float, float]:
    """Plain mean, and the mean with every class of equal weight."""
    shares = []
    for row, own in enumerate(labels):
        shares.append(sum(labels[neighbor] == own for neighbor in indices[row, :k]) / k)
    by_class = [np.mean([s for s, y in zip(shares, labels, strict=True) if y == c]) for c in set(labels)]
    return float(np.mean(shares)), float(np.mean(by_class))


def chance(labels: list[str]) -> float:
    """Share of ordered pairs of different samples that have the same label."""
    n = len(labels)
    same = sum(labels[i] == labels[j] for i in range(n) for j in range(n) if i != j)
    return same / (n * (n - 1))
