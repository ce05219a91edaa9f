"""Compiled loops over whole rows: extremes and sums of features, hashes, and rounding. One pass each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

_LANES = 8
"""Sums side by side, so that none waits for the one before."""


@njit(nogil=True, cache=True)
def look_over(
    row_BD: Array, limit: float, share: float, smallest_D: Array, largest_D: Array, mean_D: Array
) -> int:
    """Extend extremes of the features, add `share` of each row to the mean; how many values are unusable.

    A value is unusable if its magnitude is not within the limit. The mean is summed in row order.
    """
    n_unusable = 0
    for b in range(row_BD.shape[0]):
        for f in range(row_BD.shape[1]):
            value = row_BD[b, f]
            n_unusable += not abs(value) <= limit  # NaN is not
            smallest_D[f] = min(smallest_D[f], value)
            largest_D[f] = max(largest_D[f], value)
            mean_D[f] += np.float64(value) * share
    return n_unusable


@njit(nogil=True, cache=True)
def center_and_round(row_BD: Array, center_D: Array, scale: float, rounded_BD: Array, norm_B: Array) -> None:
    """Rows centered and scaled in float64 and rounded to float32, and the norms of the rounded rows."""
    n_features = row_BD.shape[1]
    n_in_blocks = n_features // _LANES * _LANES
    sum_L = np.empty(_LANES)
    for b in range(row_BD.shape[0]):
        for f in range(n_features):
            rounded_BD[b, f] = np.float32((np.float64(row_BD[b, f]) - center_D[f]) * scale)
        sum_L[:] = 0.0
        for f in range(0, n_in_blocks, _LANES):
            for lane in range(_LANES):
                value = np.float64(rounded_BD[b, f + lane])
                sum_L[lane] += value * value
        for f in range(n_in_blocks, n_features):
            value = np.float64(rounded_BD[b, f])
            sum_L[0] += value * value
        norm_B[b] = math.sqrt(sum_L.sum())


@njit(nogil=True, cache=True)
def hash_words(word_BW: Array, key_4W: Array, hash_B2: Array) -> None:
    """Four 32-bit hashes of each row of 32-bit words, put together to 128 bits: see `duplicates`."""
    for b in range(word_BW.shape[0]):
        one, two, three, four = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for w in range(word_BW.shape[1]):
            word = np.uint64(word_BW[b, w])
            one += word * key_4W[0, w]
            two += word * key_4W[1, w]
            three += word * key_4W[2, w]
            four += word * key_4W[3, w]
        half = np.uint64(32)
        hash_B2[b, 0] = (one >> half << half) | (two >> half)
        hash_B2[b, 1] = (three >> half << half) | (four >> half)
