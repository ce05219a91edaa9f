"""Attention maps of one sample: a panel for each head of each layer."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from hpcgeom.report.cells import Ticks, decimals_for, n_pixels, token_ticks, written
from hpcgeom.report.draw import style
from hpcgeom.report.head_grids import Part, Widths, columns_and_width, pages
from hpcgeom.report.heat_maps import (
    HEADING_IN,
    MOST_NAMED,
    Band,
    Colors,
    Panel,
    below_in,
    draw_page,
    free_in,
    rest_in,
    row_in,
)
from hpcgeom.report.subjects import Page, Subject

MOST_WRITTEN = 8
"""Maps of at most so many tokens carry their numbers."""
WRITTEN_CELL_IN = (0.3, 0.42)
"""Smallest and largest side of a cell that carries its number."""
NEAR_1 = 0.9
SMALLEST_SIDE_IN, WANTED_SIDE_IN, LARGEST_SIDE_IN = 0.9, 2.1, 3.0
TOKENS_PER_IN = 150
"""Maps of more tokens are larger, up to the wanted side, as long as the heads of a layer fit on a page."""


class Layout(NamedTuple):
    """How all figures of a sample are laid out and colored."""

    columns: int
    side_in: float
    x: Ticks
    y: Ticks
    top: float
    is_written: bool


def attention_pages(subject: Subject) -> list[Page]:
    """Figures of `attention(layer, head, query, key)`: queries down, keys across.

    Heads of a layer stand together, in as many rows as they need, with up to six maps beside each other; the
    more tokens, the larger they are, as far as all heads of a layer fit on one page. All figures of a sample
    share their colors, from 0 to the largest share of all of its maps, or to 1 if that is near. Up to 8
    tokens, each cell carries its number; of more, colors follow the square root of the share, as most shares
    are small.
    """
    maps = subject.sample["attention"]
    n_layers, n_heads = maps.sizes["layer"], maps.sizes["head"]
    largest = max(float(maps.isel(layer=i).max()) for i in range(n_layers))
    layout = _layout(subject, n_heads, largest if largest < NEAR_1 else 1.0)
    parts = pages(n_layers, n_heads, layout.columns, _row_in(layout.side_in), HEADING_IN + below_in(layout.x))
    return [partial(_draw, subject, layout, each, (i + 1, len(parts))) for i, each in enumerate(parts)]


def _layout(subject: Subject, n_heads: int, top: float) -> Layout:
    n, labels = subject.n_tokens, subject.labels
    named = labels if n <= MOST_NAMED else None
    if n <= MOST_WRITTEN:
        smallest, most = (side * n for side in WRITTEN_CELL_IN)
        widths = Widths(smallest, smallest, most)
    else:
        wanted = float(np.clip(n / TOKENS_PER_IN, SMALLEST_SIDE_IN, WANTED_SIDE_IN))
        widths = Widths(SMALLEST_SIDE_IN, wanted, LARGEST_SIDE_IN)
    columns, side = columns_and_width(n_heads, free_in(named), widths, _row_in, rest_in(named))
    x, y = (token_ticks(labels, n, side, across=across) for across in (True, False))
    return Layout(columns, side, x, y, top, n <= MOST_WRITTEN)


def _row_in(side_in: float) -> float:
    return row_in(side_in, has_title=True)


@style()
def _draw(subject: Subject, layout: Layout, parts: list[Part], page: tuple[int, int]) -> Figure:
    bands = [_band(subject, layout, part, has_bar=i == 0) for i, part in enumerate(parts)]
    lead = "Attention: the share of each query (row) that goes to each key (column), by layer and head."
    scale = "1" if layout.top == 1.0 else f"{layout.top:.3g}, the largest share in all layers and heads"
    notes = [
        f"Colors go from 0 to {scale}{'' if layout.is_written else ', by the square root of the share'}.",
        f"Where a pixel stands for several of the {subject.n_tokens} tokens, the largest share is drawn."
        if subject.n_tokens > n_pixels(layout.side_in)
        else "",
        subject.ticks_note(layout.x),
    ]
    layers = [subject.layers[part.layer] for part in parts]
    return draw_page(bands, subject.caption(lead, notes, layers, page))


def _band(subject: Subject, layout: Layout, part: Part, *, has_bar: bool) -> Band:
    maps = subject.sample["attention"].isel(layer=part.layer, head=slice(part.first, part.stop))
    values = maps.transpose("head", "query", "key").values
    decimals = decimals_for(layout.top)
    return Band(
        heading=f"layer {subject.layers[part.layer]}",
        panels=[
            Panel(f"head {head}", each, written(each, decimals) if layout.is_written else None)
            for head, each in enumerate(values, start=part.first)
        ],
        columns=layout.columns,
        side_in=(layout.side_in, layout.side_in),
        colors=Colors("viridis", 0.0, layout.top, "attention", is_root=not layout.is_written),
        x=layout.x,
        y=layout.y,
        names=("key", "query"),
        has_bar=has_bar,
    )
