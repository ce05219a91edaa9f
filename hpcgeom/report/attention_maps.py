"""Attention maps of one sample: a panel for each head of each layer."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from hpcgeom.report.cells import PANEL_GAP_IN, Ticks, decimals_for, n_pixels, token_ticks, written
from hpcgeom.report.draw import style
from hpcgeom.report.head_grids import Part, columns_and_width, pages
from hpcgeom.report.heat_maps import (
    HEADING_IN,
    MOST_NAMED,
    TITLE_IN,
    Band,
    Colors,
    Panel,
    below_in,
    draw_page,
    free_in,
)
from hpcgeom.report.subjects import Page, Subject

MOST_WRITTEN = 8
"""Maps of at most so many tokens carry their numbers."""
WRITTEN_CELL_IN = (0.3, 0.42)
"""Smallest and largest side of a cell that carries its number."""
SMALLEST_SIDE_IN, LARGEST_SIDE_IN = 0.95, 3.0
TOKENS_PER_IN = 150
"""Maps of many tokens are larger, up to `WIDEST_SIDE_IN`, before pixels stand for several cells."""
WIDEST_SIDE_IN = 2.1


class Layout(NamedTuple):
    """How all figures of a sample are laid out and colored."""

    columns: int
    side_in: float
    ticks: tuple[Ticks, Ticks]
    largest: float


def attention_pages(subject: Subject) -> list[Page]:
    """Figures of `attention(layer, head, query, key)`: queries down, keys across.

    Heads of a layer stand together, in as many rows as they need: up to six or seven maps beside each other,
    fewer where there are many tokens. All figures of a sample share their colors, from 0 to the largest share
    of all of its maps. Up to 8 tokens, each cell carries its number.
    """
    maps, labels = subject.sample["attention"], subject.labels
    n_heads, n = maps.sizes["head"], subject.n_tokens
    if n <= MOST_WRITTEN:
        smallest, largest = (side * n for side in WRITTEN_CELL_IN)
    else:
        smallest = float(np.clip(n / TOKENS_PER_IN, SMALLEST_SIDE_IN, WIDEST_SIDE_IN))
        largest = LARGEST_SIDE_IN
    free = free_in(labels if n <= MOST_NAMED else None)
    columns, side = columns_and_width(n_heads, free, smallest, largest)
    ticks = (token_ticks(labels, n, side, across=True), token_ticks(labels, n, side, across=False))
    shares = max(float(maps.isel(layer=i).max()) for i in range(maps.sizes["layer"]))
    layout = Layout(columns, side, ticks, shares)
    rest = HEADING_IN + below_in(ticks[0])
    parts = pages(maps.sizes["layer"], n_heads, columns, side + TITLE_IN + 0.5 * PANEL_GAP_IN, rest)
    return [partial(_draw, subject, layout, each, (i + 1, len(parts))) for i, each in enumerate(parts)]


@style()
def _draw(subject: Subject, layout: Layout, parts: list[Part], page: tuple[int, int]) -> Figure:
    bands = [_band(subject, layout, part, has_bar=i == 0) for i, part in enumerate(parts)]
    lead = "Attention: the share of each query (row) that goes to each key (column), by layer and head."
    n_cells = -(-subject.n_tokens // n_pixels(layout.side_in))
    notes = [
        f"Colors go from 0 to {layout.largest:.3g}, the largest share of all layers and heads of the sample.",
        f"Where a pixel stands for several of the {subject.n_tokens} tokens, the largest share is drawn."
        if n_cells > 1
        else "",
        subject.ticks_note(layout.ticks[0]),
    ]
    layers = [subject.layers[part.layer] for part in parts]
    return draw_page(bands, subject.caption(lead, notes, layers, page))


def _band(subject: Subject, layout: Layout, part: Part, *, has_bar: bool) -> Band:
    maps = subject.sample["attention"].isel(layer=part.layer, head=slice(part.first, part.stop))
    values = maps.transpose("head", "query", "key").values
    decimals = decimals_for(layout.largest)
    return Band(
        heading=f"layer {subject.layers[part.layer]}",
        panels=[
            Panel(f"head {head}", each, written(each, decimals) if len(each) <= MOST_WRITTEN else None)
            for head, each in enumerate(values, start=part.first)
        ],
        columns=layout.columns,
        side_in=(layout.side_in, layout.side_in),
        colors=Colors("viridis", 0.0, layout.largest, "attention"),
        x=layout.ticks[0],
        y=layout.ticks[1],
        names=("key", "query"),
        has_bar=has_bar,
    )
