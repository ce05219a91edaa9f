"""Compiled loops: one pass over neighbor lists, without temporaries of their size.

All kernels are single-threaded and release the interpreter lock; callers cut the rows into blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

MOST_ROWS = 2**16
"""Row numbers below this have a place each in a table of at most 256 KiB, which stays in the cache."""


@njit(nogil=True, cache=True)
def _extremes(lists: npt.NDArray[np.integer[Any]]) -> tuple[int, int]:
    """The smallest and the largest neighbor of all, and 0."""
    smallest, largest = 0, 0
    for layer in range(lists.shape[0]):
        for row in range(lists.shape[1]):
            for rank in range(lists.shape[2]):
                smallest = min(smallest, int(lists[layer, row, rank]))
                largest = max(largest, int(lists[layer, row, rank]))
    return smallest, largest


@njit(nogil=True, cache=True)
def _tables(
    lists_a: npt.NDArray[np.integer[Any]], lists_b: npt.NDArray[np.integer[Any]], same: bool, depth: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Keys, numbers and filled places for `_number_neighbors`.

    Where all neighbors are small numbers, each has a place of its own, -1 the first, and there are no keys;
    others are looked up by a hash table.
    """
    smallest, largest = _extremes(lists_a)
    if not same:
        smallest_b, largest_b = _extremes(lists_b)
        smallest, largest = min(smallest, smallest_b), max(largest, largest_b)
    nobody = lists_a.shape[0] * depth
    filled = np.empty(nobody + 1, np.int64)
    if smallest >= -1 and largest < MOST_ROWS:
        numbers = np.full(largest + 2, -1, np.int32)
        numbers[0] = nobody
        return np.empty(0, np.int64), numbers, filled
    size = 2
    while size < 2 * nobody:
        size *= 2
    return np.empty(size, np.int64), np.full(size, -1, np.int32), filled


@njit(nogil=True, cache=True)
def _number_rows(
    lists: npt.NDArray[np.integer[Any]],
    row: int,
    numbers: npt.NDArray[np.int32],
    filled: npt.NDArray[np.int64],
    members: npt.NDArray[np.uint32],
) -> int:
    """`_number_neighbors` that adds, without keys: no branches, as no processor foresees who is new."""
    n_filled = 0
    for layer in range(members.shape[0]):
        for rank in range(members.shape[1] - 1):
            place = np.int64(lists[layer, row, rank]) + 1
            known = numbers[place]
            number = n_filled if known < 0 else known
            numbers[place] = number
            filled[n_filled] = place
            n_filled += 1 if known < 0 else 0
            members[layer, rank] = number
    return n_filled


@njit(nogil=True, cache=True)
def _number_neighbors(
    lists: npt.NDArray[np.integer[Any]],
    row: int,
    adds: bool,
    keys: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.int32],
    filled: npt.NDArray[np.int64],
    n_filled: int,
    members: npt.NDArray[np.uint32],
) -> int:
    """Write into `members` (layers, depth + 1) a small number for each neighbor of one row.

    New neighbors get the next number if `adds`, else ``filled.size - 1``, the number of nobody; so does -1.
    """
    nobody, size = filled.size - 1, keys.size
    if size == 0 and adds:
        return int(_number_rows(lists, row, numbers, filled, members))
    bits = 0
    while (1 << bits) < size:
        bits += 1
    for layer in range(members.shape[0]):
        for rank in range(members.shape[1] - 1):
            members[layer, rank] = nobody
            key = np.int64(lists[layer, row, rank])
            if key == -1:
                continue
            place = key + 1
            if size > 0:
                # Fibonacci hashing: the top bits of the product with 2**64 / golden ratio
                place = (key * np.int64(-7046029254386353131) >> np.int64(64 - bits)) & (size - 1)
                while numbers[place] >= 0 and keys[place] != key:
                    place = (place + 1) & (size - 1)
            if numbers[place] < 0:
                if not adds:
                    continue
                keys[place] = key
                numbers[place] = n_filled
                filled[n_filled] = place
                n_filled += 1
            members[layer, rank] = numbers[place]
    return n_filled


@njit(nogil=True, cache=True)
def _add_pairs(
    members_a: npt.NDArray[np.uint32],
    members_b: npt.NDArray[np.uint32],
    same: bool,
    words: npt.NDArray[np.int64],
    lane_bits: int,
    word_of: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> None:
    """Add the common neighbors of one row, for all pairs of layers; `word_of` is zero before and after."""
    depth, nobody = words.size, word_of.size - 1
    end = np.uint32(0xFFFFFFFF)
    lane = (np.int64(1) << np.int64(lane_bits)) - 1
    for a in range(members_a.shape[0]):
        for rank in range(depth):
            if members_a[a, rank] != nobody:
                word_of[members_a[a, rank]] = words[rank]
        for b in range(a if same else 0, members_b.shape[0]):
            # the loop ends at a mark, because a counted one is compiled to gathers, 2 times slower
            members = members_b[b]
            total = np.int64(0)
            rank_b = np.uint64(0)
            member = members[rank_b]
            while member != end:
                total += word_of[member] & words[rank_b]
                rank_b += np.uint64(1)
                member = members[rank_b]
            for t in range(counts.shape[2]):
                count = (total >> np.int64(t * lane_bits)) & lane
                counts[a, b, t] += count
                squares[a, b, t] += count * count
        for rank in range(depth):
            word_of[members_a[a, rank]] = 0


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
    n_a, n_b, depth = lists_a.shape[0], lists_b.shape[0], words.size
    keys, numbers, filled = _tables(lists_a, lists_b, same, depth)
    word_of = np.zeros(filled.size, np.int64)
    members_a = np.full((n_a, depth + 1), 0xFFFFFFFF, np.uint32)
    members_b = members_a if same else np.full((n_b, depth + 1), 0xFFFFFFFF, np.uint32)
    for row in range(lists_a.shape[1]):
        n_filled = _number_neighbors(lists_a, row, True, keys, numbers, filled, 0, members_a)
        if not same:
            _number_neighbors(lists_b, row, False, keys, numbers, filled, n_filled, members_b)
        _add_pairs(members_a, members_b, same, words, lane_bits, word_of, counts, squares)
        for i in range(n_filled):
            numbers[filled[i]] = -1


@njit(nogil=True, cache=True)
def _add_pair_bins(
    members_a: npt.NDArray[np.uint32],
    members_b: npt.NDArray[np.uint32],
    same: bool,
    words: npt.NDArray[np.int64],
    lane_bits: int,
    word_of: npt.NDArray[np.int64],
    first_bins: npt.NDArray[np.int64],
    bins: npt.NDArray[np.uint32],
) -> None:
    """`_add_pairs` into bins: those of lane t begin at ``first_bins[t]``, one for each count."""
    depth, nobody = words.size, word_of.size - 1
    end = np.uint32(0xFFFFFFFF)
    lane = (np.int64(1) << np.int64(lane_bits)) - 1
    for a in range(members_a.shape[0]):
        for rank in range(depth):
            if members_a[a, rank] != nobody:
                word_of[members_a[a, rank]] = words[rank]
        for b in range(a if same else 0, members_b.shape[0]):
            members = members_b[b]
            total = np.int64(0)
            rank_b = np.uint64(0)
            member = members[rank_b]
            while member != end:
                total += word_of[member] & words[rank_b]
                rank_b += np.uint64(1)
                member = members[rank_b]
            for t in range(first_bins.size):
                bins[a, b, first_bins[t] + ((total >> np.int64(t * lane_bits)) & lane)] += 1
        for rank in range(depth):
            word_of[members_a[a, rank]] = 0


@njit(nogil=True, cache=True)
def add_common_bins(
    lists_a: npt.NDArray[np.integer[Any]],
    lists_b: npt.NDArray[np.integer[Any]],
    same: bool,
    words: npt.NDArray[np.int64],
    lane_bits: int,
    first_bins: npt.NDArray[np.int64],
    bins: npt.NDArray[np.uint32],
) -> None:
    """Count the rows of every pair of layers that have 0, 1, 2, ... common neighbors, at several k at once.

    Parameters
    ----------
    lists_a, lists_b, same, words, lane_bits
        As for `add_common_counts`.
    first_bins
        Shape (lanes,): where the bins of each k begin.
    bins
        Shape (L, M, bins): numbers of rows, added to.
    """
    n_a, n_b, depth = lists_a.shape[0], lists_b.shape[0], words.size
    keys, numbers, filled = _tables(lists_a, lists_b, same, depth)
    word_of = np.zeros(filled.size, np.int64)
    members_a = np.full((n_a, depth + 1), 0xFFFFFFFF, np.uint32)
    members_b = members_a if same else np.full((n_b, depth + 1), 0xFFFFFFFF, np.uint32)
    for row in range(lists_a.shape[1]):
        n_filled = _number_neighbors(lists_a, row, True, keys, numbers, filled, 0, members_a)
        if not same:
            _number_neighbors(lists_b, row, False, keys, numbers, filled, n_filled, members_b)
        _add_pair_bins(members_a, members_b, same, words, lane_bits, word_of, first_bins, bins)
        for i in range(n_filled):
            numbers[filled[i]] = -1


@njit(nogil=True, cache=True)
def add_ranks_of_nearest(
    lists_a: npt.NDArray[np.integer[Any]],
    lists_b: npt.NDArray[np.integer[Any]],
    rank_sum: npt.NDArray[np.int64],
    n_censored: npt.NDArray[np.int64],
    n_listed: npt.NDArray[np.int64],
    n_compared: npt.NDArray[np.int64],
) -> None:
    """Add the rank, from 1, that the first of each list in A has in the list of the same row in B.

    Parameters
    ----------
    lists_a, lists_b
        Shapes (L, N, K), (M, N, K'); -1 is no neighbor and ends a list.
    rank_sum, n_censored, n_listed
        Shape (L, M): ranks, where it is not listed the one after the last; how many are not listed; the sum
        of the ranks after the last of those lists.
    n_compared
        Shape (L,): rows that have a first neighbor.
    """
    depth = lists_b.shape[2]
    for row in range(lists_a.shape[1]):
        for a in range(lists_a.shape[0]):
            nearest = lists_a[a, row, 0]
            if nearest == -1:
                continue
            n_compared[a] += 1
            for b in range(lists_b.shape[0]):
                rank = 0
                while rank < depth and lists_b[b, row, rank] != nearest and lists_b[b, row, rank] != -1:
                    rank += 1
                rank_sum[a, b] += rank + 1
                if rank == depth or lists_b[b, row, rank] == -1:
                    n_censored[a, b] += 1
                    n_listed[a, b] += rank + 1
