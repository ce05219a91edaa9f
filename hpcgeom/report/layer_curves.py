"""Figures of one number along the depth of models: variance, directions, dimension around points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hpcgeom.report.depth import Abscissa, Series, all_series, draw_panel
from hpcgeom.report.draw import (
    add_caption,
    caption,
    category_colors,
    columns_for,
    legend,
    panel_grid,
    sequential_colors,
    style,
)
from hpcgeom.report.select import models_by_size, site_poolings


class Curve(NamedTuple):
    """What one figure draws.

    Attributes
    ----------
    variable
        Of the results, with the dimensions of a layer and at most one more.
    y, lead
        Name of the vertical axis, and the first sentence of the caption.
    dim, chosen
        The dimension beside those of a layer, and which of its values is drawn of several models; the first
        if None.
    """

    variable: str
    y: str
    lead: str
    dim: str = ""
    chosen: object = None


CURVES = {
    "participation_ratio": Curve(
        "participation_ratio",
        "participation ratio",
        "Number of directions over which the variance of each layer is spread; bands are one standard error.",
    ),
    "anisotropy": Curve(
        "anisotropy",
        "anisotropy",
        "Mean cosine of two different points of each layer; bands are one standard error.",
    ),
    "local_dimension": Curve(
        "local_dimension_quantile",
        "intrinsic dimension around points",
        "Quantiles over points of the intrinsic dimension around each of them: the median, and one standard "
        "deviation to either side where they are normal; of several models the median.",
        "quantile",
        0.5,
    ),
    "clusters": Curve(
        "n_clusters",
        "clusters",
        "Number of clusters around peaks of the density of the points of each layer.",
    ),
    "cluster_agreement": Curve(
        "adjusted_rand",
        "adjusted Rand index",
        "Agreement of the clusters of each layer with each label set: 1 for the same partition, 0 for one at "
        "random; of several models with the first label set.",
        "label",
    ),
}


@style()
def layer_curve(results: xr.Dataset, curve: Curve) -> Figure:
    """One panel for each site and pooling; of one model all values of `dim`, of several a line each."""
    places, models = site_poolings(results, curve.variable), models_by_size(results, curve.variable)
    if curve.dim:
        values = results[curve.dim].values.tolist()
        series = all_series(models, curve.dim, values, values[0] if curve.chosen is None else curve.chosen)
    else:
        colors = sequential_colors(len(models)) if len(models) > 1 else category_colors(1)
        series = [Series(model, color, model, {}) for model, color in zip(models, colors, strict=True)]
    columns = columns_for(len(places))
    figure, (panels,) = panel_grid([len(places)], columns)
    abscissa = Abscissa(results, curve.variable, series)
    for panel, place in zip(panels, places, strict=True):
        panel.set_title(place.title)
        handles = draw_panel(panel, results, curve.variable, series, abscissa, place)
    if not bool(np.any(results[curve.variable].values < 0.0)):
        panels[0].set_ylim(bottom=0.0)
    abscissa.finish(panels, columns, curve.y)
    legend(figure, handles)
    add_caption(figure, caption(results, curve.lead, places=places, models=models))
    return figure
