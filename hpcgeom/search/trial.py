"""Whether products in bfloat16 are enough: a few rows are searched, with what rounding takes from all rows.

Rows that bfloat16 cannot certify are searched again in float64, which takes longer than bfloat16 saves.
Whether they are many depends on the points: in a cloud of low dimension the next neighbors are much farther
than the last that is wanted, in an isotropic one of high dimension all are equally far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.ahead import read_ahead
from hpcgeom.search.bounds import half_bound
from hpcgeom.search.candidates import most_kept
from hpcgeom.search.compiled import score_limit
from hpcgeom.search.kernels.bfloat16_loops import round_values
from hpcgeom.search.rows import RowSource, read_rows
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import in_blocks, one_blas_thread

FEWEST_ROWS = 4096
"""Fewer rows are searched in no time, whatever multiplies them."""
SAMPLED_RUNS, RUN_ROWS = 8, 8
"""Rows that are searched: so many runs, which are spread over all."""
MOST_FAILING = 1
"""Of the sampled rows. To look at one row again takes as long as bfloat16 saves on a dozen."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What rounding to bfloat16 takes from rows (`bounds.half_bound`), and for how many it is too much."""

    row_roundoff: float
    n_failing: int


def try_bfloat16(
    source: RowSource,
    ranges: Sequence[tuple[int, int]],
    centering: Centering,
    k: int,
    n_base: int,
    threads: int,
) -> Trial:
    """Read all rows once, round them, and search for the neighbors of a few.

    Parameters
    ----------
    source
        (N, D).
    ranges
        Of all rows: at most a tile each, of which none holds both base rows and queries.
    centering
        How rows are prepared for the products.
    k
        Neighbors wanted of each row, fewer than `n_base`.
    n_base
        Rows from here on are queries, and are neither sampled nor found.
    threads
        No influence on the result.
    """
    sample = _Sample.of(source, centering, k, n_base)
    roundoff, score_SM = 0.0, np.full((len(sample.rows), sample.n_kept), np.inf, np.float32)
    tiles = read_ahead(read_rows(source, *rows) for rows in ranges)
    for (start, stop), rows_TD in zip(ranges, tiles, strict=True):

        def work(block: slice, start=start, rows_TD=rows_TD):  # type: ignore[no-untyped-def]
            value_BD, norm_B, lost = _rounded(rows_TD[block], centering)
            return lost, sample.smallest(value_BD, norm_B, start + block.start)

        with one_blas_thread():
            found = in_blocks(work, stop - start, threads)
        roundoff = max(roundoff, *(lost for lost, _ in found))
        nearest = [score_SM, *(score_SB for _, score_SB in found)]
        score_SM = _smallest(np.concatenate(nearest, axis=1), sample.n_kept)
    return Trial(roundoff, sample.n_failing(score_SM, k, roundoff))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Rows to search for: numbers, rounded values, norms; among how many, and scores kept."""

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float64]
    n_base: int
    n_kept: int

    @classmethod
    def of(cls, source: RowSource, centering: Centering, k: int, n_base: int) -> _Sample:
        first_R = np.unique(np.linspace(0, max(n_base - RUN_ROWS, 0), SAMPLED_RUNS).astype(np.int64))
        runs = [(int(first), min(int(first) + RUN_ROWS, n_base)) for first in first_R]
        row_S, place_S = np.unique(np.concatenate([np.arange(*run) for run in runs]), return_index=True)
        stored_SD = np.concatenate([read_rows(source, *run) for run in runs])[place_S]
        value_SD, norm_S, _ = _rounded(stored_SD, centering)
        return cls(row_S, value_SD, norm_S, n_base, min(most_kept(k) + 1, n_base - 1))

    def smallest(
        self, value_BD: npt.NDArray[np.float32], norm_B: npt.NDArray[np.float64], first: int
    ) -> npt.NDArray[np.float32]:
        """The smallest scores of rows `first` onward, at most `n_kept` for each; none of queries."""
        if first >= self.n_base:
            return np.empty((len(self.rows), 0), np.float32)
        score_SB = self.values @ value_BD.T
        score_SB *= np.float32(-2.0)
        score_SB += (np.square(self.norms)[:, None] + np.square(norm_B)).astype(np.float32)
        place_S = self.rows - first
        own = np.flatnonzero((place_S >= 0) & (place_S < len(value_BD)))
        score_SB[own, place_S[own]] = np.inf
        return _smallest(score_SB, self.n_kept)

    def n_failing(self, score_SM: npt.NDArray[np.float32], k: int, roundoff: float) -> int:
        """Rows whose last neighbor may seem farther in bfloat16 than what a crowded list drops."""
        if self.n_kept <= most_kept(k):  # lists have room for all rows
            return 0
        bound = half_bound(self.values.shape[1], "bfloat16", row_roundoff=roundoff).constants
        ordered_SM = np.sort(np.maximum(score_SM.astype(np.float64), 0.0), axis=1)
        limits = [
            score_limit(distance, 1.0, norm, bound)
            for distance, norm in zip(np.sqrt(ordered_SM[:, k - 1]), self.norms, strict=True)
        ]
        return int((ordered_SM[:, -1] <= np.array(limits)).sum())


def _rounded(
    stored_BD: npt.NDArray[np.floating], centering: Centering
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], float]:
    """Rows rounded to bfloat16, as float32; their norms; what rounding takes from them, at most."""
    value_BD, norm_B = np.empty(stored_BD.shape, np.float32), np.empty(len(stored_BD))
    lost = round_values(stored_BD, centering.center, centering.scale, value_BD, norm_B)
    return value_BD, norm_B, float(lost)


def _smallest(score_SB: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """The smallest scores of each row, in any order."""
    if score_SB.shape[1] <= count:
        return score_SB
    smallest_SM: npt.NDArray[np.float32] = np.partition(score_SB, count - 1, axis=1)[:, :count]
    return smallest_SM
