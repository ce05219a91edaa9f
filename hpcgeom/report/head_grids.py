"""How the heads of all layers are spread over pages: as large as fits, a layer never cut without need."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hpcgeom.report.cells import PANEL_GAP_IN

PAGE_IN = 9.6
"""Height of the bands of one page."""


class Part(NamedTuple):
    """Heads `first` to `stop` - 1 of a layer, which is given by its place along the axis of layers."""

    layer: int
    first: int
    stop: int


class Widths(NamedTuple):
    """Of a panel, in inches: never less, so much before a layer is made to fit one page, never more."""

    smallest: float
    wanted: float
    largest: float


def columns_and_width(
    n_panels: int, free_in: float, widths: Widths, row_in: Callable[[float], float], rest_in: float
) -> tuple[int, float]:
    """How many panels stand beside each other, and how wide they are: few rows, about equally full.

    Panels are made smaller, down to the smallest, where a layer takes more than one page otherwise.

    Parameters
    ----------
    free_in
        Width for all panels of a row. A single panel may be smaller than the smallest, if there is no more.
    row_in
        Height of a row of panels of a given width.
    rest_in
        As in `pages`.
    """

    def fitting(width_in: float) -> int:
        return min(n_panels, max(1, int((free_in + PANEL_GAP_IN) / (width_in + PANEL_GAP_IN))))

    for most in range(fitting(widths.wanted), max(fitting(widths.wanted), fitting(widths.smallest)) + 1):
        n_rows = -(-n_panels // most)
        columns = -(-n_panels // n_rows)
        width = min(widths.largest, (free_in - PANEL_GAP_IN * (columns - 1)) / columns)
        if n_rows * row_in(width) + rest_in <= PAGE_IN:
            break
    return columns, width


def pages(n_layers: int, n_panels: int, columns: int, row_in: float, rest_in: float) -> list[list[Part]]:
    """Parts of each page.

    As many layers as fit stand on a page, about as many on each; the heads of a layer that does not fit on
    one page are spread over several.

    Parameters
    ----------
    row_in
        Height of a row of panels.
    rest_in
        Height of what a layer takes besides: heading, ticks.
    """
    n_rows = -(-n_panels // columns)
    most_rows = max(1, int((PAGE_IN - rest_in) / row_in))
    if n_rows > most_rows:
        per_page = -(-n_rows // -(-n_rows // most_rows)) * columns
        return [
            [Part(layer, first, min(first + per_page, n_panels))]
            for layer in range(n_layers)
            for first in range(0, n_panels, per_page)
        ]
    n_pages = -(-n_layers // max(1, int(PAGE_IN / (n_rows * row_in + rest_in))))
    return [[Part(layer, 0, n_panels) for layer in group] for group in even_groups(n_layers, n_pages)]


def even_groups(n: int, n_groups: int) -> list[list[int]]:
    """The numbers 0 to `n` - 1, in order, in groups whose sizes differ by at most one."""
    groups: list[npt.NDArray[np.int64]] = np.array_split(np.arange(n), n_groups)
    return [group.tolist() for group in groups]
