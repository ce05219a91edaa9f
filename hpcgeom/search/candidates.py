"""The rows that can still be among the nearest, of some rows; scores in float32, ascending at the end."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search import seeding, selection
from hpcgeom.search.bounds import ErrorBound
from hpcgeom.search.threads import in_threads

FEWEST_THAT_SEED = 16
"""Fewer rows at a time are offered one by one from the start."""


def capacity(k: int) -> int:
    """Candidates that a row has room for: more than stay, so that lists are seldom cut.

    Where K is 64 or more, they and what else is held of a row take no more than its list does when it is
    done.
    """
    return k + max(3 * k // 8, 24)


def most_kept(k: int) -> int:
    """Candidates that stay in a crowded list after it was cut."""
    return k + max(k // 4, 16)


def _own_pages(n_rows: int, n_columns: int) -> npt.NDArray[np.int64]:
    """Memory that goes back to the system when it is let go of, piece by piece as lists are done."""
    n_bytes = max(8 * n_rows * n_columns, 1)
    pages = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, np.int64, n_rows * n_columns).reshape(n_rows, n_columns)


@dataclass(frozen=True)
class Candidates:
    """Candidates of the rows start to stop - 1.

    Attributes
    ----------
    start
        Number of the first row.
    k
        Neighbors that are wanted of each row.
    bound
        Of the scores.
    keys
        (R, C) int64, scores and row numbers in one (`selection`); the first `counts` of each row mean
        something.
    counts
        (R,) int32.
    thresholds
        (R,) float64: rows that are no candidates have scores of at least this.
    norms
        (R,) float64, of the rounded rows.
    """

    start: int
    k: int
    bound: ErrorBound
    keys: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int32]
    thresholds: npt.NDArray[np.float64]
    norms: npt.NDArray[np.float64]
    halves: npt.NDArray[np.float32]
    bars: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, start: int, norm_R: npt.NDArray[np.float64], k: int, bound: ErrorBound) -> Candidates:
        """No candidates yet for rows with these norms."""
        n = len(norm_R)
        keys, counts = _own_pages(n, capacity(k)), np.zeros(n, np.int32)
        halves, bars = (0.5 * norm_R**2).astype(np.float32), np.full(n, -np.inf, np.float32)
        return cls(start, k, bound, keys, counts, np.full(n, np.inf), norm_R.copy(), halves, bars)

    @property
    def stop(self) -> int:
        """One past the last row."""
        return self.start + len(self.counts)

    def part(self, start: int, stop: int) -> Candidates:
        """Those of some of the rows; a view."""
        rows = slice(start - self.start, stop - self.start)
        return Candidates(
            start, self.k, self.bound, self.keys[rows], self.counts[rows], self.thresholds[rows],
            self.norms[rows], self.halves[rows], self.bars[rows],
        )  # fmt: skip

    def is_filled(self) -> npt.NDArray[np.bool_]:
        """(R, C), which keys mean something."""
        return np.arange(self.keys.shape[1]) < self.counts[:, None]

    def pour(
        self,
        row_R: npt.NDArray[np.int64],
        key_F: npt.NDArray[np.int64],
        count_P: npt.NDArray[np.int32],
        threshold_P: npt.NDArray[np.float64],
    ) -> None:
        """Add what another search settled on for some of its P rows, whose filled keys are F in a row.

        `row_R` says which of the P rows these are.
        """
        offset_P = np.concatenate([[0], np.cumsum(count_P, dtype=np.int64)])
        np.minimum(self.thresholds, threshold_P[row_R], out=self.thresholds)
        selection.pour(
            key_F, offset_P, row_R, self.for_loops(), self.k, most_kept(self.k), self.bound.constants
        )

    def for_loops(self) -> tuple[Any, ...]:
        """What `selection.select` takes."""
        return self.keys, self.counts, self.thresholds, self.norms, self.halves, self.bars

    def settle(self, threads: int = 1) -> None:
        """Cut every list to what its last threshold allows, and put it in order of (score, row number)."""

        def work(rows: slice) -> None:
            part = self.part(self.start + rows.start, self.start + rows.stop)
            selection.settle(part.for_loops(), self.k, most_kept(self.k), self.bound.constants)

        in_threads(work, len(self.counts), threads)


def offer(
    product_AB: npt.NDArray[np.float32],
    rows: Candidates,
    columns: Candidates,
    *,
    to_rows: bool,
    to_columns: bool,
) -> None:
    """Give the products of two ranges of rows to the lists of both.

    Ranges that are the same one make a square tile, whose rows take candidates, and whose columns do not.
    """
    is_diagonal = rows.start == columns.start
    if to_rows:
        _seed(product_AB, rows, columns, is_diagonal=is_diagonal)
    if to_columns and not is_diagonal:
        _seed(product_AB.T, columns, rows, is_diagonal=False)
    selection.select(
        product_AB, rows.for_loops(), columns.for_loops(), rows.start, columns.start,
        to_rows, to_columns, rows.k, most_kept(rows.k), rows.bound.constants,
    )  # fmt: skip


def _seed(
    product_AB: npt.NDArray[np.float32], rows: Candidates, others: Candidates, *, is_diagonal: bool
) -> None:
    """Give rows that have no threshold yet the one that all of the others together allow."""
    if product_AB.shape[1] > max(rows.k, FEWEST_THAT_SEED) and np.isinf(rows.thresholds).any():
        seeding.seed(
            np.ascontiguousarray(product_AB), rows.for_loops(), others.norms, is_diagonal=is_diagonal,
            k=rows.k, bound=rows.bound.constants,
        )  # fmt: skip
