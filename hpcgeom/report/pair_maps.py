"""Heat maps of one number between all layers of all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hpcgeom.report.draw import (
    MISSING_COLOR,
    WIDTH_IN,
    caption,
    columns_for,
    style,
    wrap_caption,
    write_caption,
)
from hpcgeom.report.select import SitePooling, kept_layers, models_by_size, site_poolings

LARGEST_CELL_IN = 0.42
SMALLEST_CELL_IN = 0.02
EASY_CELL_IN = 0.05
"""Mosaics stand beside each other if their cells are at least this large."""
LARGEST_SIDE_IN = 5.0
"""Of a map of one model."""
WRITTEN_CELL_IN = 0.3
"""Cells at least this large carry their number."""
GAP_IN = 0.07
TITLE_IN = 0.32
TICKS_IN = 0.28
BAR_IN = 0.9
"""Width of the color bar with its label."""
CHARACTER_IN = 0.08
"""Width of one character of a model's name."""


class Pairs(NamedTuple):
    """One number between all layers, and how it is drawn.

    Attributes
    ----------
    variable
        Of the results: where it has values, there is something to draw.
    values
        (site, pooling, model, layer, other_model, other_layer).
    label
        Of the color bar.
    lead
        What a cell shows, for the caption.
    k
        Size of the neighborhoods; None where there are none.
    is_symmetric
        Whether a pair of models is drawn once.
    """

    variable: str
    values: xr.DataArray
    label: str
    lead: str
    k: int | None = None
    is_symmetric: bool = True


class Mosaic(NamedTuple):
    """The maps of one site and pooling that stand together: models and the layers that each has."""

    place: SitePooling
    models: list[str]
    layers: list[npt.NDArray[np.int64]]

    @property
    def n_cells(self) -> int:
        """Layers of all models together: cells along one side."""
        return sum(layers.size for layers in self.layers)


class Room(NamedTuple):
    """Inches that each mosaic takes: side of a cell, names at the left and below, side of all maps."""

    cell: float
    left: float
    below: float
    side: float


def mosaics(results: xr.Dataset, pairs: Pairs) -> list[Mosaic]:
    """What there is to draw: all models in one mosaic, or one each where models were not compared."""
    found = []
    models = models_by_size(results, pairs.variable)
    for place in site_poolings(results, pairs.variable):
        known = pairs.values.sel(site=place.site, pooling=place.pooling).notnull()
        measured = known.any(["other_model", "other_layer"]).transpose("model", "layer")
        kept = {
            model: np.flatnonzero(kept_layers(results, model, place) | measured.sel(model=model).values)
            for model in models
        }
        layers = {model: results["layer"].values[row] for model, row in kept.items() if row.size}
        compared = known.any(["layer", "other_layer"]).transpose("model", "other_model").values
        if (compared & ~np.eye(compared.shape[0], dtype=bool)).any():
            found.append(Mosaic(place, list(layers), list(layers.values())))
        else:
            found += [Mosaic(place, [model], [own]) for model, own in layers.items()]
    return found


def pair_values(pairs: Pairs, mosaic: Mosaic, row: int, column: int) -> npt.NDArray[np.float64]:
    """Numbers (L, M) of the layers of two models; from the mirrored pair where only that was measured."""

    def one_way(a: int, b: int) -> npt.NDArray[np.float64]:
        at = {"site": mosaic.place.site, "pooling": mosaic.place.pooling}
        found = pairs.values.sel({**at, "model": mosaic.models[a], "other_model": mosaic.models[b]})
        found = found.sel(layer=mosaic.layers[a], other_layer=mosaic.layers[b])
        return np.asarray(found.transpose("layer", "other_layer").values, dtype=np.float64)

    values = one_way(row, column)
    return one_way(column, row).T if pairs.is_symmetric and not np.isfinite(values).any() else values


@style()
def draw_pairs(results: xr.Dataset, pairs: Pairs) -> Figure:
    """Heat maps of one number between two layers, for each pair of models.

    One mosaic for each site and pooling: models in order of size down and across, one square cell for each
    pair of layers; the lower triangle of pairs of models where the number is symmetric. The figure grows
    beyond its usual width where the cells would be too small to see.
    """
    drawn = mosaics(results, pairs)
    columns = columns_for(len(drawn))
    while columns > 1 and _room(drawn, columns).cell < EASY_CELL_IN:
        columns -= 1
    room = _room(drawn, columns)
    used_in = columns * (room.left + room.side) + BAR_IN
    width_in = max(WIDTH_IN, used_in)
    lines, caption_in = wrap_caption(_caption(results, drawn, pairs), width_in)
    rows = -(-len(drawn) // columns)
    row_in = TITLE_IN + room.side + room.below
    height_in = rows * row_in + caption_in
    figure = Figure(figsize=(width_in, height_in))
    for i, each in enumerate(drawn):
        x = i % columns * (room.left + room.side) + room.left
        top = height_in - i // columns * row_in - TITLE_IN
        title = (
            f"{each.models[0]}: {each.place.title}"
            if len(each.models) < _n_models(drawn)
            else each.place.title
        )
        figure.text(x / width_in, (top + 0.09) / height_in, title, fontsize=10)
        _draw_mosaic(figure, pairs, each, room, (x, top))
    _draw_bar(figure, used_in - BAR_IN + 0.15, height_in - TITLE_IN, min(room.side, 2.6), pairs.label)
    write_caption(figure, lines, caption_in)
    return figure


def _n_models(drawn: Sequence[Mosaic]) -> int:
    return len({model for each in drawn for model in each.models})


def _caption(results: xr.Dataset, drawn: Sequence[Mosaic], pairs: Pairs) -> str:
    lead = f"{pairs.lead}; one cell for each pair of layers, gray where it is undefined."
    models = list(dict.fromkeys(model for each in drawn for model in each.models))
    ks = [] if pairs.k is None else [pairs.k]
    return caption(results, lead, places=[each.place for each in drawn], models=models, k=ks)


def _room(drawn: Sequence[Mosaic], columns: int) -> Room:
    """Cells as large as the width allows, within bounds; names are slanted where maps are narrow."""
    widest = max(drawn, key=lambda each: each.n_cells)
    alone = len(widest.models) == 1
    name_in = max(len(model) for model in widest.models) * CHARACTER_IN
    left = 0.25 + (TICKS_IN if alone else TICKS_IN + name_in)
    gaps = GAP_IN * (len(widest.models) - 1)
    free = (WIDTH_IN - BAR_IN) / columns - left - gaps
    free = min(free, LARGEST_SIDE_IN) if alone else free
    cell = float(np.clip(free / widest.n_cells, SMALLEST_CELL_IN, LARGEST_CELL_IN))
    below = TICKS_IN + 0.25
    if not alone and not _names_fit(widest, cell):
        below = TICKS_IN + 0.15 + 0.65 * name_in
    return Room(cell, left, below, widest.n_cells * cell + gaps)


def _names_fit(mosaic: Mosaic, cell_in: float) -> bool:
    pairs = zip(mosaic.models, mosaic.layers, strict=True)
    return all(len(model) * CHARACTER_IN <= layers.size * cell_in for model, layers in pairs)


def _draw_mosaic(
    figure: Figure, pairs: Pairs, mosaic: Mosaic, room: Room, corner: tuple[float, float]
) -> None:
    """Maps of pairs of models, from the upper left `corner` (inches) down and right."""
    width_in, height_in = figure.get_size_inches()
    starts = [
        sum(layers.size for layers in mosaic.layers[:i]) * room.cell + i * GAP_IN
        for i in range(len(mosaic.models))
    ]
    sides = [layers.size * room.cell for layers in mosaic.layers]
    last = len(mosaic.models) - 1
    for row in range(last + 1):
        for column in range(row + 1 if pairs.is_symmetric else last + 1):
            values = pair_values(pairs, mosaic, row, column)
            box = (
                corner[0] + starts[column],
                corner[1] - starts[row] - sides[row],
                sides[column],
                sides[row],
            )
            axes = figure.add_axes(
                (box[0] / width_in, box[1] / height_in, box[2] / width_in, box[3] / height_in)
            )
            _draw_map(axes, values, room.cell)
            down = _ticks(mosaic.layers[row], room.cell, row == last) if column == 0 else {}
            across = _ticks(mosaic.layers[column], room.cell, column == last) if row == last else {}
            axes.set_yticks(list(down), list(down.values()))
            axes.set_xticks(list(across), list(across.values()))
            if last == 0:
                axes.set_ylabel("layer")
                axes.set_xlabel("layer")
    if last > 0:
        _write_names(
            figure, mosaic, room, corner, [s + side / 2 for s, side in zip(starts, sides, strict=True)]
        )


def _draw_map(axes: Axes, values: npt.NDArray[np.float64], cell_in: float) -> None:
    """One pair of models, square cells, the first layers at the upper left."""
    axes.grid(False)
    axes.imshow(
        values,
        cmap=mpl.colormaps["viridis"].with_extremes(bad=MISSING_COLOR),
        vmin=0.0,
        vmax=1.0,
        interpolation="none",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2, pad=2)
    if cell_in < WRITTEN_CELL_IN:
        return
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            written = f"{value:.2f}".replace("0.", ".", 1)
            color = "white" if value < 0.6 else "black"
            axes.text(float(j), float(i), written, ha="center", va="center", color=color, fontsize=8)


def _ticks(layers: npt.NDArray[np.int64], cell_in: float, at_end: bool) -> dict[int, str]:
    """Positions and numbers of layers with room for their labels, also beside the 0 of the next map."""
    if layers.size == 1:
        return {}
    step = next((each for each in (1, 2, 5, 10, 20) if each * cell_in >= 0.28), 50)
    keep_off = 0.0 if at_end else 0.2
    positions = [
        i for i in range(0, layers.size, step) if (layers.size - i) * cell_in + GAP_IN >= keep_off or i == 0
    ]
    return {i: str(layers[i]) for i in positions}


def _write_names(
    figure: Figure, mosaic: Mosaic, room: Room, corner: tuple[float, float], centers: Sequence[float]
) -> None:
    """Names of the models at the left of their rows and below their columns."""
    width_in, height_in = figure.get_size_inches()
    bottom = corner[1] - centers[-1] - mosaic.layers[-1].size * room.cell / 2 - TICKS_IN + 0.02
    fit = _names_fit(mosaic, room.cell)
    for model, center in zip(mosaic.models, centers, strict=True):
        at_left = ((corner[0] - TICKS_IN - 0.04) / width_in, (corner[1] - center) / height_in)
        figure.text(*at_left, model, ha="right", va="center", fontsize=9)
        at_foot = ((corner[0] + center + (0.0 if fit else 0.05)) / width_in, bottom / height_in)
        figure.text(
            *at_foot,
            model,
            ha="center" if fit else "right",
            va="top",
            rotation=0 if fit else 40,
            rotation_mode="default" if fit else "anchor",
            fontsize=9,
        )


def _draw_bar(figure: Figure, left_in: float, top_in: float, long_in: float, label: str) -> None:
    width_in, height_in = figure.get_size_inches()
    long_in = max(long_in, 1.2)
    axes = figure.add_axes(
        (left_in / width_in, (top_in - long_in) / height_in, 0.14 / width_in, long_in / height_in)
    )
    bar = figure.colorbar(ScalarMappable(Normalize(0.0, 1.0), mpl.colormaps["viridis"]), cax=axes)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
