"""Error bars of averages over points whose neighborhoods share points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.types import Indices

Int64s = npt.NDArray[np.int64]


def first_two_neighbors(indices: Indices, rows: Int64s, n_points: int) -> Int64s:
    """Shape (M, 2): the two nearest neighbors of `rows`, checked to be two other points of the set.

    Raises
    ------
    InputError
        Not integers of shape (n_points, K >= 2), or a row that names itself, one neighbor twice, or no row.
    """
    if not isinstance(indices, np.ndarray) or not np.issubdtype(indices.dtype, np.integer):
        found = getattr(indices, "dtype", type(indices).__name__)
        raise InputError(f"indices: expected an array of integers, found {found}; pass the row numbers")
    if indices.ndim != 2 or indices.shape[0] != n_points or indices.shape[1] < 2:
        raise InputError(
            f"indices: expected shape ({n_points}, 2 or more) as the distances have, found {indices.shape}; "
            f"pass both arrays of one search"
        )
    pairs = indices[rows, :2].astype(np.int64)
    outside = ((pairs < 0) | (pairs >= n_points)).any(axis=1)
    repeated = (pairs == rows[:, None]).any(axis=1) | (pairs[:, 0] == pairs[:, 1])
    for wrong, what in ((outside, f"outside 0..{n_points - 1}"), (repeated, "itself or one neighbor twice")):
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"indices: row {rows[at]} names {pairs[at].tolist()}: expected two other rows, "
                f"found {what}; pass lists without self, with row numbers of the same array"
            )
    return pairs


def sum_over_sharing_pairs(scores: npt.NDArray[np.float64], members: Int64s, n_points: int) -> float:
    """Sum of s_i s_j over all ordered pairs (i = j included) whose triples have a point in common.

    Counted by inclusion and exclusion over shared points, pairs and triples of points, so that hubs (a point
    that is the neighbor of many) cost no more than others: O(M log M) time, O(M) memory.

    Parameters
    ----------
    scores
        Shape (M,).
    members
        Shape (M, 3), int64, three different points 0..n_points-1 per row: a point and its two neighbors.
    """
    ordered = np.sort(members, axis=1)
    first, second, third = ordered.T
    by_point = np.bincount(ordered.ravel(), weights=np.repeat(scores, 3), minlength=n_points)

    pair_codes = np.concatenate(
        [first * n_points + second, first * n_points + third, second * n_points + third]
    )
    _, pair_numbers = np.unique(pair_codes, return_inverse=True)
    by_pair = np.bincount(pair_numbers, weights=np.tile(scores, 3))

    triple_codes = pair_numbers[: first.size] * n_points + third
    _, triple_numbers = np.unique(triple_codes, return_inverse=True)
    by_triple = np.bincount(triple_numbers, weights=scores)
    return float(np.sum(by_point**2) - np.sum(by_pair**2) + np.sum(by_triple**2))
