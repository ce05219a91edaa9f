"""Figures along the depth of models: intrinsic dimension, overlap with the next layer, label overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpcgeom.catalog.sites import TOKENS_POOLING
from hpcgeom.data.reference_curves import ReferenceCurves
from hpcgeom.report.depth import Abscissa, Series, all_series, draw_panel, mark_undefined
from hpcgeom.report.draw import (
    TEXT_COLOR,
    add_caption,
    caption,
    columns_for,
    legend,
    panel_grid,
    style,
)
from hpcgeom.report.reference_lines import ReferenceLines
from hpcgeom.report.select import (
    SitePooling,
    chosen_k,
    error_of,
    models_by_size,
    names,
    number_ranges,
    profile,
    site_poolings,
    undefined_layers,
)

ROOM_FOR_CHANCE = 0.1
"""Chance from which on its name fits below its line."""


@style()
def intrinsic_dimension(
    results: xr.Dataset, estimator: str | None = None, references: ReferenceCurves | None = None
) -> Figure:
    """Intrinsic dimension against relative depth, with a band of one standard error.

    One panel for each site and pooling. One model: a line for each estimator; several: a line for each model,
    with `estimator` (the first of the results, if None). Layers whose status is not ok are marked by a cross
    and named in the caption. `references` are drawn dashed.
    """
    variable = "intrinsic_dimension"
    places, models = site_poolings(results, variable), models_by_size(results, variable)
    estimators = names(results, "estimator")
    series = all_series(models, "estimator", estimators, estimator or estimators[0])
    columns = columns_for(len(places))
    figure, (panels,) = panel_grid([len(places)], columns)
    abscissa, published = Abscissa(results, variable, series), ReferenceLines(references, variable, series)
    for panel, place in zip(panels, places, strict=True):
        panel.set_title(place.title)
        handles = draw_panel(panel, results, variable, series, abscissa, place)
        published.draw(panel, place)
        _draw_crosses(panel, results, series, abscissa, place)
    panels[0].set_ylim(bottom=0.0)
    abscissa.finish(panels, columns, "intrinsic dimension")
    legend(figure, [*handles, *published.handles])
    lead = "Intrinsic dimension of each layer; bands and bars are one standard error."
    used = list(dict.fromkeys(str(each.at["estimator"]) for each in series))
    notes = [*_crosses_note(results, series, places), *published.notes]
    add_caption(figure, caption(results, lead, places=places, models=models, estimators=used, notes=notes))
    return figure


def _draw_crosses(
    panel: Axes, results: xr.Dataset, series: Sequence[Series], abscissa: Abscissa, place: SitePooling
) -> None:
    for i, each in enumerate(series):
        line = profile(results, "intrinsic_dimension", each.model, place, **each.at)
        layers = undefined_layers(results, each.model, place, str(each.at["estimator"]))
        mark_undefined(panel, abscissa(i, each, line), line, each.color, list(layers))


def _crosses_note(results: xr.Dataset, series: Sequence[Series], places: Sequence[SitePooling]) -> list[str]:
    """Which layers have no estimate, and why; nothing where all have one."""
    several_models = len({each.model for each in series}) > 1
    layers_of: dict[tuple[str, str], set[int]] = {}
    for place in places:
        for each in series:
            of = [each.model] * several_models + [place.title] * (len(places) > 1)
            undefined = undefined_layers(results, each.model, place, str(each.at["estimator"]))
            for layer, word in undefined.items():
                layers_of.setdefault((word, ", ".join(of)), set()).add(layer)
    parts = [
        f"{word} (layer{'s' * (len(layers) > 1)} {number_ranges(layers)}{f' of {of}' * bool(of)})"
        for (word, of), layers in layers_of.items()
    ]
    more = f"; and {len(parts) - 6} more" if len(parts) > 6 else ""
    return [f"Crosses: no estimate, {'; '.join(parts[:6])}{more}."] if parts else []


@style()
def consecutive_overlap(
    results: xr.Dataset, k: int | None = None, references: ReferenceCurves | None = None
) -> Figure:
    """Overlap of the neighborhoods of each layer and the next against relative depth.

    One panel for each site and pooling. One model: a line for each k; several: a line for each model at `k`
    (the measured k nearest to 10, if None).

    Raises
    ------
    InputError
        The overlaps were not measured at `k`.
    """
    variable = "consecutive_overlap"
    places, models = site_poolings(results, variable), models_by_size(results, variable)
    series = _overlap_series(results, models, k)
    columns = columns_for(len(places))
    figure, (panels,) = panel_grid([len(places)], columns)
    abscissa, published = Abscissa(results, variable, series), ReferenceLines(references, variable, series)
    for panel, place in zip(panels, places, strict=True):
        panel.set_title(place.title)
        handles = draw_panel(panel, results, variable, series, abscissa, place)
        published.draw(panel, place)
    panels[0].set_ylim(0.0, 1.0)
    abscissa.finish(panels, columns, "overlap with the next layer")
    legend(figure, [*handles, *published.handles])
    lead = (
        "Mean share of the k nearest neighbors that each layer has in common with the next, drawn at the "
        f"shallower of the two; bands are {_bands(results, variable)}."
    )
    notes = published.notes
    add_caption(figure, caption(results, lead, places=places, models=models, k=_ks(series), notes=notes))
    return figure


@style()
def label_overlap(
    results: xr.Dataset, k: int | None = None, references: ReferenceCurves | None = None
) -> Figure:
    """Share of neighbors with the same label against relative depth.

    One panel for each label, site and pooling; lines as in `consecutive_overlap`; a dashed line at the share
    that neighbors drawn at random would have.

    Raises
    ------
    InputError
        The overlaps were not measured at `k`.
    """
    variable = "label_overlap"
    places, models = site_poolings(results, variable), models_by_size(results, variable)
    series = _overlap_series(results, models, k)
    labels = names(results, "label")
    columns = columns_for(len(places)) if len(places) > 1 else columns_for(len(labels))
    many = len(places) > 1
    blocks = [len(places)] * len(labels) if many else [len(labels)]
    figure, grid = panel_grid(blocks, columns)
    panels = [panel for block in grid for panel in block]
    abscissa, published = Abscissa(results, variable, series), ReferenceLines(references, variable, series)
    pairs = [(label, place) for label in labels for place in places]
    for panel, (label, place) in zip(panels, pairs, strict=True):
        panel.set_title(f"{label}: {place.title}")
        handles = draw_panel(panel, results, variable, series, abscissa, place, label=label)
        published.draw(panel, place, label)
        _draw_chance(panel, _chance(results, label, place.pooling, models))
    panels[0].set_ylim(0.0, 1.0)
    for block in grid:
        abscissa.finish(block, columns, "label overlap")
    legend(figure, [*handles, *published.handles])
    lead = (
        "Mean share of the k nearest neighbors that carry the label of the point itself; the dashed line is "
        f"chance, and bands are {_bands(results, variable)}."
    )
    notes = published.notes
    add_caption(figure, caption(results, lead, places=places, models=models, k=_ks(series), notes=notes))
    return figure


def _bands(results: xr.Dataset, variable: str) -> str:
    """What the error of an overlap is: that of halves alone counts that points share neighbors."""
    if error_of(results, variable).endswith("_half_sample_error"):
        return "one standard error"
    return (
        "the standard deviation over points / √N, shorter than a standard error where points share neighbors"
    )


def _overlap_series(results: xr.Dataset, models: Sequence[str], k: int | None) -> list[Series]:
    chosen = chosen_k(results, k)
    measured = sorted(int(each) for each in results["k"].values)
    return all_series(models, "k", measured if k is None else [chosen], chosen)


def _ks(series: Sequence[Series]) -> list[int]:
    return sorted({int(str(each.at["k"])) for each in series})


def _chance(results: xr.Dataset, label: str, pooling: str, models: Sequence[str]) -> float:
    """What neighbors drawn at random would give; NaN where that is not one number for all models."""
    if pooling == TOKENS_POOLING:
        if "label_overlap_chance_of_tokens" not in results:
            return np.nan
        found = results["label_overlap_chance_of_tokens"].sel(label=label, model=list(models)).values
        return float(found[0]) if len(set(found.tolist())) == 1 else np.nan
    if "label_overlap_chance" not in results:
        return np.nan
    return float(results["label_overlap_chance"].sel(label=label))


def _draw_chance(panel: Axes, chance: float) -> None:
    if np.isfinite(chance):
        panel.axhline(chance, linestyle="--", linewidth=1.2, color=TEXT_COLOR, zorder=1.5, label="chance")
        below = chance >= ROOM_FOR_CHANCE  # what was learned lies above
        panel.annotate(
            f"chance {chance:.3g}",
            (1.0, chance),
            xycoords=("axes fraction", "data"),
            xytext=(-2, -3 if below else 3),
            textcoords="offset points",
            horizontalalignment="right",
            verticalalignment="top" if below else "bottom",
            color=TEXT_COLOR,
            fontsize=8.5,
        )
