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
from hpcgeom.search.kth import kth_smallest
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

    Or of one of the next K / 8, which is found in half the time and lets hardly more rows stay.

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
    _lower(product_AB, rows[2], rows[3], rows[5], np.square(norm_B), is_diagonal, k, bound)


@njit(nogil=True, cache=True)
def _lower(
    product_AB: Array, threshold_A: Array, norm_A: Array, bar_A: Array, square_B: Array,
    is_diagonal: bool, k: int, bound: Any,
) -> None:  # fmt: skip
    """Thresholds that the K-th smallest scores allow, where there were none."""
    score_B = np.empty(len(square_B), np.float32)
    for a in range(len(threshold_A)):
        if threshold_A[a] < np.inf:
            continue
        square = norm_A[a] * norm_A[a]
        for b in range(len(square_B)):  # as `selection.select` has them; infinity for what is not a number
            score = square + square_B[b] - 2.0 * np.float64(product_AB[a, b])
            score_B[b] = max(score, 0.0) if score == score else np.inf
        if is_diagonal:
            score_B[a] = np.inf
        # Bits of numbers that are not negative are ordered as these are.
        kth = np.int32(kth_smallest(score_B.view(np.int32), len(score_B), k, k // 8)).view(np.float32)
        if kth < np.inf:
            threshold_A[a] = limit_at(farthest(np.float64(kth), norm_A[a], bound), norm_A[a], bound)
            bar_A[a] = bar(norm_A[a], threshold_A[a])
