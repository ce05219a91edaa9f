"""Equal rows: found by hash, searched once, and given back to all samples.

Rows are equal when all values are (-0.0 equals 0.0). A row is words w_i of 32 bits, and a hash of it is
the upper half of the 64-bit sum of k_i w_i. With random keys k_i, two different rows of one length share it
with probability 2^-32 (Lemire and Kaser, The Computer Journal 57:1624, 2014). Four hashes with keys of their
own agree with probability 2^-128, so among a million rows somewhere with probability 1.5e-27.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

KEY = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Of the generator of the keys: digits of the golden ratio."""

IntArray = npt.NDArray[np.integer[Any]]


def row_hashes(rows_BD: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """128-bit hash of each row's values, (B, 2); rows are float32 or float64."""
    from hpcgeom.search.row_loops import hash_words

    positive_zero_BD = np.ascontiguousarray(rows_BD + rows_BD.dtype.type(0.0))  # -0.0 + 0.0 = 0.0
    word_BW = positive_zero_BD.view(np.uint32)
    hash_B2 = np.empty((len(rows_BD), 2), np.uint64)
    hash_words(word_BW, _keys(word_BW.shape[1]), hash_B2)
    return hash_B2


@lru_cache(maxsize=2)
def _keys(n_words: int) -> npt.NDArray[np.uint64]:
    """(4, W) keys of four hashes: the same for all rows, and drawn without looking at them."""
    return np.random.Philox(key=KEY).random_raw(4 * n_words).reshape(4, n_words)


def first_equal_rows(hash_N2: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """For each row the first row with the same hash, itself if there is none before, (N,)."""
    order_N = np.lexsort((hash_N2[:, 1], hash_N2[:, 0]))  # stable: rows ascend within equal hashes
    sorted_N2 = hash_N2[order_N]
    new_N = np.ones(len(order_N), dtype=bool)
    new_N[1:] = (sorted_N2[1:] != sorted_N2[:-1]).any(axis=1)
    first_N = np.empty(len(order_N), np.int32)
    first_N[order_N] = order_N[np.flatnonzero(new_N)][np.cumsum(new_N) - 1]
    return first_N


class Groups:
    """Groups of equal rows, numbered by their first row; lists over groups become lists over rows.

    K distinct neighbors suffice for lists of K rows. Order groups by (distance, first row). If a row j of a
    group outside the first K is to be listed, then each of those K groups has a first row that comes before
    j: it is nearer, or as near and of a smaller number, because j is not before the first row of its own
    group. So K rows come before j, and j is not listed. When there are fewer than K other groups, all are
    listed, and all rows are at hand.

    Parameters
    ----------
    duplicate_of_N
        (N,), the first equal row of each row.
    n_base
        Rows from here on are queries, which are listed nowhere. Groups with base rows come first, since
        they are numbered by their first row.
    """

    def __init__(self, duplicate_of_N: IntArray, n_base: int) -> None:
        row_N = np.arange(len(duplicate_of_N))
        is_first_N = duplicate_of_N == row_N
        if is_first_N.all():  # every row is a group: nothing to find, and hardly anything to hold
            self.first_row_G = self.group_N = row_N
            self.n_base, self.member_N = n_base, row_N[:n_base]
            self.offset_G = np.minimum(np.arange(len(row_N) + 1), n_base)
            self.repeated_G = row_N[:0]
            return
        self.first_row_G = np.flatnonzero(is_first_N)
        self.group_N = np.searchsorted(self.first_row_G, duplicate_of_N)
        self.n_base = int(np.searchsorted(self.first_row_G, n_base))
        self.member_N = np.argsort(self.group_N[:n_base], kind="stable")
        size_G = np.bincount(self.group_N[:n_base], minlength=len(self.first_row_G))
        self.offset_G = np.concatenate([[0], np.cumsum(size_G)])
        self.repeated_G = np.flatnonzero(np.bincount(self.group_N) > 1)

    def n_equal(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """How many base rows equal each of the rows start to stop - 1, itself aside."""
        size_G = np.diff(self.offset_G)
        is_base_P = np.arange(start, stop) < len(self.member_N)
        n_equal_P: npt.NDArray[np.int64] = size_G[self.group_N[start:stop]] - is_base_P
        return n_equal_P

    def expand(
        self, start: int, distance_PR: npt.NDArray[np.float64], neighbor_PR: IntArray, k: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Lists of rows `start` onward from the lists (distance, group) of their groups.

        Own duplicates come first, at distance 0; rows at equal distances, of one group or of several, ascend
        by row number.
        """
        from hpcgeom.search.compiled import expand_lists

        n_rows = len(distance_PR)
        distance_PK, index_PK = np.empty((n_rows, k)), np.empty((n_rows, k), np.int64)
        row_P = np.arange(start, start + n_rows)
        expand_lists(
            row_P,
            self.group_N[start : start + n_rows],
            distance_PR,
            neighbor_PR,
            self.offset_G,
            self.member_N,
            distance_PK,
            index_PK,
        )
        return distance_PK, index_PK


class GroupLists:
    """Lists over groups that later rows will ask for: those of the current tile, and those of repeated
    groups.

    Parameters
    ----------
    groups
        The groups of equal rows.
    rank_count
        Length of the lists over groups.
    """

    def __init__(self, groups: Groups, rank_count: int) -> None:
        self._groups = groups
        self._kept_distance = np.empty((len(groups.repeated_G), rank_count))
        self._kept_neighbor = np.empty((len(groups.repeated_G), rank_count), np.int64)
        self._start, self._distance, self._neighbor = 0, self._kept_distance[:0], self._kept_neighbor[:0]

    def put(
        self, start: int, distance_PR: npt.NDArray[np.float64], neighbor_PR: npt.NDArray[np.int64]
    ) -> None:
        """Make the lists of groups `start` onward the current tile."""
        self._start, self._distance, self._neighbor = start, distance_PR, neighbor_PR
        low, high = np.searchsorted(self._groups.repeated_G, [start, start + len(distance_PR)])
        chosen = self._groups.repeated_G[low:high] - start
        self._kept_distance[low:high], self._kept_neighbor[low:high] = (
            distance_PR[chosen],
            neighbor_PR[chosen],
        )

    def of_rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Lists of the groups of rows start to stop - 1: a view, of the current tile, if none are equal."""
        if not len(self._groups.repeated_G):
            rows = slice(start - self._start, stop - self._start)
            return self._distance[rows], self._neighbor[rows]
        group_P = self._groups.group_N[start:stop]
        current_P = group_P >= self._start
        distance_PR = np.empty((stop - start, self._kept_distance.shape[1]))
        neighbor_PR = np.empty(distance_PR.shape, np.int64)
        kept_P = np.searchsorted(self._groups.repeated_G, group_P[~current_P])
        distance_PR[current_P] = self._distance[group_P[current_P] - self._start]
        neighbor_PR[current_P] = self._neighbor[group_P[current_P] - self._start]
        distance_PR[~current_P], neighbor_PR[~current_P] = (
            self._kept_distance[kept_P],
            self._kept_neighbor[kept_P],
        )
        return distance_PR, neighbor_PR
