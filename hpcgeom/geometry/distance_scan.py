"""Is every list of distances in order? A compiled loop that reads each distance once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

NO_FAULT, GAP, NEGATIVE, INFINITE, SENTINEL, UNSORTED = range(6)

FAISS_SENTINELS = np.array(
    [
        np.finfo(np.float32).max,
        np.sqrt(np.float64(np.finfo(np.float32).max)),
        np.sqrt(np.finfo(np.float32).max),
    ],
    dtype=np.float64,
)
"""What faiss writes where it found no neighbor, as it is and under a square root."""


@njit(nogil=True, cache=True)
def scan_distances(
    distances: npt.NDArray[np.float64], sentinels: npt.NDArray[np.float64]
) -> tuple[int, int, int, int, int, int, int, bool]:
    """Read every distance once.

    Returns
    -------
    tuple
        fault, its row, its column; number of rows that list a neighbor; shortest and longest list among
        them, with the row of the shortest; whether no distance is positive. A fault ends the scan.
    """
    n_rows, n_columns = distances.shape
    n_listed, shortest, longest, shortest_row = 0, n_columns, 0, -1
    all_zero = True
    for row in range(n_rows):
        length = 0
        previous = 0.0
        for column in range(n_columns):
            value = distances[row, column]
            if np.isnan(value):
                continue
            fault = NO_FAULT
            if length < column:
                fault = GAP
            elif value < 0.0:
                fault = NEGATIVE
            elif np.isinf(value):
                fault = INFINITE
            elif value == sentinels[0] or value == sentinels[1] or value == sentinels[2]:
                fault = SENTINEL
            elif value < previous:
                fault = UNSORTED
            if fault != NO_FAULT:
                return fault, row, column, n_listed, shortest, longest, shortest_row, all_zero
            if value > 0.0:
                all_zero = False
            previous = value
            length += 1
        if length > 0:
            n_listed += 1
            longest = max(longest, length)
            if length < shortest or shortest_row < 0:
                shortest, shortest_row = length, row
    return NO_FAULT, -1, -1, n_listed, shortest, longest, shortest_row, all_zero
