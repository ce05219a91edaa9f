"""Products of panels of tiles, each pair of panels once, with a thread to every pair."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
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

    def meet(self, pairs: Sequence[tuple[Tile, Tile]], lists: Mapping[int, Candidates], threads: int) -> None:
        """Give the rows of both tiles of each pair to each other's lists, those of queries to none."""
        panels = {tile.start: _panels(tile, lists[tile.start]) for pair in pairs for tile in pair}

        def work(pair: tuple[_Panel, _Panel]) -> None:
            one, other = pair
            product_AB = self._multiplier.product(one.rounded, other.rounded)
            with one.lock, nullcontext() if one is other else other.lock:
                offer(product_AB, one.lists, other.lists, to_rows=other.is_base, to_columns=one.is_base)

        with self._multiplier.one_thread():
            met = (_pairs(panels[first.start], panels[second.start]) for first, second in pairs)
            each(work, list(chain.from_iterable(met)), threads)


@dataclass(frozen=True, slots=True)
class _Panel:
    """Some rows of a tile: rounded, their lists, the lock of these, and whether the rows may be neighbors."""

    rounded: Any
    lists: Candidates
    lock: threading.Lock
    is_base: bool


def _panels(tile: Tile, lists: Candidates) -> list[_Panel]:
    ranges = row_ranges(len(tile), PANEL_ROWS)
    return [
        _Panel(rounded, lists.part(tile.start + first, tile.start + last), threading.Lock(), tile.is_base)
        for rounded, (first, last) in zip(tile.rounded, ranges, strict=True)
    ]


def _pairs(first: list[_Panel], second: list[_Panel]) -> Iterator[tuple[_Panel, _Panel]]:
    """Every pair of panels once, in an order in which neighbors seldom share a panel.

    Of a tile with itself the first comes first, so that two threads never wait for each other's locks.
    """
    n_first, n_second = len(first), len(second)
    if first is second:
        yield from zip(first, first, strict=True)
        for offset in range(1, n_first):
            for parity in (0, 1):
                places = (i for i in range(n_first - offset) if i // offset % 2 == parity)
                yield from ((first[i], first[i + offset]) for i in places)
        return
    for offset in range(max(n_first, n_second)):
        if n_first <= n_second:
            yield from ((first[i], second[(i + offset) % n_second]) for i in range(n_first))
        else:
            yield from ((first[(j + offset) % n_first], second[j]) for j in range(n_second))
