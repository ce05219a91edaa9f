"""Oracles: brute force in NumPy, with the sum over features in ascending order."""

from __future__ import annotations

import numpy as np


def oracle_distances(row_D, rows_ND):
    """Sequential float64 sums: cumsum adds from left to right."""
    squared_ND = np.square(rows_ND.astype(np.float64) - row_D.astype(np.float64))
    return np.sqrt(np.cumsum(squared_ND, axis=1)[:, -1])


def oracle(points_ND, k, members=None):
    """Distances and indices of the k nearest other rows (among members), ties by index."""
    n_rows = len(points_ND)
    candidates_M = np.arange(n_rows) if members is None else np.sort(members)
    distance_NK, index_NK = np.empty((n_rows, k)), np.empty((n_rows, k), int)
    for i in range(n_rows):
        other_M = candidates_M[candidates_M != i]
        distance_M = oracle_distances(points_ND[i], points_ND[other_M])
        order_K = np.lexsort((other_M, distance_M))[:k]
        distance_NK[i], index_NK[i] = distance_M[order_K], other_M[order_K]
    return distance_NK, index_NK


def assert_same_lists(found, expected):
    """Bit by bit: our distances are defined by the oracle's arithmetic."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
