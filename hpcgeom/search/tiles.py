"""Exact lists of neighbors among the rows of a source, one tile of queries after the other.

The invariant: after each tile of the base, the list of a query holds the k smallest (distance, index) among
all rows of the tiles seen so far. A tile keeps it, because each of its rows is either measured exactly and
merged, or proven to be farther than the last entry of the list (``bounds``): by its own score, or, if it was
not proposed, by the largest score that was. Where neither is proven the tile is scored again in float64 for
that row, all scores are at hand, and nothing but the limit leaves a row out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom import faults
from hpcgeom.errors import HpcgeomError
from hpcgeom.search import kernels, propose
from hpcgeom.search.bounds import float32_bound, float64_bound
from hpcgeom.search.certificate import Tally
from hpcgeom.search.rows import RowSource, read_rows, row_ranges
from hpcgeom.search.scan import Centering

BLOCK_ROWS = 1024
"""Rows held in float64 at a time."""
AUDITED_ROWS = 8
"""Rows of each tile of queries that are also searched by brute force."""


@dataclass(frozen=True)
class Tile:
    """Rows start to stop - 1: as stored (float32 or float64) and as rounded for the proposals."""

    start: int
    stop: int
    stored: npt.NDArray[Any]
    rounded: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lists:
    """The nearest rows so far, ascending by (distance, index); infinity where there is none yet."""

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, n_rows: int, k: int) -> Lists:
        """Lists without entries."""
        return cls(np.full((n_rows, k), np.inf), np.full((n_rows, k), np.iinfo(np.int64).max))


def search_distinct(
    source: RowSource, centering: Centering, k: int, tile_rows: int, threads: int, tally: Tally
) -> Iterator[tuple[int, int, npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Lists of the k nearest other rows, (start, stop, distances, indices) for each tile of queries.

    Parameters
    ----------
    source
        (N, D), N > k.
    centering
        How rows are prepared for the proposals.
    k
        Length of the lists.
    tile_rows
        Most rows of a tile.
    threads
        Threads for the proposals and for the exact distances; no influence on the result.
    tally
        Grows with each tile.

    Raises
    ------
    HpcgeomError
        If the audit finds a list that brute force does not confirm.
    """
    ranges = list(row_ranges(source.shape[0], tile_rows))
    for start, stop in ranges:
        query = _load(source, start, stop, centering)
        lists = Lists.empty(stop - start, k)
        audited_A = np.unique(np.linspace(0, stop - start - 1, AUDITED_ROWS).astype(np.int64))
        audit = Lists.empty(len(audited_A), k)
        certified_Q = np.ones(stop - start, dtype=bool)
        for base_start, base_stop in ranges:
            base = query if base_start == start else _load(source, base_start, base_stop, centering)
            faults.reached("tile", start=start)
            certified_Q &= _merge_tile(query, base, lists, centering, threads, tally)
            brute_force(query.stored[audited_A], start + audited_A, base.stored, base.start, audit)
        _confirm(lists, audit, audited_A, start)
        tally.certified += int(certified_Q.sum())
        tally.recomputed += int((~certified_Q).sum())
        tally.audited += len(audited_A)
        yield start, stop, lists.distances, lists.indices


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
    kernels.merge_rows(
        query_QD, query_index_Q, no_norm_Q, base_BD, base_index, no_score_Q0, 1.0, 0.0, 0.0,
        lists.distances, lists.indices,
    )  # fmt: skip


def _load(source: RowSource, start: int, stop: int, centering: Centering) -> Tile:
    stored_BD = read_rows(source, start, stop)
    rounded_BD, norm_B = np.empty(stored_BD.shape, np.float32), np.empty(len(stored_BD))
    for low in range(0, len(stored_BD), BLOCK_ROWS):
        block = slice(low, low + BLOCK_ROWS)
        rounded_BD[block] = centering.apply(stored_BD[block])
        norm_B[block] = _norms(rounded_BD[block].astype(np.float64))
    return Tile(start, stop, stored_BD, rounded_BD, norm_B)


def _norms(rows_BD: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    norm_B: npt.NDArray[np.float64] = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD))
    return norm_B


def _merge_tile(
    query: Tile, base: Tile, lists: Lists, centering: Centering, threads: int, tally: Tally
) -> npt.NDArray[np.bool_]:
    """Merge one tile of the base into the lists of a tile of queries; for which rows float32 was enough."""
    count = propose.n_proposals(lists.distances.shape[1])
    score_QP, proposed_QP = propose.propose(query.rounded, base.rounded, count, threads)
    bound = float32_bound(base.stored.shape[1])
    certified_Q, error_Q = np.ones(len(query.norms), dtype=bool), np.zeros(len(query.norms))

    def merge(rows: slice) -> None:
        kernels.merge_proposals(
            query.stored[rows], query.start + rows.start, query.norms[rows], base.stored, base.start,
            score_QP[rows], proposed_QP[rows], centering.scale, bound.relative, bound.absolute,
            lists.distances[rows], lists.indices[rows], certified_Q[rows], error_Q[rows],
        )  # fmt: skip

    _in_threads(merge, len(query.norms), threads)
    tally.largest_relative_error = max(tally.largest_relative_error, float(error_Q.max()))
    failed_F = np.flatnonzero(~certified_Q)
    for low in range(0, len(failed_F), BLOCK_ROWS):
        _merge_in_float64(query, failed_F[low : low + BLOCK_ROWS], base, lists, centering, threads)
    return certified_Q


def _merge_in_float64(
    query: Tile, rows_F: npt.NDArray[np.int64], base: Tile, lists: Lists, centering: Centering, threads: int
) -> None:
    """Merge a tile into the lists of some queries, leaving out only rows that float64 proves too far."""
    bound = float64_bound(base.stored.shape[1])
    stored_FD = query.stored[rows_F]
    query_FD = centering.apply(stored_FD)
    norm_F = _norms(query_FD)
    part = Lists(lists.distances[rows_F], lists.indices[rows_F])
    for low in range(0, len(base.stored), BLOCK_ROWS):
        block_BD = base.stored[low : low + BLOCK_ROWS]
        base_BD = centering.apply(block_BD)
        score_FB = query_FD @ base_BD.T
        score_FB *= -2.0
        score_FB += np.square(norm_F)[:, None] + np.einsum("bd,bd->b", base_BD, base_BD)
        index_B = np.arange(base.start + low, base.start + low + len(block_BD))

        def merge(rows: slice, block_BD=block_BD, index_B=index_B, score_FB=score_FB) -> None:  # type: ignore[no-untyped-def]
            kernels.merge_rows(
                stored_FD[rows], query.start + rows_F[rows], norm_F[rows], block_BD, index_B, score_FB[rows],
                centering.scale, bound.relative, bound.absolute, part.distances[rows], part.indices[rows],
            )  # fmt: skip

        _in_threads(merge, len(rows_F), threads)
    lists.distances[rows_F], lists.indices[rows_F] = part.distances, part.indices


def _in_threads(work: Callable[[slice], None], n_rows: int, threads: int) -> None:
    """Do the rows in as many slices as there are threads."""
    slices = [slice(start, stop) for start, stop in row_ranges(n_rows, -(-n_rows // threads))]
    if len(slices) == 1:
        work(slices[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, slices))


def _confirm(lists: Lists, audit: Lists, audited_A: npt.NDArray[np.int64], start: int) -> None:
    same_A = (lists.indices[audited_A] == audit.indices).all(axis=1)
    same_A &= (lists.distances[audited_A] == audit.distances).all(axis=1)
    if not same_A.all():
        row = start + int(audited_A[np.argmin(same_A)])
        raise HpcgeomError(
            f"the neighbors of row {row} are not those that brute force finds, so the proposals lost some: "
            "check the installation of faiss and its BLAS with `hpcgeom doctor`, and report this"
        )
