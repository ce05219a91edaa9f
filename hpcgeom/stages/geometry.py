"""Geometry: measure every layer alone, and count what all pairs of layers have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.overlap import overlap_counts
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.stages import profile
from hpcgeom.stages.base import Work, require_layout
from hpcgeom.stages.run import Run
from hpcgeom.store import neighbors, npz
from hpcgeom.types import Unit

Values = dict[str, npt.NDArray[Any]]


class Geometry:
    """Turns neighbor lists into numbers, in parts that `collect` puts together."""

    name = "geometry"

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all neighbor lists, and the activations that decimation searches again, are there."""
        for stage in ("extract", "search"):
            require_layout(run, stage)
            run.records(stage).require(run.units(stage))
        yield lambda item: _work(run, item)


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    values = profile.measure(run, unit) if unit.model else _pairs(run, unit)
    npz.save(run.root / unit.owns[0], values)
    return {}


def members(run: Run, site: str, pooling: str) -> list[tuple[ModelPlan, Representation]]:
    """The models that have a representation at `site` with `pooling`, in manifest order."""
    return [
        (model, item)
        for model in run.plan.models
        for item in model.representations
        if (item.site, item.pooling) == (site, pooling)
    ]


def _pairs(run: Run, unit: Unit) -> Values:
    """Sums over the unit's rows of common neighbors and of their squares, for all pairs of layers.

    Returns
    -------
    dict
        ``counts`` and ``squares``: int64 (k, layers of all models, layers of all models); zero for pairs of
        different models where these are not compared.
    """
    ks = [int(k) for k in run.plan.manifest["geometry"]["overlap_k"]]
    lists = [_lists(run, model, item, unit, max(ks)) for model, item in members(run, unit.site, unit.pooling)]
    if run.plan.manifest["geometry"]["cross_model"]:
        counts, squares = overlap_counts(np.concatenate(lists), None, ks)
        return {"counts": counts, "squares": squares}
    edges = np.cumsum([0, *(len(part) for part in lists)])
    counts = np.zeros((len(ks), edges[-1], edges[-1]), dtype=np.int64)
    squares = np.zeros_like(counts)
    for part, start, stop in zip(lists, edges, edges[1:], strict=False):
        counts[:, start:stop, start:stop], squares[:, start:stop, start:stop] = overlap_counts(part, None, ks)
    return {"counts": counts, "squares": squares}


def _lists(run: Run, model: ModelPlan, item: Representation, unit: Unit, k: int) -> npt.NDArray[np.int32]:
    store, group = run.root / paths.neighbors(model.name), paths.group(item.site, item.pooling)
    layers = [
        neighbors.read_rows(store, group, "neighbor_index", position, unit.start, unit.stop)[:, :k]
        for position in range(len(item.layers))
    ]
    return np.stack(layers)
