"""What a model's head says of every token of one sample: maps of few outputs, tables of the best of many."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from hpcgeom.report.cells import (
    CHARACTER_IN,
    LINE_IN,
    all_ticks,
    decimals_for,
    number_ticks,
    written,
    written_shares,
)
from hpcgeom.report.draw import CATEGORIES, TOP_IN, WIDTH_IN, style, wrap_caption, write_caption
from hpcgeom.report.feature_maps import beyond_note, centered_colors
from hpcgeom.report.head_grids import even_groups
from hpcgeom.report.heat_maps import Band, Colors, Panel, draw_page, free_in
from hpcgeom.report.subjects import Page, Subject

MOST_OUTPUTS = 64
"""Outputs that are all drawn; of more, the `N_BEST` of each token are listed."""
MOST_WRITTEN = 14
"""Maps of at most so many outputs carry their numbers."""
N_BEST = 10
ROW_IN, WRITTEN_ROW_IN, TABLE_ROW_IN = 0.145, 0.22, 0.36
SMALLEST_HEIGHT_IN, LARGEST_CELL_IN = 1.15, 0.5
ROWS_OF_PAGE_IN = 8.6
WORDS = {"probabilities": "probability", "logits": "logit"}


def token_pages(subject: Subject) -> list[Page]:
    """Figures of `probabilities(position, token)` or `logits(position, token)`: positions down.

    Up to 64 outputs, a map of all of them, with numbers where there are at most 14. Of more outputs, a table
    of the ten largest of each position. Many positions are spread over several figures.
    """
    n_outputs, n = subject.sample.sizes["token"], subject.n_tokens
    if n_outputs > MOST_OUTPUTS:
        groups = even_groups(n, -(-n // int(ROWS_OF_PAGE_IN / TABLE_ROW_IN)))
        found = _best_of(subject, groups)
        return [
            partial(_draw_best, subject, found, _slice(group), (i + 1, len(groups)))
            for i, group in enumerate(groups)
        ]
    row_in = WRITTEN_ROW_IN if n_outputs <= MOST_WRITTEN else ROW_IN
    groups = even_groups(n, -(-n // int(ROWS_OF_PAGE_IN / row_in)))
    return [
        partial(_draw_all, subject, _slice(group), (i + 1, len(groups))) for i, group in enumerate(groups)
    ]


class Best(NamedTuple):
    """Outputs with the largest values of each position (P, n), largest first, and these values."""

    tokens: npt.NDArray[np.int64]
    values: npt.NDArray[np.floating]


def _best_of(subject: Subject, groups: Sequence[Sequence[int]]) -> Best:
    """Read some positions at a time: all outputs of all positions may be much."""
    values = subject.sample[subject.site].transpose("position", "token")
    parts = [best(values.isel(position=_slice(group)).values, N_BEST) for group in groups]
    return Best(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def best(values: npt.NDArray[np.floating], n: int) -> Best:
    """The `n` largest values of each row, largest first, equal ones in the order of their columns."""
    columns = np.argsort(-values, axis=1, kind="stable")[:, :n]
    return Best(columns, np.take_along_axis(values, columns, axis=1))


def _slice(numbers: Sequence[int]) -> slice:
    """Of consecutive numbers."""
    return slice(numbers[0], numbers[-1] + 1)


def row_labels(subject: Subject, positions: slice) -> list[str]:
    """Position and token of each row."""
    labels = subject.labels
    rows = range(positions.start, positions.stop)
    return [str(row) if labels is None else f"{row}: {labels[row]}" for row in rows]


def row_name(subject: Subject) -> str:
    """Name of the axis that `row_labels` are on."""
    return "position" if subject.labels is None else f"position: {subject.token_word}"


def _colors(subject: Subject, values: npt.NDArray[np.floating]) -> Colors:
    """From 0 for probabilities, centered on 0 for logits: one scale for all positions of the sample."""
    word = WORDS[subject.site]
    if subject.site == "probabilities":
        return Colors("viridis", 0.0, float(values.max()), word)
    return centered_colors(values, word)


@style()
def _draw_all(subject: Subject, positions: slice, page: tuple[int, int]) -> Figure:
    values = subject.sample[subject.site].transpose("position", "token").values
    n_outputs, labels = values.shape[1], row_labels(subject, positions)
    is_written = n_outputs <= MOST_WRITTEN
    width = min(free_in(labels), LARGEST_CELL_IN * n_outputs)
    tokens = [subject.name(token) for token in range(n_outputs)]
    cell, longest = width / n_outputs, max(map(len, tokens)) * CHARACTER_IN
    if cell >= LINE_IN:
        x = all_ticks(tokens, upright=longest + 0.05 > cell)
    else:
        x = number_ticks(range(n_outputs), width, across=True)
    shown = values[positions]
    texts = written(shown, decimals_for(float(np.abs(values).max()))) if is_written else None
    band = Band(
        heading="",
        panels=[Panel("", shown, texts)],
        columns=1,
        side_in=(width, max(SMALLEST_HEIGHT_IN, (WRITTEN_ROW_IN if is_written else ROW_IN) * len(shown))),
        colors=_colors(subject, values),
        x=x,
        y=all_ticks(labels),
        names=(f"output: {subject.token_word}", row_name(subject)),
    )
    of = "Probabilities" if subject.site == "probabilities" else "Logits"
    lead = f"{of} that the model's head gives at every position of the input (rows) to each output."
    return draw_page([band], subject.caption(lead, [beyond_note([band], "values")], page=page))


def _numbers_and_colors(
    subject: Subject, largest: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.str_], Colors]:
    """What is written of the largest values of each position, and their colors."""
    low, high, word = float(largest.min()), float(largest.max()), WORDS[subject.site]
    if subject.site == "probabilities":
        return written_shares(largest), Colors("viridis", 0.0, high, word)
    colors = Colors("viridis", low, high if high > low else low + 1.0, word)
    return written(largest, decimals_for(max(abs(low), abs(high)))), colors


@style()
def _draw_best(subject: Subject, found: Best, positions: slice, page: tuple[int, int]) -> Figure:
    numbers, colors = _numbers_and_colors(subject, found.values)
    names = np.array([[subject.name(token) for token in row] for row in found.tokens[positions].tolist()])
    labels = row_labels(subject, positions)
    band = Band(
        heading="",
        panels=[
            Panel("", found.values[positions], np.char.add(np.char.add(names, "\n"), numbers[positions]))
        ],
        columns=1,
        side_in=(free_in(labels), max(SMALLEST_HEIGHT_IN, TABLE_ROW_IN * len(labels))),
        colors=colors,
        x=all_ticks([str(rank + 1) for rank in range(N_BEST)]),
        y=all_ticks(labels),
        names=("rank", row_name(subject)),
    )
    lead = (
        f"The {N_BEST} outputs to which the model's head gives the largest {subject.site} at every position "
        f"of the input (rows), of {subject.sample.sizes['token']:,}: {subject.token_word} above, "
        f"{WORDS[subject.site]} below."
    )
    return draw_page([band], subject.caption(lead, page=page))


def class_page(subject: Subject) -> Page:
    """A figure of `probabilities(class)` or `logits(class)`: bars of the ten largest."""
    return partial(_draw_classes, subject)


@style()
def _draw_classes(subject: Subject) -> Figure:
    values = subject.sample[subject.site].values
    shown = best(values[None], N_BEST).tokens[0]
    word = WORDS[subject.site]
    lead = (
        f"Classes with the largest {subject.site}, of {values.size:,}."
        if values.size > N_BEST
        else f"{word.capitalize()} of every class."
    )
    lines, caption_in = wrap_caption(subject.caption(lead), WIDTH_IN)
    height_in = TOP_IN + 0.26 * len(shown) + 0.75 + caption_in
    figure = Figure(figsize=(WIDTH_IN, height_in))
    left = 1.1 / WIDTH_IN
    axes = figure.add_axes((left, (caption_in + 0.6) / height_in, 0.8, 0.26 * len(shown) / height_in))
    axes.grid(visible=False, axis="y")
    bars = axes.barh(range(len(shown)), values[shown], height=0.7, color=CATEGORIES[0])
    axes.bar_label(bars, [f"{value:.3g}" for value in values[shown]], padding=3, fontsize=8.5)
    axes.set_yticks(range(len(shown)), [str(each) for each in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_ylabel("class")
    axes.set_xlabel(word)
    write_caption(figure, lines, caption_in)
    return figure
