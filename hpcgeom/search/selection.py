"""Compiled selection: which rows of a tile of products can still be among the nearest of which.

Every row keeps candidates, and a threshold. A row whose score is above the threshold cannot be among the K
nearest (`bounds`): K candidates are proven to be nearer. Candidates are appended while there is room; then
the list is *cut*: the threshold falls to what the K-th smallest score allows, and candidates above it go.
Lists so crowded that no room is left keep the smallest scores, and their threshold falls to the largest of
these; whether that lost a neighbor is decided later, from exact distances.

What is kept in the end depends on the scores alone, never on the order in which tiles came.

A candidate is one integer, its *key*: the bits of the float32 score above those of the row number. Scores are
not negative, so keys are ordered as (score, row number).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hpcgeom.search.compiled import farthest, limit_at
from hpcgeom.search.keys import key_of, score_of
from hpcgeom.search.kth import kth_smallest, put_in_order

Array = np.ndarray[Any, Any]

NOT_A_SCORE = -1.0
"""Stands for NaN: no exact distance confirms it, so that the row is done again."""


@njit(nogil=True, cache=True)
def bar(norm: float, threshold: float) -> float:
    """Least product minus half the other's squared norm that can stay below the threshold, rounded safely.

    A score is a^2 + b^2 - 2 p, so it is at most the threshold where p - b^2 / 2 >= (a^2 - threshold) / 2.
    Rows that matter have norms of at most a + sqrt(threshold), which bounds the float32 roundings here.
    """
    if threshold == np.inf:
        return -np.inf
    reach = 2.0 * norm + math.sqrt(max(threshold, 0.0))
    return 0.5 * (norm * norm - threshold) - 2.0**-21 * reach * reach - 2.0**-120


@njit(nogil=True, cache=True)
def cut(
    key_C: Array, count: int, k: int, most: int, norm: float, threshold: float, bound: Any
) -> tuple[int, float]:
    """Lower the threshold of one list and drop what is above it: the new count and threshold.

    At most `most` candidates stay. A list of fewer than k says nothing yet.
    """
    if count < k:
        return count, threshold
    kth = score_of(kth_smallest(key_C, count, k))
    threshold = min(threshold, limit_at(farthest(kth, norm, bound), norm, bound))
    kept = 0
    for c in range(count):  # without branches: each key is moved, and the next one over it if it goes
        key = key_C[c]
        key_C[kept] = key
        kept += score_of(key) <= threshold
    if kept > most:
        last, n_close, kept = kth_smallest(key_C, kept, most), kept, 0
        for c in range(n_close):
            key = key_C[c]
            key_C[kept] = key
            kept += key <= last and kept < most  # a kernel at fault may have repeated keys
        threshold = score_of(last)
    return kept, threshold


@njit(nogil=True, cache=True)
def _cut_row(row: int, lists: Any, k: int, most: int, bound: Any) -> None:
    key_RC, count_R, threshold_R, norm_R, _, bar_R = lists
    count_R[row], threshold_R[row] = cut(
        key_RC[row], count_R[row], k, most, norm_R[row], threshold_R[row], bound
    )
    bar_R[row] = bar(norm_R[row], threshold_R[row])


@njit(nogil=True, cache=True)
def _hits(
    product_B: Array, half_B: Array, bar_B: Array, half: float, row_bar: float,
    hit_B: Array, word_W: Array, at_H: Array,
) -> int:  # fmt: skip
    """Which columns can be near a row (1), or the row near them (2): how many, ascending in `at_H`.

    `hit_B` says which of the two; it is zero beyond the columns. `word_W` is for use here. Plain loops: the
    first makes all tests, and nearly all miss, so that the second skips eight at a time.
    """
    for b in range(product_B.shape[0]):  # written so that NaN is a hit
        p = product_B[b]
        hit_B[b] = (not (p - half_B[b] < row_bar)) + 2 * (not (p - half < bar_B[b]))
    n_words, n_hits, eight_W = 0, 0, hit_B.view(np.uint64)
    for w in range(eight_W.shape[0]):
        word_W[n_words] = w
        n_words += eight_W[w] != 0
    for word in range(n_words):
        for b in range(8 * word_W[word], 8 * word_W[word] + 8):
            at_H[n_hits] = b
            n_hits += hit_B[b] != 0
    return n_hits


@njit(nogil=True, cache=True)
def _score(product: float, square: float, other: float) -> float:
    """Of a row with this squared norm and another one with this norm, as lists have it."""
    score = square + other * other - 2.0 * np.float64(product)
    return max(score, 0.0) if score == score else NOT_A_SCORE


@njit(nogil=True, cache=True)
def select(
    product_AB: Array, rows: Any, columns: Any, row_start: int, column_start: int,
    to_rows: bool, to_columns: bool, k: int, most: int, bound: Any,
) -> None:  # fmt: skip
    """Append to the lists of the rows of a tile what can be near: columns to rows, and rows to columns.

    Parameters
    ----------
    product_AB
        (A, B) float32 dot products of rounded rows.
    rows, columns
        Lists of the A rows and the B columns as tuples: keys (., C) int64, counts, thresholds, norms, half
        squared norms and bars (`bar`), of which the last two are float32.
    row_start, column_start
        Number of the first row and column. Where they are equal, the tile is that of a panel with itself:
        its rows take candidates, and its columns, which are the same, do not once more.
    to_rows, to_columns
        Whether the rows, and the columns, take candidates.
    k, most, bound
        As for `cut`.
    """
    key_AC, count_A, threshold_A, norm_A, half_A, bar_A = rows
    key_BC, count_B, threshold_B, norm_B, half_B, bar_B = columns
    is_diagonal = row_start == column_start
    to_columns = to_columns and not is_diagonal
    n_rows, n_columns = product_AB.shape
    capacity, never = key_AC.shape[1], np.float32(np.inf)
    least_B = bar_B if to_columns else np.full(n_columns, never)
    hit_B, asked = np.zeros(-(-n_columns // 8) * 8, np.uint8), to_rows + 2 * to_columns
    word_W, at_H = np.empty(len(hit_B) // 8 + 1, np.int64), np.empty(len(hit_B) + 1, np.int64)
    for a in range(n_rows):
        product_B, square = product_AB[a], norm_A[a] * norm_A[a]
        least, own = bar_A[a] if to_rows else never, a if is_diagonal else -1
        for h in range(_hits(product_B, half_B, least_B, half_A[a], least, hit_B, word_W, at_H)):
            b = at_H[h]
            hit, score = hit_B[b] & asked, _score(product_B[b], square, norm_B[b])
            # Without a branch: a key that does not stay is the place of the next one.
            key_AC[a, count_A[a]] = key_of(score, column_start + b)
            count_A[a] += (hit & 1) & (np.float32(score) <= threshold_A[a]) & (b != own)
            if count_A[a] == capacity:
                _cut_row(a, rows, k, most, bound)
            if hit & 2:
                key_BC[b, count_B[b]] = key_of(score, row_start + a)
                count_B[b] += np.float32(score) <= threshold_B[b]
                if count_B[b] == capacity:
                    _cut_row(b, columns, k, most, bound)


@njit(nogil=True, cache=True)
def pour(key_F: Array, offset_P: Array, row_R: Array, lists: Any, k: int, most: int, bound: Any) -> None:
    """Append to every list the keys of another one, of which `offset_P` says where they begin and end."""
    key_RC, count_R, threshold_R = lists[0], lists[1], lists[2]
    for r in range(len(row_R)):
        for f in range(offset_P[row_R[r]], offset_P[row_R[r] + 1]):
            if score_of(key_F[f]) <= threshold_R[r]:
                key_RC[r, count_R[r]] = key_F[f]
                count_R[r] += 1
                if count_R[r] == key_RC.shape[1]:
                    _cut_row(r, lists, k, most, bound)


@njit(nogil=True, cache=True)
def settle(lists: Any, k: int, most: int, bound: Any) -> None:
    """Cut all lists a last time and put them in order."""
    key_RC, count_R = lists[0], lists[1]
    spare_C = np.empty(key_RC.shape[1], np.int64)
    for row in range(len(count_R)):
        _cut_row(row, lists, k, most, bound)
        put_in_order(key_RC[row], count_R[row], spare_C)
