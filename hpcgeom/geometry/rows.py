"""Points in blocks of rows: what reads them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.types import Points

Floats = npt.NDArray[np.float64]

ReadRows: TypeAlias = Callable[[int, int, int], Points]
"""``read_rows(layer, start, stop)``: rows start..stop-1 of one layer, shape (stop - start, D)."""


def row_blocks(n_points: int, block_rows: int) -> Iterator[tuple[int, int]]:
    """The ranges (start, stop) of `block_rows` rows each, the last one shorter."""
    for start in range(0, n_points, block_rows):
        yield start, min(start + block_rows, n_points)


def float64_rows(name: str, rows: Points) -> Floats:
    """`rows` in float64, every number finite.

    Raises
    ------
    InputError
        Not floating point of shape (points, features), no feature, or a number that is not finite.
    """
    is_float = isinstance(rows, np.ndarray) and np.issubdtype(rows.dtype, np.floating)
    if not is_float or rows.ndim != 2 or rows.shape[1] == 0:
        found = f"{getattr(rows, 'dtype', type(rows).__name__)} of shape {getattr(rows, 'shape', '?')}"
        raise InputError(
            f"{name}: expected floating point numbers of shape (points, features), found {found}; "
            f"pass one row per point"
        )
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise InputError(
            f"{name}: row {row}, feature {column} is {rows[row, column]}, expected a finite number; "
            f"leave the point out of all layers, or compute it again"
        )
    return rows.astype(np.float64, order="C")


def read_block(read_rows: ReadRows, layer: int, start: int, stop: int, width: int | None = None) -> Floats:
    """One block of one layer in float64, with the shape that was asked for.

    Raises
    ------
    InputError
        Bad numbers (see `float64_rows`), other rows than asked for, or another width than `width`.
    """
    rows = float64_rows(f"layer {layer}, rows from {start}", read_rows(layer, start, stop))
    expected = (stop - start, rows.shape[1] if width is None else width)
    if rows.shape != expected:
        raise InputError(
            f"layer {layer}: rows {start}..{stop - 1} have shape {rows.shape}, expected {expected}; "
            f"return the rows that are asked for, of one width in all blocks"
        )
    return rows
