"""Products of panels of two tiles by BLAS, each pair of rows once, with a thread to every pair of panels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.bounds import ErrorBound, float32_bound
from hpcgeom.search.candidates import Candidates, offer
from hpcgeom.search.rows import RowSource, row_ranges
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import one_blas_thread
from hpcgeom.search.tiles import Tile, float32_tile

PANEL_ROWS = 1024
"""The product of two panels is 4 MiB, which stays in the cache until it is selected from."""


class PanelKernel:
    """The product in float32 by the BLAS of NumPy."""

    name = "float32"

    def bound(self, n_features: int) -> ErrorBound:
        """Of the scores."""
        return float32_bound(n_features)

    def load(
        self, source: RowSource, start: int, stop: int, centering: Centering, *, is_base: bool, threads: int
    ) -> Tile:
        """Read and round rows."""
        return float32_tile(source, start, stop, centering, is_base=is_base, threads=threads)

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
            one, other = first_panels[pair[0]], second_panels[pair[1]]
            with locks[pair[0]]:
                if is_same and pair[0] == pair[1]:
                    self._panel(first, second, one, other, first_lists, second_lists)
                    return
                with locks[pair[1] + shift]:
                    self._panel(first, second, one, other, first_lists, second_lists)

        pairs = _pairs(len(first_panels), len(second_panels), is_same=is_same)
        with self._one_thread():
            if threads == 1:
                for pair in pairs:
                    work(pair)
                return
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, pairs))

    def _panel(
        self, first: Tile, second: Tile, one: tuple[int, int], other: tuple[int, int],
        first_lists: Candidates, second_lists: Candidates,
    ) -> None:  # fmt: skip
        product_AB = self._product(first.rounded[slice(*one)], second.rounded[slice(*other)])
        offer(
            product_AB,
            first_lists.part(first.start + one[0], first.start + one[1]),
            second_lists.part(second.start + other[0], second.start + other[1]),
            to_rows=second.is_base,
            to_columns=first.is_base,
        )

    def _one_thread(self) -> AbstractContextManager[None]:
        return one_blas_thread()

    def _product(self, one_AD: Any, other_BD: Any) -> npt.NDArray[np.float32]:
        product_AB: npt.NDArray[np.float32] = one_AD @ other_BD.T
        return product_AB


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
