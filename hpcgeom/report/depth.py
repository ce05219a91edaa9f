"""Lines along the depth of models: which there are, where layers stand, how one panel is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hpcgeom.report.draw import UNDEFINED_GID, WIDTH_IN, category_colors, label_outer, sequential_colors
from hpcgeom.report.select import Profile, SitePooling, profile

DEPTH = {
    1: "relative depth (layer / number of blocks)",
    2: "relative depth (layer / blocks)",
    3: "relative depth",
}
"""Name of the horizontal axis by the number of panels beside each other."""
FOOT = 0.03
"""Height, as a fraction of the axes, at which layers without a value are marked."""


class Series(NamedTuple):
    """One line of a panel: its name, color, model, and the estimator or the k that is drawn."""

    label: str
    color: str
    model: str
    at: dict[str, object]


def all_series(models: Sequence[str], dim: str, values: Sequence[object], chosen: object) -> list[Series]:
    """One model: a line for each value of `dim`. Several: a line for each model, at the chosen value."""
    if len(models) == 1:
        colors = sequential_colors(len(values)) if dim == "k" else category_colors(len(values))
        prefix = "k = " if dim == "k" else ""
        return [
            Series(f"{prefix}{value}", color, models[0], {dim: value})
            for value, color in zip(values, colors, strict=True)
        ]
    colors = sequential_colors(len(models))
    return [Series(model, color, model, {dim: chosen}) for model, color in zip(models, colors, strict=True)]


class Abscissa:
    """Where layers stand: at their relative depth, or, where no model has two, at the model's name."""

    def __init__(self, results: xr.Dataset, variable: str, series: Sequence[Series]) -> None:
        self.models = list(dict.fromkeys(each.model for each in series))
        known = results[variable].notnull()
        known = known.any([dim for dim in known.dims if dim not in ("model", "layer")])
        depth = results["relative_depth"].sel(model=self.models)
        has_layer = (known.sel(model=self.models) | depth.notnull()).transpose("model", "layer")
        self.categorical = int(has_layer.sum("layer").max()) <= 1
        self.deepest = float(np.nanmax([1.0, float(depth.max())]))
        crowd = [sum(other.model == each.model for other in series) for each in series]
        place = [sum(o.model == e.model for o in series[:i]) for i, e in enumerate(series)]
        self.offset = [(p - (c - 1) / 2) * 0.12 for p, c in zip(place, crowd, strict=True)]

    def __call__(self, i: int, series: Series, line: Profile) -> np.ndarray:
        """Positions (L,) of the layers of series number `i`; series of one model stand side by side."""
        if not self.categorical:
            return line.depth
        return np.full(line.depth.size, self.models.index(series.model) + self.offset[i])

    def finish(self, panels: Sequence[Axes], columns: int, y: str) -> None:
        """Names, ticks and limits of the axes of all panels."""
        label_outer(panels, columns, "model" if self.categorical else DEPTH[columns], y)
        for panel in panels:
            if not self.categorical:
                panel.set_xlim(-0.03, self.deepest + 0.03)
                continue
            longest = max(map(len, self.models))
            slanted = longest * len(self.models) * 0.085 > WIDTH_IN / columns - 0.8
            panel.set_xticks(range(len(self.models)), self.models)
            panel.tick_params(axis="x", rotation=30 if slanted else 0)
            panel.set_xlim(-0.5, len(self.models) - 0.5)


def draw_series(panel: Axes, x: np.ndarray, line: Profile, series: Series) -> Line2D:
    """A line with markers and a band of one error; a lone point gets a bar, as a band would not show."""
    (drawn,) = panel.plot(x, line.value, "o-", color=series.color, label=series.label)
    defined = np.isfinite(line.value) & np.isfinite(line.error)
    if defined.sum() == 1:
        bars = (line.error[defined], series.color)
        panel.errorbar(x[defined], line.value[defined], bars[0], fmt="none", ecolor=bars[1], capsize=3)
        drawn.set_markersize(5.5)
    else:
        low, high = line.value - line.error, line.value + line.error
        panel.fill_between(x, low, high, where=defined, color=series.color, alpha=0.2, linewidth=0)
    return drawn


def mark_undefined(panel: Axes, x: np.ndarray, line: Profile, color: str, layers: Sequence[int]) -> None:
    """Crosses for layers with a status to explain: on the value if there is one, else at the foot."""
    for layer in layers:
        (at,) = np.flatnonzero(line.layer == layer)
        known = bool(np.isfinite(line.value[at]))
        panel.plot(
            x[at],
            line.value[at] if known else FOOT,
            "x",
            color=color,
            markersize=7,
            markeredgewidth=1.8,
            transform=panel.transData if known else panel.get_xaxis_transform(),
            clip_on=False,
            gid=UNDEFINED_GID,
        )


def draw_panel(
    panel: Axes,
    results: xr.Dataset,
    variable: str,
    series: Sequence[Series],
    abscissa: Abscissa,
    place: SitePooling,
    **at: object,
) -> list[Line2D]:
    """All series of one panel; returns their lines for the legend."""
    drawn = []
    for i, each in enumerate(series):
        line = profile(results, variable, each.model, place, **each.at, **at)
        drawn.append(draw_series(panel, abscissa(i, each, line), line, each))
    return drawn
