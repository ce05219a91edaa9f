"""Rows of a few tiles in memory: a search would read those of one tile four times, and of four eight."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.rows import ArrayRows, RowSource, row_ranges, stored_rows
from hpcgeom.search.threads import each

HELD_TILES = 4
"""Rows of so many tiles are held, as they are stored."""


class HeldRows:
    """Rows in memory, in consecutive parts.

    Parameters
    ----------
    parts
        (., D) each, of one dtype.
    """

    def __init__(self, parts: list[npt.NDArray[Any]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)]).tolist()

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self._starts[-1], self._parts[0].shape[1]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop - 1, not copied if they are of one part."""
        found = [
            part[max(start - first, 0) : stop - first]
            for first, part in zip(self._starts, self._parts, strict=False)
            if first < stop and start < first + len(part)
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)


def is_held(n_rows: int, tile_rows: int) -> bool:
    """Whether `read_once` holds so many rows."""
    return n_rows <= HELD_TILES * tile_rows


def read_once(source: RowSource, tile_rows: int, threads: int) -> RowSource:
    """The same rows, in memory where they are few; tiles are read a few at the same time."""
    n_rows = source.shape[0]
    if isinstance(source, ArrayRows) or not is_held(n_rows, tile_rows):
        return source
    return HeldRows(
        each(lambda rows: stored_rows(source, *rows), list(row_ranges(n_rows, tile_rows)), threads)
    )
