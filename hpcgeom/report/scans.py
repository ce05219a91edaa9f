"""Figures of the scale that an intrinsic dimension depends on: ranks (GRIDE), shares of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from hpcgeom.report.draw import (
    MISSING_COLOR,
    add_caption,
    caption,
    color_bar,
    columns_for,
    label_outer,
    panel_grid,
    style,
)
from hpcgeom.report.select import (
    Scan,
    SitePooling,
    listed,
    models_by_size,
    number_ranges,
    scan,
    site_poolings,
    status_words,
)
from hpcgeom.types import Status

MOST_LINES = 7
"""Layers drawn as lines of one panel."""
ID = "intrinsic dimension"
RANK = "rank n₂ of the neighbor"
FRACTIONS = (
    ("decimated_dimension", "data_fraction", "share of points kept"),
    ("twonn_by_mu_fraction", "mu_fraction", "share of ratios kept"),
)


class _Panel(NamedTuple):
    title: str
    model: str
    place: SitePooling
    scan: Scan


def _panels(results: xr.Dataset, variable: str, dim: str) -> list[_Panel]:
    """One panel for each model, site and pooling that has values."""
    places, models = site_poolings(results, variable), models_by_size(results, variable)
    found = []
    for model in models:
        for place in places:
            values = scan(results, variable, dim, model, place)
            titles = [model] * (len(models) > 1) + [place.title] * (len(places) > 1 or len(models) == 1)
            if values.layer.size:
                found.append(_Panel(": ".join(titles), model, place, values))
    return found


def _columns(panels: Sequence[_Panel]) -> int:
    """Two or three sites and poolings side by side where there are several models, one row for each."""
    n_places = len({panel.place for panel in panels})
    if n_places in (2, 3) and len(panels) == n_places * len({panel.model for panel in panels}):
        return n_places
    return columns_for(len(panels))


def handful(n: int, most: int = MOST_LINES) -> list[int]:
    """At most `most` positions spread evenly over 0..n-1, both ends included."""
    return sorted({round(each) for each in np.linspace(0, n - 1, min(n, most))}) if n else []


def _color(depth: float) -> str:
    return to_hex(mpl.colormaps["viridis"](0.05 + 0.85 * depth))


def _draw_scan(axes: Axes, values: Scan) -> None:
    """A line with a band for each of a handful of layers, colored by depth."""
    for row in handful(values.layer.size):
        color = _color(values.depth[row])
        axes.plot(values.x, values.value[row], "o-", color=color, label=f"layer {values.layer[row]}")
        low, high = values.value[row] - values.error[row], values.value[row] + values.error[row]
        known = np.isfinite(low)
        axes.fill_between(values.x, low, high, where=known, color=color, alpha=0.15, linewidth=0)


def _depth_bar(figure: Figure, axes: Sequence[Axes], panels: Sequence[_Panel]) -> None:
    """What the colors of the lines mean; left out where every panel has one layer."""
    if max(panel.scan.layer.size for panel in panels) < 2:
        return
    colors = [_color(depth) for depth in np.linspace(0.0, 1.0, 64)]
    shades = mpl.colors.ListedColormap(colors)
    color_bar(figure, axes, ScalarMappable(Normalize(0.0, 1.0), shades), "relative depth")


def _log_ticks(axes: Axes, values: np.ndarray, columns: int) -> None:
    """Ticks at measured values only, on a logarithmic axis, every second or third where there are many."""
    axes.set_xscale("log", base=2)
    written = [_written(value) for value in values]
    step = -(-len(written) * (max(map(len, written)) + 2) // (90 // columns))
    labels = [text if (len(written) - 1 - i) % step == 0 else "" for i, text in enumerate(written)]
    axes.set_xticks(values, labels)
    axes.xaxis.set_minor_locator(NullLocator())


def _written(value: float) -> str:
    """Whole numbers and whole shares (1/8) as such."""
    if value == round(value):
        return f"{value:.0f}"
    return f"1/{1 / value:.0f}" if value < 1 and abs(1 / value - round(1 / value)) < 1e-6 else f"{value:.3g}"


def _layers_note(panels: Sequence[_Panel]) -> str:
    if max(panel.scan.layer.size for panel in panels) < 2:
        return ""
    chosen = {tuple(panel.scan.layer[handful(panel.scan.layer.size)].tolist()) for panel in panels}
    if len(chosen) == 1:
        return f"Lines: layers {number_ranges(chosen.pop())}."
    if max(panel.scan.layer.size for panel in panels) <= MOST_LINES:
        return "Lines: all layers with a value."
    return f"Lines: at most {MOST_LINES} layers of each model, evenly spread from the first to the last."


def _gaps_note(results: xr.Dataset) -> str:
    """Why some points of GRIDE's lines are missing."""
    if "gride_status" not in results:
        return ""
    words = status_words(results, "gride_status")
    codes = set(np.unique(results["gride_status"].values).tolist()) - {Status.OK, Status.ABSENT}
    found = [words.get(code, f"status {code}").replace("_", " ") for code in sorted(codes)]
    return f"Left out where GRIDE is undefined: {listed(found)}." if found else ""


def _caption(results: xr.Dataset, lead: str, panels: Sequence[_Panel], notes: Sequence[str] = ()) -> str:
    places = list(dict.fromkeys(panel.place for panel in panels))
    models = list(dict.fromkeys(panel.model for panel in panels))
    return caption(results, lead, places=places, models=models, notes=[note for note in notes if note])


def _gride_bands(results: xr.Dataset) -> str:
    """What the error of GRIDE is: that of halves reaches as far as halves of the lists."""
    known = np.zeros(results.sizes["n2"], dtype=np.bool_)
    if "gride_resampling_error" in results:
        found = results["gride_resampling_error"].notnull()
        known = found.any([dim for dim in found.dims if dim != "n2"]).values
    if known.all():
        return "one standard error"
    of_ratios = "of independent ratios, which is too short"
    if not known.any():
        return f"the standard error {of_ratios}"
    return f"one standard error, beyond n₂ = {results['n2'].values[known].max()} that {of_ratios}"


@style()
def gride(results: xr.Dataset) -> Figure:
    """Intrinsic dimension against the scale at which GRIDE measures it: rank n2 of the farther neighbor.

    One panel for each model, site and pooling; at most seven layers each, colored by relative depth. The rank
    and not the distance is the scale, so that layers of different norm share an axis; mean distances
    are in `gride_distance`.
    """
    panels = _panels(results, "gride", "n2")
    columns = _columns(panels)
    figure, (axes,) = panel_grid([len(panels)], columns)
    for each, panel in zip(axes, panels, strict=True):
        each.set_title(panel.title)
        _draw_scan(each, panel.scan)
    _log_ticks(axes[0], panels[0].scan.x, columns)
    axes[0].set_ylim(bottom=0.0)
    label_outer(axes, columns, RANK, ID)
    _depth_bar(figure, axes, panels)
    lead = (
        "Intrinsic dimension by GRIDE from the ratio of the distances to neighbors n₂ and n₁ = n₂/2: "
        f"the larger n₂, the larger the scale. Bands are {_gride_bands(results)}."
    )
    notes = [_layers_note(panels), _gaps_note(results)]
    add_caption(figure, _caption(results, lead, panels, notes))
    return figure


@style()
def gride_by_layer(results: xr.Dataset) -> Figure:
    """Heat maps of the intrinsic dimension by GRIDE: all layers against the rank n2.

    Layers of one model stand at their number; those of several models at their relative depth.
    """
    panels = _panels(results, "gride", "n2")
    columns = _columns(panels)
    figure, (axes,) = panel_grid([len(panels)], columns)
    alone = len({panel.model for panel in panels}) == 1
    top = max(float(np.nanmax(panel.scan.value)) for panel in panels)
    colors = mpl.colormaps["viridis"].with_extremes(bad=MISSING_COLOR)
    for each, panel in zip(axes, panels, strict=True):
        values = panel.scan
        each.set_title(panel.title)
        each.grid(False)
        low, high = _edges(values.layer if alone else values.depth, int(np.ptp(values.layer)))
        image = each.imshow(
            _without_gaps(values),
            origin="lower",
            extent=(-0.5, values.x.size - 0.5, low, high),
            aspect="auto",
            interpolation="none",
            cmap=colors,
            vmin=0.0,
            vmax=top,
        )
    axes[0].set_xticks(range(panels[0].scan.x.size), [f"{n2:.0f}" for n2 in panels[0].scan.x])
    edges = [each.images[0].get_extent() for each in axes]
    axes[0].set_ylim(min(edge[2] for edge in edges), max(edge[3] for edge in edges))
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=alone, steps=[1, 2, 5, 10]))
    label_outer(axes, columns, RANK, "layer" if alone else "relative depth")
    color_bar(figure, axes, image, ID)
    lead = "Intrinsic dimension by GRIDE of all layers; gray where it is undefined or was not measured."
    add_caption(figure, _caption(results, lead, panels))
    return figure


def _edges(values: np.ndarray, n_steps: int) -> tuple[float, float]:
    """Lower and upper edge of rows that are centered on evenly spaced values."""
    half = float(values[-1] - values[0]) / n_steps / 2 if n_steps else 0.5
    return float(values[0]) - half, float(values[-1]) + half


def _without_gaps(values: Scan) -> np.ndarray:
    """Rows for all layers between the first and the last; those without a value are NaN."""
    first = int(values.layer[0])
    filled = np.full((int(values.layer[-1]) - first + 1, values.x.size), np.nan)
    filled[values.layer - first] = values.value
    return filled


@style()
def dimension_by_fraction(results: xr.Dataset) -> Figure:
    """Intrinsic dimension against the share of the points kept, and of the ratios kept in TwoNN's fit.

    Only what is in the results is drawn: one block of panels for each of the two.
    """
    present = [each for each in FRACTIONS if each[0] in results and bool(results[each[0]].notnull().any())]
    blocks = [_panels(results, variable, dim) for variable, dim, _ in present]
    columns = columns_for(max(map(len, blocks)))
    figure, grid = panel_grid([len(block) for block in blocks], columns)
    for (variable, _, x), axes, panels in zip(present, grid, blocks, strict=True):
        for each, panel in zip(axes, panels, strict=True):
            each.set_title(panel.title)
            _draw_scan(each, panel.scan)
        if variable == "decimated_dimension":
            _log_ticks(axes[0], panels[0].scan.x, columns)
        label_outer(axes, columns, x, ID)
    grid[0][0].set_ylim(bottom=0.0)
    everything = [panel for block in blocks for panel in block]
    _depth_bar(figure, [each for axes in grid for each in axes], everything)
    shares = " and the ".join(x for _, _, x in present)
    lead = f"Intrinsic dimension by TwoNN against the {shares}. Bands are one standard error."
    add_caption(figure, _caption(results, lead, everything, [_layers_note(everything)]))
    return figure
