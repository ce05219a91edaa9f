"""Published curves beside a run's own: dashed, in the color of the line that they are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hpcgeom.data.reference_curves import Curve, ReferenceCurves
from hpcgeom.report.depth import Series
from hpcgeom.report.select import SitePooling, names

DASHES = ((5.0, 2.0), (1.5, 1.5), (5.0, 1.5, 1.5, 1.5), (8.0, 2.5), (3.0, 1.0, 1.0, 1.0, 1.0, 1.0))
REFERENCE_GID = "reference"
UNMATCHED_COLOR = "#808080"
"""Of curves that are of no line of the run; chance is darker."""


class ReferenceLines:
    """The curves of one figure.

    Parameters
    ----------
    references
        What is published, of any variable; None for nothing.
    variable
        What the figure shows.
    series
        The lines of the run: a curve of the same model, or where the figure is of one model of the same k,
        has the color of the line.
    """

    def __init__(self, references: ReferenceCurves | None, variable: str, series: Sequence[Series]) -> None:
        self.source = references.source if references else ""
        self.series = series
        curves = references.curves if references else ()
        self.curves = [each for each in curves if each.variable == variable and self._has_its_k(each)]
        self._drawn: dict[int, Line2D] = {}

    def draw(self, panel: Axes, place: SitePooling, label: str | None = None) -> None:
        """Draw those that belong into a panel."""
        for i, curve in enumerate(self.curves):
            if not _belongs(curve, place, label):
                continue
            depth, value, error = (np.array(each) for each in (curve.depth, curve.value, curve.error))
            color, (_, dashes) = self._color(curve), (0.0, DASHES[i % len(DASHES)])
            (line,) = panel.plot(
                depth,
                value,
                color=color,
                linestyle=(0.0, dashes),
                label=curve.name,
                gid=REFERENCE_GID,
                zorder=1.8,
            )
            if np.isfinite(error).any():
                panel.fill_between(depth, value - error, value + error, color=color, alpha=0.12, linewidth=0)
            self._drawn.setdefault(i, line)

    @property
    def handles(self) -> list[Line2D]:
        """What was drawn, once for each curve, for the legend."""
        return [self._drawn[i] for i in sorted(self._drawn)]

    @property
    def notes(self) -> list[str]:
        """What the caption says of them."""
        return [f"Dashed: {self.source.rstrip('.')}."] if self._drawn else []

    def _has_its_k(self, curve: Curve) -> bool:
        drawn = {each.at["k"] for each in self.series if "k" in each.at}
        return curve.k is None or not drawn or curve.k in drawn

    def _color(self, curve: Curve) -> str:
        is_one_model = len({each.model for each in self.series}) == 1
        for each in self.series:
            is_same_k = curve.k is not None and curve.k == each.at.get("k")
            if is_same_k if is_one_model else curve.model == each.model:
                return each.color
        return UNMATCHED_COLOR


def _belongs(curve: Curve, place: SitePooling, label: str | None) -> bool:
    return (
        curve.site in (None, place.site)
        and curve.pooling in (None, place.pooling)
        and curve.label in (None, label)
    )


def common_k(references: ReferenceCurves, variable: str, results: xr.Dataset) -> int | None:
    """The k of all curves of a variable, where they have one and the results have it too; else None."""
    ks = {each.k for each in references.curves if each.variable == variable}
    measured = {int(each) for each in results["k"].values} if "k" in results.coords else set()
    return next(iter(ks)) if len(ks) == 1 and ks <= measured else None


def not_comparable(
    curve: Curve, results: xr.Dataset, places: Sequence[SitePooling], ks: Sequence[int]
) -> str:
    """Why a curve is in no panel of the figure of its variable, which is drawn at `ks`; empty where it is."""
    if ks and curve.k not in (None, *ks):
        return f"it is at k = {curve.k}, and the figure at k = {', '.join(map(str, ks))}"
    if curve.model is not None and curve.model not in names(results, "model"):
        return f"its model '{curve.model}' is none of {', '.join(names(results, 'model'))}"
    labels = names(results, "label")
    if curve.variable == "label_overlap" and curve.label is not None and curve.label not in labels:
        return f"its label '{curve.label}' is none of {', '.join(labels)}"
    if not any(_belongs(curve, place, curve.label) for place in places):
        return f"there is no panel of its site and pooling, but {', '.join(each.title for each in places)}"
    return ""
