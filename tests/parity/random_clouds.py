"""Random points with lists as DADApy has them and as we have them, a second cloud of them, and labels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

MOST_NEIGHBORS = 64


class Cloud:
    """Points of some dimension and unit; lists with the points themselves, as DADApy's are.

    Attributes
    ----------
    k
        Length of our lists: 64, or N - 1 where that is less.
    distances, indices, other_distances, other_indices
        (N, k + 1) of the points, and of the same points moved at random.
    labels
        (N,), four classes of unequal sizes, of points that lie together more often than not.
    """

    def __init__(self, seed, n_points, d, is_gaussian, exponent, noise):
        rng = np.random.default_rng(seed)
        draw = rng.standard_normal if is_gaussian else rng.random
        points = draw((n_points, d)) @ rng.standard_normal((d, d + 3)) * 10.0**exponent
        other = points + points.std() * noise * rng.standard_normal(points.shape)
        self.points, self.k = points, min(MOST_NEIGHBORS, n_points - 1)
        self.distances, self.indices = lists_with_self(points, self.k)
        self.other_distances, self.other_indices = lists_with_self(other, self.k)
        sizes = rng.multinomial(n_points - 4, [0.6, 0.25, 0.1, 0.05]) + 1
        labels = np.repeat(np.arange(4), sizes)
        self.labels = labels[np.argsort(points[:, 0] + points[:, 0].std() * rng.standard_normal(n_points))]

    def data(self):
        from dadapy import Data

        return Data(distances=(self.distances, self.indices), maxk=self.k)


clouds = st.builds(
    Cloud,
    seed=st.integers(0, 2**32 - 1),
    n_points=st.integers(20, 200),
    d=st.integers(1, 12),
    is_gaussian=st.booleans(),
    exponent=st.floats(-3.0, 3.0),
    noise=st.floats(0.01, 1.0),
)


def lists_with_self(points, k):
    """Distances and indices (N, k + 1) that begin with the point itself."""
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, -1.0)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, : k + 1]
    distances = np.take_along_axis(matrix, indices, axis=1)
    distances[:, 0] = 0.0
    return distances, indices


def without_self(lists):
    return np.ascontiguousarray(lists[:, 1:])
