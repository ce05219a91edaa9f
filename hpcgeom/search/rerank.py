"""Exact lists from candidates: measure, prove that nothing is missing, and look again where that fails.

Candidates are measured from the stored rows in float64. A list is *certified* where every row that is no
candidate is proven to be farther than its last entry (``bounds``). The rows that fail are searched again with
float64 scores, which leave out only what they prove to be too far; or by brute force, where they are few and
their scores have told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.ahead import read_ahead
from hpcgeom.errors import HpcgeomError
from hpcgeom.search import compiled
from hpcgeom.search.bounds import float64_bound
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.certificate import Tally
from hpcgeom.search.rows import RowSource, read_rows
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import BLOCK_ROWS, in_threads, one_blas_thread
from hpcgeom.search.tiles import norms

AUDITED_ROWS = 8
"""Rows of each block that are also searched by brute force."""
MOST_DOUBTFUL = 16
"""Rows that are likely to fail and are searched by brute force at once: more are looked at again together,
which takes another pass over the base, and as long as brute force of about as many."""
ALMOST = 1.0 + 2.0**-11
"""Clearance of a row whose exact distances may turn out worse than its scores."""


@dataclass(frozen=True)
class Lists:
    """The nearest rows so far, ascending by (distance, index); infinity where there is none yet."""

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, n_rows: int, k: int) -> Lists:
        """Lists without entries."""
        return cls(np.full((n_rows, k), np.inf), np.full((n_rows, k), np.iinfo(np.int64).max))

    def part(self, rows: slice) -> Lists:
        """Those of some of the rows; a view."""
        return Lists(self.distances[rows], self.indices[rows])


@dataclass(frozen=True)
class Base:
    """The rows that may be neighbors: where they are read, in which ranges, and how they are centered."""

    source: RowSource
    ranges: Sequence[tuple[int, int]]
    centering: Centering

    @property
    def n(self) -> int:
        """How many there are."""
        return self.ranges[-1][1]

    def read(self, rows: tuple[int, int]) -> npt.NDArray[Any]:
        """Stored rows of a range."""
        return read_rows(self.source, *rows)


def rerank(
    base: Base,
    query_QD: npt.NDArray[Any],
    row_Q: npt.NDArray[np.int64],
    candidates: Candidates,
    threads: int,
    tally: Tally,
) -> Lists:
    """Exact lists of some rows from their candidates.

    Parameters
    ----------
    base
        Rows that may be neighbors.
    query_QD
        Rows as stored, at most a tile.
    row_Q
        Their numbers.
    candidates
        Their settled candidates.
    threads
        No influence on the result.
    tally
        Grows.

    Raises
    ------
    HpcgeomError
        If the audit finds a list that brute force does not confirm.
    """
    n = len(row_Q)
    lists = Lists.empty(n, candidates.k)
    audited_A = np.unique(np.linspace(0, n - 1, AUDITED_ROWS).astype(np.int64))
    doubtful_B = np.setdiff1d(_doubtful(candidates), audited_A)
    forced_A = np.concatenate([audited_A, doubtful_B])
    forced = Lists.empty(len(forced_A), candidates.k)
    distance_QC = np.full(candidates.keys.shape, np.nan)
    for rows, base_BD in zip(base.ranges, _base_rows(base, query_QD, row_Q), strict=True):

        def measure(part: slice, rows=rows, base_BD=base_BD) -> None:  # type: ignore[no-untyped-def]
            compiled.measure(
                query_QD[part], base_BD, rows[0], candidates.keys[part], candidates.counts[part],
                distance_QC[part],
            )  # fmt: skip

        def check(part: slice, rows=rows, base_BD=base_BD) -> None:  # type: ignore[no-untyped-def]
            chosen_A = forced_A[part]
            brute_force(query_QD[chosen_A], row_Q[chosen_A], base_BD, rows[0], forced.part(part))

        in_threads(measure, n, threads)
        in_threads(check, len(forced_A), threads)
    certified_Q = _certify(base, row_Q, candidates, distance_QC, lists, threads, tally)
    failed_F = np.flatnonzero(~certified_Q)
    failed_B = ~certified_Q[doubtful_B]
    found = forced.part(slice(len(audited_A), None))
    lists.distances[doubtful_B[failed_B]] = found.distances[failed_B]
    lists.indices[doubtful_B[failed_B]] = found.indices[failed_B]
    left_F = np.setdiff1d(failed_F, doubtful_B)
    for low in range(0, len(left_F), 8 * BLOCK_ROWS):
        _look_again(base, query_QD, row_Q, left_F[low : low + 8 * BLOCK_ROWS], lists, threads)
    _confirm(lists, forced, forced_A, row_Q)
    tally.certified += int(certified_Q.sum())
    tally.recomputed += len(failed_F)
    tally.audited += len(audited_A)
    return lists


def _doubtful(candidates: Candidates) -> npt.NDArray[np.int64]:
    """Rows that are likely not to be certified, and a few next to them; none where they are many."""
    clearance_Q = np.empty(len(candidates.counts))
    compiled.clearances(
        candidates.keys, candidates.counts, candidates.thresholds, candidates.norms, candidates.k,
        candidates.bound.constants, clearance_Q,
    )  # fmt: skip
    doubtful_B = np.flatnonzero(clearance_Q < ALMOST)
    if (clearance_Q < 1.0).sum() > MOST_DOUBTFUL:
        return doubtful_B[:0]
    return np.sort(doubtful_B[np.argsort(clearance_Q[doubtful_B], kind="stable")[:MOST_DOUBTFUL]])


def _base_rows(
    base: Base, query_QD: npt.NDArray[Any], row_Q: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[Any]]:
    """All rows that may be neighbors, range by range; those of the queries are at hand."""
    first, last = int(row_Q[0]), int(row_Q[-1])
    own = (first, last + 1) if last - first + 1 == len(row_Q) else None

    def read(rows: tuple[int, int]) -> npt.NDArray[Any]:
        return query_QD if rows == own else base.read(rows)

    return read_ahead(map(read, base.ranges))


def _certify(
    base: Base,
    row_Q: npt.NDArray[np.int64],
    candidates: Candidates,
    distance_QC: npt.NDArray[np.float64],
    lists: Lists,
    threads: int,
    tally: Tally,
) -> npt.NDArray[np.bool_]:
    n = len(row_Q)
    certified_Q, error_Q = np.zeros(n, dtype=bool), np.zeros(n)

    def certify(part: slice) -> None:
        compiled.certify(
            row_Q[part], candidates.keys[part], candidates.counts[part],
            candidates.thresholds[part], candidates.norms[part], distance_QC[part],
            base.n, base.centering.scale, candidates.bound.constants,
            lists.distances[part], lists.indices[part], certified_Q[part], error_Q[part],
        )  # fmt: skip

    in_threads(certify, n, threads)
    tally.largest_relative_error = max(tally.largest_relative_error, float(error_Q.max(initial=0.0)))
    return certified_Q


def brute_force(
    query_QD: npt.NDArray[Any],
    query_index_Q: npt.NDArray[np.int64],
    base_BD: npt.NDArray[Any],
    base_index: int | npt.NDArray[np.int64],
    lists: Lists,
) -> None:
    """Measure every row of the base and merge it into the lists, but a query into its own.

    `base_index` is the number of the first row of the base, or of each.
    """
    if isinstance(base_index, int):
        base_index = np.arange(base_index, base_index + len(base_BD))
    no_score_Q0, no_norm_Q = np.empty((len(query_QD), 0)), np.zeros(len(query_QD))
    compiled.merge_rows(
        query_QD, query_index_Q, no_norm_Q, base_BD, base_index, no_score_Q0, 1.0, (0.0, 0.0, 0.0, 0.0),
        lists.distances, lists.indices,
    )  # fmt: skip


def _look_again(
    base: Base,
    query_QD: npt.NDArray[Any],
    row_Q: npt.NDArray[np.int64],
    rows_F: npt.NDArray[np.int64],
    lists: Lists,
    threads: int,
) -> None:
    """Merge all rows of the base into the lists of some queries, but those that float64 proves too far."""
    bound = float64_bound(base.source.shape[1]).constants
    stored_FD = query_QD[rows_F]
    centered_FD = base.centering.apply(stored_FD)
    norm_F = norms(centered_FD)
    part = Lists(lists.distances[rows_F], lists.indices[rows_F])
    for rows, base_BD in zip(base.ranges, read_ahead(map(base.read, base.ranges)), strict=True):
        for low in range(0, len(base_BD), BLOCK_ROWS):
            block_BD = base_BD[low : low + BLOCK_ROWS]
            other_BD = base.centering.apply(block_BD)
            square_B = np.einsum("bd,bd->b", other_BD, other_BD)
            index_B = np.arange(rows[0] + low, rows[0] + low + len(block_BD))

            def merge(piece: slice, block_BD=block_BD, other_BD=other_BD, square_B=square_B, index_B=index_B):  # type: ignore[no-untyped-def]
                score_FB = centered_FD[piece] @ other_BD.T
                score_FB *= -2.0
                score_FB += np.square(norm_F[piece])[:, None] + square_B
                compiled.merge_rows(
                    stored_FD[piece], row_Q[rows_F[piece]], norm_F[piece], block_BD, index_B, score_FB,
                    base.centering.scale, bound, part.distances[piece], part.indices[piece],
                )  # fmt: skip

            with one_blas_thread():
                in_threads(merge, len(rows_F), threads)
    lists.distances[rows_F], lists.indices[rows_F] = part.distances, part.indices


def _confirm(
    lists: Lists, audit: Lists, audited_A: npt.NDArray[np.int64], row_Q: npt.NDArray[np.int64]
) -> None:
    same_A = (lists.indices[audited_A] == audit.indices).all(axis=1)
    same_A &= (lists.distances[audited_A] == audit.distances).all(axis=1)
    if not same_A.all():
        row = int(row_Q[audited_A[np.argmin(same_A)]])
        raise HpcgeomError(
            f"the neighbors of row {row} are not those that brute force finds, so the kernel lost some: "
            "check the installation with `hpcgeom doctor`, and report this"
        )
