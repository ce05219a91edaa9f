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
    pooled: Pooled,
    width: int | None,
    unused_keys: tuple[str, ...],
) -> ModelShapes:
    """What `pooled`, of any batch, says of a model.

    Parameters
    ----------
    width
        Of the residual stream; None for a module without blocks.
    unused_keys
        Tensors of the weight files that are not needed.
    """
    sites = {}
    for site, reading in readings.items():
        modules = tuple(reading.modules[layer] for layer in reading.layers) if reading.modules else ()
        sites[site] = SiteShape(reading.layers, pooled[site, reading.poolings[0]].shape[-1], modules)
    layout, model = skeleton.layout, skeleton.model
    n_layers = None if layout is None else len(layout.blocks_of(model))
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelShapes(sites, n_layers, width, n_parameters, unused_keys)
