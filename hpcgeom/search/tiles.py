"""Rows in memory, centered, scaled and rounded for the products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.row_loops import center_and_round
from hpcgeom.search.rows import RowSource, read_rows, row_ranges
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import in_blocks


@dataclass(frozen=True)
class Tile:
    """Rounded rows start to stop - 1.

    Attributes
    ----------
    rounded
        (B, D), whatever the kernel multiplies.
    norms
        (B,) float64, of the rounded rows.
    is_base
        Whether the rows may be neighbors; queries may not.
    """

    start: int
    stop: int
    rounded: Any
    norms: npt.NDArray[np.float64]
    is_base: bool

    def __len__(self) -> int:
        return self.stop - self.start


def tile_ranges(start: int, stop: int, tile_rows: int, n_base: int) -> list[tuple[int, int]]:
    """Cut rows into ranges of at most `tile_rows`, none of which holds both base rows and queries."""
    border = min(max(n_base, start), stop)
    return [
        (low + first, low + last)
        for low, high in ((start, border), (border, stop))
        if high > low
        for first, last in row_ranges(high - low, tile_rows)
    ]


def round_rows(
    source: RowSource,
    start: int,
    stop: int,
    centering: Centering,
    rounded_BD: npt.NDArray[Any],
    threads: int,
) -> npt.NDArray[np.float64]:
    """Read, center, scale and round rows into `rounded_BD`; the norms of the rounded rows."""
    stored_BD, norm_B = read_rows(source, start, stop), np.empty(stop - start)

    def work(block: slice) -> None:
        center_and_round(
            stored_BD[block], centering.center, centering.scale, rounded_BD[block], norm_B[block]
        )

    in_blocks(work, stop - start, threads)
    return norm_B


def float32_tile(
    source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
) -> Tile:
    """Rows start to stop - 1, rounded to float32."""
    rounded_BD = np.empty((stop - start, source.shape[1]), np.float32)
    norm_B = round_rows(source, start, stop, centering, rounded_BD, threads)
    return Tile(start, stop, rounded_BD, norm_B, is_base)


def norms(rows_BD: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Euclidean norms of float64 rows."""
    norm_B: npt.NDArray[np.float64] = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD))
    return norm_B
