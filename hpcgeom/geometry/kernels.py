"""Compiled loops: one pass over neighbor lists, without temporaries of their size.

All kernels are single-threaded and release the interpreter lock; callers cut the rows into blocks.
"""

from __future__ import annotations

from typing import Any

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


@njit(nogil=True, cache=True, inline="always")
def _home(key: np.int64, bits: int) -> Any:
    # Fibonacci hashing: the top bits of the product with 2**64 / golden ratio
    return (key * np.int64(-7046029254386353131) >> np.int64(64 - bits)) & ((1 << bits) - 1)


@njit(nogil=True, cache=True)
def add_common_counts(
    lists_a: npt.NDArray[np.integer[Any]],
    lists_b: npt.NDArray[np.integer[Any]],
    same: bool,
    words: npt.NDArray[np.int64],
    lane_bits: int,
    counts: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> None:
    """Add the common neighbors of every row of every pair of layers, at several k at once.

    `words[rank]` holds one lane of `lane_bits` bits per k, equal to 1 where rank < k. The word of a neighbor
    in one list and its word in the other have in common the lanes of the k that count it, and the sum of the
    common words over a list counts all k together.

    Parameters
    ----------
    lists_a, lists_b
        Shapes (L, N, K), (M, N, K); -1 is no neighbor.
    same
        Both are one array: only pairs l <= m are counted.
    words
        Shape (depth,), depth <= K: ranks beyond it count for no k.
    lane_bits
        Bits of a lane; 2**lane_bits > depth.
    counts, squares
        Shape (L, M, lanes): sums over rows of the counts and of their squares, added to.
    """
    n_a, n_rows = lists_a.shape[0], lists_a.shape[1]
    n_b, n_lanes = lists_b.shape[0], counts.shape[2]
    depth = words.size
    nobody = n_a * depth  # the number of a neighbor that no list of A holds
    bits = 1
    while (1 << bits) < 2 * nobody:
        bits += 1
    mask = (1 << bits) - 1
    keys = np.empty(1 << bits, np.int64)
    numbers = np.full(1 << bits, -1, np.int64)
    filled = np.empty(nobody, np.int64)
    word_of = np.zeros(nobody + 1, np.int64)
    end = np.uint32(0xFFFFFFFF)
    numbers_a = np.full((n_a, depth + 1), end, np.uint32)
    numbers_b = numbers_a if same else np.full((n_b, depth + 1), end, np.uint32)
    lane = (np.int64(1) << np.int64(lane_bits)) - 1
    for row in range(n_rows):
        n_filled = 0
        for a in range(n_a):
            for rank in range(depth):
                key = np.int64(lists_a[a, row, rank])
                if key == -1:
                    numbers_a[a, rank] = nobody
                    continue
                home = _home(key, bits)
                while numbers[home] >= 0 and keys[home] != key:
                    home = (home + 1) & mask
                if numbers[home] < 0:
                    keys[home] = key
                    numbers[home] = n_filled
                    filled[n_filled] = home
                    n_filled += 1
                numbers_a[a, rank] = numbers[home]
        if not same:
            for b in range(n_b):
                for rank in range(depth):
                    key = np.int64(lists_b[b, row, rank])
                    home = _home(key, bits)
                    while numbers[home] >= 0 and keys[home] != key:
                        home = (home + 1) & mask
                    number = numbers[home]
                    numbers_b[b, rank] = nobody if number < 0 else number
        for a in range(n_a):
            for rank in range(depth):
                if numbers_a[a, rank] != nobody:
                    word_of[numbers_a[a, rank]] = words[rank]
            for b in range(a if same else 0, n_b):
                # the loop ends at a mark, because a counted one is compiled to gathers, 3 times slower
                members = numbers_b[b]
                total = np.int64(0)
                place = np.uint64(0)
                member = members[place]
                while member != end:
                    total += word_of[member] & words[place]
                    place += np.uint64(1)
                    member = members[place]
                for t in range(n_lanes):
                    count = (total >> np.int64(t * lane_bits)) & lane
                    counts[a, b, t] += count
                    squares[a, b, t] += count * count
            for rank in range(depth):
                word_of[numbers_a[a, rank]] = 0
        for i in range(n_filled):
            numbers[filled[i]] = -1
