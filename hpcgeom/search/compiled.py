"""Compiled loops of the search: limits of scores, lists of neighbors, merging."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from hpcgeom.search.distances import LANES, distances
from hpcgeom.search.keys import INDEX_BITS, score_of

Array = np.ndarray[Any, Any]


@njit(nogil=True, cache=True)
def limit_at(distance: float, norm: float, bound: Any) -> float:
    """Largest score of a row at most this far, in the scale of the rounded rows (``bounds``)."""
    rounding, underflow, relative, absolute = bound
    reach = 2.0 * norm * (1.0 + 2.0**-28) + distance
    within = distance + rounding * reach + underflow
    limit: float = (within * within + relative * reach * reach + absolute) * (1.0 + 2.0**-40)
    return limit


@njit(nogil=True, cache=True)
def score_limit(distance: float, scale: float, norm: float, bound: Any) -> float:
    """Largest score that a row at this exact distance, or nearer, can have (``bounds``)."""
    # Enlarged for the rounding of the float64 distance itself, and of its scaling.
    limit: float = limit_at(distance * scale * (1.0 + 2.0**-28), norm, bound)
    return limit


@njit(nogil=True, cache=True)
def least_score(distance: float, scale: float, norm: float, bound: Any) -> float:
    """Smallest score that a row at this exact distance can have."""
    rounding, underflow, relative, absolute = bound
    d = distance * scale
    reach = (2.0 * norm + d) * (1.0 + 2.0**-28)
    within = max(0.0, d * (1.0 - 2.0**-28) - rounding * reach - underflow)
    lowest: float = within * within - (relative * reach * reach + absolute) * (1.0 + 2.0**-40)
    return lowest


@njit(nogil=True, cache=True)
def farthest(score: float, norm: float, bound: Any) -> float:
    """Largest distance of a row with this score, in the scale of the rounded rows (``bounds``)."""
    rounding, underflow, relative, absolute = bound
    beta, shift = 1.0 - rounding, 2.0 * rounding * norm + underflow
    a = beta * beta - relative
    b = 2.0 * beta * shift + 4.0 * relative * norm
    c = max(score, 0.0) + absolute + 4.0 * relative * norm * norm - shift * shift
    distance: float = (b + math.sqrt(max(0.0, b * b + 4.0 * a * c))) / (2.0 * a) * (1.0 + 2.0**-28)
    return distance


@njit(nogil=True, cache=True)
def _insert(distance_K: Array, index_K: Array, distance: float, index: int) -> bool:
    """Put a row into a list ordered by (distance, index); False if the list has it already."""
    last = distance_K.shape[0] - 1
    if distance > distance_K[last] or (distance == distance_K[last] and index > index_K[last]):
        return True
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        if distance_K[middle] < distance or (distance_K[middle] == distance and index_K[middle] < index):
            low = middle + 1
        else:
            high = middle
    if distance_K[low] == distance and index_K[low] == index:
        return False
    for position in range(last, low, -1):
        distance_K[position] = distance_K[position - 1]
        index_K[position] = index_K[position - 1]
    distance_K[low] = distance
    index_K[low] = index
    return True


@njit(nogil=True, cache=True)
def measure(
    query_QD: Array, base_BD: Array, base_start: int, key_QC: Array, count_Q: Array, distance_QC: Array
) -> None:
    """Exact distances of the queries to those of their candidates that lie among the rows of the base."""
    n_base, n_features = base_BD.shape
    query_D, distance_L = np.empty(n_features), np.empty(LANES)
    n_most = key_QC.shape[1] + LANES  # and room for the next one, and for lanes that repeat the first
    row_C, place_C = np.empty(n_most, np.int64), np.empty(n_most, np.int64)
    for q in range(query_QD.shape[0]):
        n = 0
        for c in range(count_Q[q]):  # without a branch, as in `selection`
            row_C[n], place_C[n] = (key_QC[q, c] & INDEX_BITS) - base_start, c
            n += 0 <= row_C[n] < n_base
        if n == 0:
            continue
        for f in range(n_features):
            query_D[f] = query_QD[q, f]
        for first in range(0, n, LANES):
            n_lanes = min(LANES, n - first)
            distances(query_D, base_BD, row_C[first : first + LANES], n_lanes, distance_L)
            for lane in range(n_lanes):
                distance_QC[q, place_C[first + lane]] = distance_L[lane]


@njit(nogil=True, cache=True)
def _are_within_bounds(
    key_C: Array, distance_C: Array, scale: float, norm: float, bound: Any, error_C: Array
) -> bool:
    """Whether all scores lie within the bounds of their distances, and the relative error of each, of 0 at 0.

    Scores of what was not measured (NaN) do not. A plain loop, for vectors.
    """
    n_within = 0
    for c in range(len(key_C)):
        distance, score = distance_C[c], score_of(key_C[c])
        lowest = least_score(distance, scale, norm, bound)
        n_within += (lowest <= score) & (score <= score_limit(distance, scale, norm, bound))
        exact = distance * scale if distance * scale > 0.0 else np.inf
        error_C[c] = abs(math.sqrt(max(score, 0.0)) / exact - 1.0) if exact < np.inf else 0.0
    return n_within == len(key_C)


@njit(nogil=True, cache=True)
def _put_in_order(distance_C: Array, index_C: Array, n: int) -> None:
    """Sort n rows by (distance, index), which nearly are: by exchanging neighbors."""
    for c in range(1, n):
        place = c
        while place > 0 and (
            distance_C[place - 1] > distance_C[place]
            or (distance_C[place - 1] == distance_C[place] and index_C[place - 1] > index_C[place])
        ):
            before = place - 1
            distance_C[before], distance_C[place] = distance_C[place], distance_C[before]
            index_C[before], index_C[place] = index_C[place], index_C[before]
            place = before


@njit(nogil=True, cache=True)
def _fill(distance_K: Array, index_K: Array, distance_C: Array, index_C: Array, n: int) -> int:
    """Put the first of n rows in order into an empty list, each once; how many are different."""
    n_different = 0
    for c in range(n):
        if c > 0 and distance_C[c] == distance_C[c - 1] and index_C[c] == index_C[c - 1]:
            continue
        if n_different < len(distance_K):
            distance_K[n_different], index_K[n_different] = distance_C[c], index_C[c]
        n_different += 1
    return n_different


@njit(nogil=True, cache=True)
def _are_different(key_C: Array, count: int, n_base: int) -> bool:
    """Whether candidates that are as many as there are rows are all of them."""
    is_seen_B = np.zeros(n_base, np.bool_)
    for c in range(count):
        row = key_C[c] & INDEX_BITS
        if is_seen_B[row]:
            return False
        is_seen_B[row] = True
    return True


@njit(nogil=True, cache=True)
def certify(
    row_Q: Array,
    key_QC: Array,
    count_Q: Array,
    threshold_Q: Array,
    norm_Q: Array,
    distance_QC: Array,
    n_base: int,
    scale: float,
    bound: Any,
    distance_QK: Array,
    index_QK: Array,
    certified_Q: Array,
    error_Q: Array,
) -> None:
    """Lists of the nearest from measured candidates, and for which rows they are proven to be whole.

    `certified_Q` is False where a row may be missing: one that is no candidate could be as near as the last
    of the list, or a score lies outside its bound, or candidates are repeated, not measured (NaN) or the row
    itself. Lists are empty before. `error_Q` is the largest relative error of a distance that a score means.
    """
    n_most = key_QC.shape[1]
    error_C, near_C, index_C = np.empty(n_most), np.empty(n_most), np.empty(n_most, np.int64)
    for q in range(len(count_Q)):
        key_C, distance_C, norm = key_QC[q, : count_Q[q]], distance_QC[q], norm_Q[q]
        sound = _are_within_bounds(key_C, distance_C, scale, norm, bound, error_C)
        n = 0
        for c in range(len(key_C)):
            error_Q[q] = max(error_Q[q], error_C[c])
            near_C[n], index_C[n] = distance_C[c], key_C[c] & INDEX_BITS
            n += distance_C[c] >= 0.0 and index_C[n] != row_Q[q]
        _put_in_order(near_C, index_C, n)
        n_different = _fill(distance_QK[q], index_QK[q], near_C, index_C, n)
        sound = sound and n_different == len(key_C)
        if count_Q[q] < n_base - (row_Q[q] < n_base):
            sound = sound and threshold_Q[q] > score_limit(distance_QK[q, -1], scale, norm, bound)
        else:
            sound = sound and _are_different(key_C, count_Q[q], n_base)
        certified_Q[q] = sound


@njit(nogil=True, cache=True)
def clearances(
    key_QC: Array, count_Q: Array, threshold_Q: Array, norm_Q: Array, k: int, bound: Any, clearance_Q: Array
) -> None:
    """Thresholds of sorted candidates over the limit at their K-th score: `certify` doubts what is below 1.

    It knows exact distances, so that it may decide otherwise where the clearance is about 1. Infinite where
    there are no K candidates.
    """
    for q in range(len(count_Q)):
        clearance_Q[q] = np.inf
        if count_Q[q] >= k:
            distance = math.sqrt(max(score_of(key_QC[q, k - 1]), 0.0))
            clearance_Q[q] = threshold_Q[q] / limit_at(distance, norm_Q[q], bound)


@njit(nogil=True, cache=True)
def merge_rows(
    query_QD: Array,
    query_index_Q: Array,
    norm_Q: Array,
    base_BD: Array,
    base_index_B: Array,
    score_QB: Array,
    scale: float,
    bound: Any,
    distance_QK: Array,
    index_QK: Array,
) -> None:
    """Merge all rows of the base into the lists, except those whose score proves that they are too far.

    With `score_QB` of shape (Q, 0) nothing is left out: brute force. A query is not its own neighbor.
    """
    n_features = base_BD.shape[1]
    filtered = score_QB.shape[1] > 0
    query_D, distance_L, row_L = np.empty(n_features), np.empty(LANES), np.empty(LANES, np.int64)
    for q in range(query_QD.shape[0]):
        for f in range(n_features):
            query_D[f] = query_QD[q, f]
        distance_K, index_K, limit = distance_QK[q], index_QK[q], np.inf
        n = 0
        if filtered:
            limit = score_limit(distance_K[-1], scale, norm_Q[q], bound)
        for row in range(base_BD.shape[0]):
            if base_index_B[row] != query_index_Q[q] and not (filtered and score_QB[q, row] > limit):
                row_L[n] = row
                n += 1
            if n == LANES or (n > 0 and row == base_BD.shape[0] - 1):
                distances(query_D, base_BD, row_L, n, distance_L)
                for lane in range(n):
                    _insert(distance_K, index_K, distance_L[lane], base_index_B[row_L[lane]])
                if filtered:
                    limit = score_limit(distance_K[-1], scale, norm_Q[q], bound)
                n = 0


@njit(nogil=True, cache=True)
def expand_lists(
    row_P: Array,
    group_P: Array,
    distance_PR: Array,
    neighbor_PR: Array,
    offset_G: Array,
    member_N: Array,
    distance_PK: Array,
    index_PK: Array,
) -> None:
    """Lists over all rows from lists over groups of equal rows; members of a group ascend in `member_N`."""
    k = distance_PK.shape[1]
    for p in range(row_P.shape[0]):
        n = 0
        for m in range(offset_G[group_P[p]], offset_G[group_P[p] + 1]):
            if n < k and member_N[m] != row_P[p]:
                distance_PK[p, n], index_PK[p, n] = 0.0, member_N[m]
                n += 1
        rank = 0
        while n < k:
            distance, end, n_tied = distance_PR[p, rank], rank, 0
            while end < distance_PR.shape[1] and distance_PR[p, end] == distance:
                group = neighbor_PR[p, end]
                n_tied += min(k - n, offset_G[group + 1] - offset_G[group])
                end += 1
            tied = np.empty(n_tied, np.int64)
            t = 0
            for r in range(rank, end):
                first = offset_G[neighbor_PR[p, r]]
                for m in range(first, min(first + k - n, offset_G[neighbor_PR[p, r] + 1])):
                    tied[t] = member_N[m]
                    t += 1
            tied.sort()
            for t in range(min(k - n, n_tied)):
                distance_PK[p, n], index_PK[p, n] = distance, tied[t]
                n += 1
            rank = end


@njit(nogil=True, cache=True)
def unit_rows(row_BD: Array, unit_BD: Array) -> int:
    """Divide finite rows by their float64 norm (sequential sum of squares); the first zero row, or -1."""
    for b in range(row_BD.shape[0]):
        largest = 0.0
        for f in range(row_BD.shape[1]):
            largest = max(largest, abs(np.float64(row_BD[b, f])))
        if largest == 0.0:
            return b
        exponent = math.frexp(largest)[1]
        if -400 < exponent < 400:
            exponent = 0
        scale = math.ldexp(1.0, -max(exponent, -1000))  # keeps squares in range and changes no digit
        total = 0.0
        for f in range(row_BD.shape[1]):
            unit_BD[b, f] = np.float64(row_BD[b, f]) * scale
            total += unit_BD[b, f] * unit_BD[b, f]
        norm = math.sqrt(total)
        for f in range(row_BD.shape[1]):
            unit_BD[b, f] /= norm
    return -1
