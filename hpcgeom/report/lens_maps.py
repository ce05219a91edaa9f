"""The logit lens of one sample: what the head would say after every layer (nostalgebraist 2020)."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from hpcgeom.report.cells import (
    CHARACTER_IN,
    all_ticks,
    decimals_for,
    n_pixels,
    number_ticks,
    token_ticks,
    written,
)
from hpcgeom.report.draw import style
from hpcgeom.report.head_grids import PAGE_IN, even_groups
from hpcgeom.report.heat_maps import Band, Colors, Panel, draw_page, free_in
from hpcgeom.report.subjects import Page, Subject
from hpcgeom.report.token_maps import row_labels, row_name

MEASURES = {
    "entropy": ("entropy of the head's distribution", "nat"),
    "kl_to_last": ("KL divergence from the distribution of the last layer", "nat"),
    "cosine_to_last": ("cosine to the last layer, after the final norm", "cosine"),
}
LAYER_IN = 0.08
SMALLEST_HEIGHT_IN, LARGEST_HEIGHT_IN = 1.0, 2.3
LARGEST_CELL_IN = 0.5
MOST_WRITTEN = 12
"""Maps of at most so many tokens, and as few layers, carry their numbers."""
TABLE_ROW_IN = 0.2


def measure_page(subject: Subject) -> Page:
    """A figure of `entropy`, `kl_to_last` and `cosine_to_last` (layer, position): layers down."""
    return partial(_draw_measures, subject)


@style()
def _draw_measures(subject: Subject) -> Figure:
    n_layers, n = len(subject.layers), subject.n_tokens
    height = float(np.clip(n_layers * LAYER_IN, SMALLEST_HEIGHT_IN, LARGEST_HEIGHT_IN))
    width = min(free_in(None), LARGEST_CELL_IN * n)
    is_written = n <= MOST_WRITTEN and height / n_layers >= TABLE_ROW_IN
    x = token_ticks(subject.labels, n, width, across=True)
    bands = []
    for name, (heading, unit) in MEASURES.items():
        values = subject.sample[name].transpose("layer", "position").values
        low = min(0.0, float(values.min()))
        texts = written(values, decimals_for(float(np.abs(values).max()))) if is_written else None
        high = 1.0 if name == "cosine_to_last" else float(values.max())
        bands.append(
            Band(
                heading=heading,
                panels=[Panel("", values, texts)],
                columns=1,
                side_in=(width, height),
                colors=Colors("viridis", low, max(high, low + 1e-6), unit),
                x=x,
                y=number_ticks(subject.layers, height, across=False),
                names=(subject.token_axis(x), "layer"),
            )
        )
    lead = "Logit lens: what the model's head would say of every token after each layer (rows)."
    notes = [
        "Where a pixel stands for several tokens, the value farthest from 0 is drawn."
        if n > n_pixels(width)
        else "",
        subject.ticks_note(x),
    ]
    return draw_page(bands, subject.caption(lead, notes))


def top_token_pages(subject: Subject) -> list[Page]:
    """Figures of `top_token` (layer, position, top): the most probable token of each layer and position.

    Layers down, positions across, as many as have room for the token's name in each cell; the rest follows in
    further figures.
    """
    layers, n = subject.sample["top_token"].sizes["layer"], subject.n_tokens
    rows = min(layers, int((PAGE_IN - 1.0) / TABLE_ROW_IN))
    columns = max(1, int(free_in(None) / _cell_in(subject)))
    parts = [
        (slice(down[0], down[-1] + 1), slice(across[0], across[-1] + 1))
        for across in even_groups(n, -(-n // columns))
        for down in even_groups(layers, -(-layers // rows))
    ]
    return [partial(_draw_tokens, subject, *part, (i + 1, len(parts))) for i, part in enumerate(parts)]


def _cell_in(subject: Subject) -> float:
    tokens = np.unique(subject.sample["top_token"].isel(top=0).values)
    return max(0.2, max(len(subject.name(token)) for token in tokens.tolist()) * CHARACTER_IN + 0.06)


@style()
def _draw_tokens(subject: Subject, layers: slice, positions: slice, page: tuple[int, int]) -> Figure:
    first = subject.sample[["top_token", "top_probability"]].isel(top=0)
    shown = first.isel(layer=layers, position=positions).transpose("layer", "position")
    tokens = shown["top_token"].values
    numbers = [int(layer) for layer in shown["layer"].values]
    cell = min(LARGEST_CELL_IN, free_in(None) / tokens.shape[1])
    largest = float(first["top_probability"].max())
    band = Band(
        heading="",
        panels=[
            Panel(
                "",
                shown["top_probability"].values,
                np.array([[subject.name(token) for token in row] for row in tokens.tolist()]),
            )
        ],
        columns=1,
        side_in=(cell * tokens.shape[1], TABLE_ROW_IN * len(tokens)),
        colors=Colors("viridis", 0.0, largest, "probability"),
        x=all_ticks(row_labels(subject, positions), upright=True),
        y=all_ticks([str(layer) for layer in numbers]),
        names=(row_name(subject), "layer"),
    )
    lead = (
        f"Logit lens: the {subject.token_word} that the model's head would find most probable after each "
        f"layer (rows) at every position of the input (columns). Colors go from 0 to {largest:.3g}, the "
        "largest probability of the sample."
    )
    return draw_page([band], subject.caption(lead, layers=numbers, page=page))
