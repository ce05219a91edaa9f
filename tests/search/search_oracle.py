"""Oracles: brute force in NumPy, with the sum over features in ascending order."""

from __future__ import annotations

import numpy as np

from hpcgeom.search import ArrayRows, Settings, search_representation


def oracle_distances(row_D, rows_ND):
    """Sequential float64 sums: cumsum adds from left to right; scaled where squares do not fit float64."""
    difference_ND = rows_ND.astype(np.float64) - row_D.astype(np.float64)
    with np.errstate(over="ignore"):
        sum_N = np.cumsum(np.square(difference_ND), axis=1)[:, -1]
    distance_N = np.sqrt(sum_N)
    strange_N = ~((sum_N >= 2.0**-900) & (sum_N <= 2.0**1000))
    if strange_N.any():
        exponent_N = np.frexp(np.abs(difference_ND[strange_N]).max(axis=1))[1]
        scaled_ND = np.ldexp(difference_ND[strange_N], -exponent_N[:, None])
        root_N = np.sqrt(np.cumsum(np.square(scaled_ND), axis=1)[:, -1])
        distance_N[strange_N] = np.ldexp(root_N, exponent_N)
    return distance_N


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


def unit_rows(points_ND):
    """Rows divided by their float64 norm."""
    rows_ND = points_ND.astype(np.float64)
    return rows_ND / np.sqrt(np.cumsum(np.square(rows_ND), axis=1)[:, -1])[:, None]


def assert_same_lists(found, expected):
    """Bit by bit: our distances are defined by the oracle's arithmetic."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def search(points_ND, k, *, mean=None, **options):
    """All lists of an array."""
    return search_representation(ArrayRows(points_ND), Settings(k, **options), mean).collect()


def lists(found):
    """Distances and indices of a search."""
    return found.distances, found.indices
