"""The shapes of what a model gives, from one small batch that was run."""

from __future__ import annotations

from collections.abc import Mapping

from hpcgeom.catalog.sites import SiteShape
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.request import ModelShapes
from hpcgeom.models.sinks import Pooled
from hpcgeom.models.skeletons import Skeleton


def shapes_of(
    skeleton: Skeleton,
    readings: Mapping[str, SiteReading],
    widths: Mapping[str, int],
    width: int | None,
    unused_keys: tuple[str, ...],
) -> ModelShapes:
    """What a model gives for some readings.

    Parameters
    ----------
    widths
        Features of a point, by site.
    width
        Of the residual stream; None for a module without blocks.
    unused_keys
        Tensors of the weight files that are not needed.
    """
    sites = {}
    for site, reading in readings.items():
        modules = tuple(reading.modules[layer] for layer in reading.layers) if reading.modules else ()
        sites[site] = SiteShape(reading.layers, widths[site], modules)
    layout, model = skeleton.layout, skeleton.model
    n_layers = None if layout is None else len(layout.blocks_of(model))
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelShapes(sites, n_layers, width, n_parameters, unused_keys)


def widths_of(readings: Mapping[str, SiteReading], pooled: Pooled) -> dict[str, int]:
    """Features of a point, by site, as `pooled` of any batch has them."""
    return {site: int(pooled[site, each.poolings[0]].shape[-1]) for site, each in readings.items()}
