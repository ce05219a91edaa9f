"""Products of panels of two tiles, each pair of panels once, with a thread to every pair."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from hpcgeom.search.bounds import ErrorBound
from hpcgeom.search.candidates import Candidates, offer
from hpcgeom.search.kernels.multipliers import Multiplier
from hpcgeom.search.rows import RowSource, read_rows, row_ranges
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import each, in_blocks
from hpcgeom.search.tiles import Tile

PANEL_ROWS = 1024
"""The product of two panels is 4 MiB, which stays in the cache until it is selected from."""


class PanelKernel:
    """Tiles are lists of panels of at most `PANEL_ROWS` rows, which a `Multiplier` multiplies two by two."""

    def __init__(self, multiplier: Multiplier) -> None:
        self._multiplier = multiplier
        self.name = multiplier.name

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores; raises as `bounds.half_bound` where it multiplies halves."""
        return self._multiplier.bound(n_features)

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read rows, and round them panel by panel."""
        stored_BD, norm_B = read_rows(source, start, stop), np.empty(stop - start)

        def work(rows: slice) -> Any:
            panel, norm_B[rows] = self._multiplier.rounded(stored_BD[rows], centering)
            return panel

        panels = in_blocks(work, stop - start, threads, PANEL_ROWS)
        return Tile(start, stop, panels, norm_B, is_base)

    def meet(
        self, first: Tile, second: Tile, first_lists: Candidates, second_lists: Candidates, threads: int
    ) -> None:
        """Give the rows of two tiles to each other's lists, those of queries to none; or of one tile."""
        is_same = first.start == second.start
        first_panels = list(row_ranges(len(first), PANEL_ROWS))
        second_panels = first_panels if is_same else list(row_ranges(len(second), PANEL_ROWS))
        locks = [threading.Lock() for _ in first_panels + ([] if is_same else second_panels)]
        shift = 0 if is_same else len(first_panels)

        def work(pair: tuple[int, int]) -> None:
            i, j = pair
            product_AB = self._multiplier.product(first.rounded[i], second.rounded[j])
            rows = first_lists.part(*(first.start + row for row in first_panels[i]))
            columns = second_lists.part(*(second.start + row for row in second_panels[j]))
            with locks[i], nullcontext() if is_same and i == j else locks[j + shift]:
                offer(product_AB, rows, columns, to_rows=second.is_base, to_columns=first.is_base)

        with self._multiplier.one_thread():
            each(work, list(_pairs(len(first_panels), len(second_panels), is_same=is_same)), threads)


def _pairs(n_first: int, n_second: int, *, is_same: bool) -> Iterator[tuple[int, int]]:
    """Every pair of panels once, in an order in which neighbors seldom share a panel."""
    if is_same:
        yield from ((i, i) for i in range(n_first))
        for offset in range(1, n_first):
            for parity in (0, 1):
                yield from ((i, i + offset) for i in range(n_first - offset) if i // offset % 2 == parity)
        return
    for offset in range(max(n_first, n_second)):
        if n_first <= n_second:
            yield from ((i, (i + offset) % n_second) for i in range(n_first))
        else:
            yield from (((j + offset) % n_first, j) for j in range(n_second))
