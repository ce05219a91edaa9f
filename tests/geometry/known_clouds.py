"""Points of known dimension, and their neighbors by scipy or by brute force: nothing of ours."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist


def tree_neighbors(points, k, period=None):
    """Distances and indices (N, k) by a k-d tree; for points without duplicates."""
    distances, indices = cKDTree(points, boxsize=period).query(points, k=k + 1)
    return distances[:, 1:].copy(), indices[:, 1:].copy()


def brute_neighbors(points, k):
    """Distances and indices (N, k) from the whole matrix; ties go to the smaller index, self by index."""
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, np.inf)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(matrix, indices, axis=1), indices


def gaussian(rng, n_points, d):
    return rng.standard_normal((n_points, d))


def ball(rng, n_points, d):
    directions = rng.standard_normal((n_points, d))
    radii = rng.random((n_points, 1)) ** (1.0 / d)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * radii


def sphere(rng, n_points, d):
    """The surface, of dimension d, in d + 1 dimensions."""
    points = rng.standard_normal((n_points, d + 1))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def swiss_roll(rng, n_points, d=2):
    angle = 1.5 * np.pi * (1.0 + 2.0 * rng.random(n_points))
    return np.stack([angle * np.cos(angle), 21.0 * rng.random(n_points), angle * np.sin(angle)], axis=1)


def random_lists(rng, n_layers, n_points, k):
    """Neighbors drawn at random without self: shape (n_layers, n_points, k)."""
    order = np.argsort(rng.random((n_layers, n_points, n_points - 1)), axis=2)[:, :, :k]
    return order + (order >= np.arange(n_points)[None, :, None])
