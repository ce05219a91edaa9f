"""Activations of all tokens of one sample: a panel for each layer, or for each head of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hpcgeom.errors import InputError
from hpcgeom.report.cells import (
    Ticks,
    decimals_for,
    n_pixels,
    number_ticks,
    token_ticks,
    written,
)
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

MOST_TOKENS, MOST_FEATURES = 8, 12
"""Panels of at most so many carry their numbers."""
WRITTEN_CELL_IN = (0.42, 0.26)
"""Width and height of a cell that carries its number."""
SMALLEST_WIDTH_IN, WANTED_WIDTH_IN, LARGEST_WIDTH_IN = 0.9, 2.1, 3.0
FEATURES_PER_IN = 100
"""Panels of more features are wider, up to the wanted width, as long as the heads of a layer fit a page."""
TOKEN_IN, NAMED_TOKEN_IN = 0.04, 0.14
"""Height of a token, and of one beside which its name stands, as long as all of them have the room."""
SMALLEST_HEIGHT_IN, LARGEST_HEIGHT_IN = 0.75, 1.8
OUTLIER = 2.0
"""Colors end at a percentile of the absolute values of a layer if the largest is so many times as large."""
PERCENTILE = 99.5
SITE_WORDS = {
    "token_embed": "Token embeddings",
    "pos_embed": "Position embeddings",
    "resid": "Residual stream",
    "hidden_states": "Hidden states",
    "ln_1": "Normed inputs of attention",
    "q": "Queries",
    "k": "Keys",
    "v": "Values",
    "z": "Attention-weighted values",
    "attn_out": "Outputs of attention",
    "resid_mid": "Residual stream between attention and MLP",
    "ln_2": "Normed inputs of the MLP",
    "mlp_pre": "Inputs of the MLP's activation function",
    "mlp_act": "Outputs of the MLP's activation function",
    "mlp_out": "Outputs of the MLP",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How all figures of a sample at a site are laid out; `n_panels` a layer, of `n_features` each."""

    n_panels: int
    n_features: int
    columns: int
    side_in: tuple[float, float]
    x: Ticks
    y: Ticks
    is_written: bool


def feature_pages(subject: Subject) -> list[Page]:
    """Figures of `activations(layer, position, feature)`: tokens down, features across.

    Colors are centered on 0, one scale for each layer. Where the features are those of heads, each head has a
    panel of its own, and those of a layer stand together. Up to 8 tokens of up to 12 features, each cell
    carries its number.

    Raises
    ------
    InputError
        The features cannot be cut into the subject's number of heads.
    """
    n_layers, n_features = (subject.sample["activations"].sizes[dim] for dim in ("layer", "feature"))
    n_panels = subject.n_heads or 1
    if n_features % n_panels:
        raise InputError(
            f"details of sample '{subject.sample.attrs['sample']}', site '{subject.site}': expected features "
            f"of {n_panels} heads, found {n_features} features: correct the group's attribute n_heads"
        )
    layout = _layout(subject, n_panels, n_features // n_panels)
    row = row_in(layout.side_in[1], has_title=subject.n_heads is not None)
    parts = pages(n_layers, layout.n_panels, layout.columns, row, HEADING_IN + below_in(layout.x))
    return [partial(_draw, subject, layout, each, (i + 1, len(parts))) for i, each in enumerate(parts)]


def _layout(subject: Subject, n_panels: int, n_features: int) -> Layout:
    n, labels = subject.n_tokens, subject.labels
    free = free_in(labels if n <= MOST_NAMED else None)
    is_written = n <= MOST_TOKENS and n_features <= MOST_FEATURES
    if is_written:
        cell, height = WRITTEN_CELL_IN[0] * n_features, WRITTEN_CELL_IN[1] * n
        widths = Widths(cell, cell, 1.25 * cell)
    else:
        height = float(np.clip(n * TOKEN_IN, SMALLEST_HEIGHT_IN, LARGEST_HEIGHT_IN))
        height = max(height, n * NAMED_TOKEN_IN) if n * NAMED_TOKEN_IN <= LARGEST_HEIGHT_IN else height
        wanted = float(np.clip(n_features / FEATURES_PER_IN, SMALLEST_WIDTH_IN, WANTED_WIDTH_IN))
        widths = Widths(SMALLEST_WIDTH_IN, wanted, free if n_panels == 1 else LARGEST_WIDTH_IN)
    row = row_in(height, has_title=subject.n_heads is not None)
    columns, width = columns_and_width(n_panels, free, widths, lambda _: row, rest_in(None))
    return Layout(
        n_panels=n_panels,
        n_features=n_features,
        columns=columns,
        side_in=(width, height),
        x=number_ticks(range(n_features), width, across=True),
        y=token_ticks(labels, n, height, across=False),
        is_written=is_written,
    )


@style()
def _draw(subject: Subject, layout: Layout, parts: list[Part], page: tuple[int, int]) -> Figure:
    bands = [_band(subject, layout, part) for part in parts]
    word = SITE_WORDS.get(subject.site, "Activations")
    of = "by layer and head" if subject.n_heads else "by layer"
    lead = f"{word} ({subject.site}) of all tokens (rows), {of}; colors are centered on 0, one scale a layer."
    per_pixel = [
        layout.n_features > n_pixels(layout.side_in[0]),
        subject.n_tokens > n_pixels(layout.side_in[1]),
    ]
    notes = [
        beyond_note(bands, "values of its layer"),
        "Where a pixel stands for several cells, the value farthest from 0 is drawn."
        if any(per_pixel)
        else "",
        subject.ticks_note(layout.y),
    ]
    layers = [subject.layers[part.layer] for part in parts]
    return draw_page(bands, subject.caption(lead, notes, layers, page))


def _band(subject: Subject, layout: Layout, part: Part) -> Band:
    values = subject.sample["activations"].isel(layer=part.layer).transpose("position", "feature").values
    colors = centered_colors(values, "activation")
    decimals = decimals_for(float(np.abs(values).max()))
    by_head = values.reshape(subject.n_tokens, layout.n_panels, layout.n_features)
    return Band(
        heading=f"layer {subject.layers[part.layer]}",
        panels=[
            Panel(
                f"head {head}" if subject.n_heads else "",
                by_head[:, head],
                written(by_head[:, head], decimals) if layout.is_written else None,
            )
            for head in range(part.first, part.stop)
        ],
        columns=layout.columns,
        side_in=layout.side_in,
        colors=colors,
        x=layout.x,
        y=layout.y,
        names=("feature", subject.token_axis(layout.y)),
    )


def beyond_note(bands: Sequence[Band], values: str) -> str:
    """How many values have the colors of the ends of a scale."""
    cut = any(band.colors.extend == "both" for band in bands)
    return f"Beyond a scale with arrows lie {100 - PERCENTILE:g} % of the {values}." if cut else ""


def centered_colors(values: npt.NDArray[np.floating], label: str) -> Colors:
    """Colors from blue over white at 0 to red; a few values far out do not pale all others."""
    sizes = np.abs(values)
    largest, most = float(sizes.max()), float(np.percentile(sizes, PERCENTILE))
    if 0.0 < most * OUTLIER < largest:
        return Colors("RdBu_r", -most, most, label, "both")
    limit = largest or 1.0
    return Colors("RdBu_r", -limit, limit, label)
