"""First thresholds: what the products of one panel already say of rows that have no threshold yet.

A list without a threshold takes every row that it is offered, until it is full, is cut, and so again: most of
what it takes from the first panel is dropped before the panel ends. The K-th smallest score of the panel says
at once which of its rows can stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from hpcgeom.search.compiled import farthest, limit_at
from hpcgeom.search.selection import bar

Array = np.ndarray[Any, Any]


def seed(
    product_AB: npt.NDArray[np.float32],
    rows: Any,
    norm_B: npt.NDArray[np.float64],
    *,
    is_diagonal: bool,
    k: int,
    bound: Any,
) -> None:
    """Lower the thresholds of rows that have none to the limit of the K-th smallest score of the panel.

    Parameters
    ----------
    product_AB
        (A, B) dot products of rounded rows, B at least K.
    rows
        Lists of the A rows, as for `selection.select`.
    norm_B
        (B,) norms of the columns.
    is_diagonal
        Whether rows and columns are the same, so that a row is left out of its own.
    k, bound
        As for `selection.cut`.
    """
    threshold_A, norm_A, bar_A = rows[2], rows[3], rows[5]
    score_AB = np.empty(product_AB.shape, np.float32)
    _scores(product_AB, np.square(norm_A), np.square(norm_B), score_AB)
    if is_diagonal:
        np.fill_diagonal(score_AB, np.inf)
    score_AB.partition(k - 1, axis=1)
    _lower(score_AB[:, k - 1].copy(), threshold_A, norm_A, bar_A, bound)


@njit(nogil=True, cache=True)
def _scores(product_AB: Array, square_A: Array, square_B: Array, score_AB: Array) -> None:
    """Scores as `selection.select` has them; infinity in place of what is not a number."""
    for a in range(product_AB.shape[0]):
        for b in range(product_AB.shape[1]):
            score = square_A[a] + square_B[b] - 2.0 * np.float64(product_AB[a, b])
            score_AB[a, b] = max(score, 0.0) if score == score else np.inf


@njit(nogil=True, cache=True)
def _lower(kth_A: Array, threshold_A: Array, norm_A: Array, bar_A: Array, bound: Any) -> None:
    """Thresholds that the K-th smallest scores allow, where there were none."""
    for a in range(len(kth_A)):
        if threshold_A[a] == np.inf and kth_A[a] < np.inf:
            kth = np.float64(kth_A[a])
            threshold_A[a] = limit_at(farthest(kth, norm_A[a], bound), norm_A[a], bound)
            bar_A[a] = bar(norm_A[a], threshold_A[a])
