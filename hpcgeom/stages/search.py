"""Search: the exact neighbor lists of one representation, or what a part of a split search finds of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom import freed_memory
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import is_standardized, n_base_points, point_arrays
from hpcgeom.search import (
    RowSource,
    Scan,
    Settings,
    propose_pair,
    scan_points,
    scanned_points,
    search_representation,
)
from hpcgeom.search.moments import column_moments
from hpcgeom.search.points import Points
from hpcgeom.search.rows import StandardRows
from hpcgeom.stages import partials
from hpcgeom.stages.base import Work, each, require_inputs, require_layout
from hpcgeom.stages.extract import column_means
from hpcgeom.stages.neighbor_shards import write_lists
from hpcgeom.stages.run import Run
from hpcgeom.store.activations import LayerRows
from hpcgeom.types import Unit


class Search:
    """Finds the neighbors of all points of a layer, at once or in parts that `merge` puts together."""

    name = "search"
    inputs = ("extract",)

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all activations are there."""
        require_layout(run, "extract")
        require_layout(run, "search")
        require_inputs(run, self)
        freed_memory.share_it()
        yield each(lambda item: _work(run, item))


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    if unit.blocks is not None:
        scan, mark = partials.read_scan(run, run.units("search")[unit.needs[0]])
        found = propose_pair(points_of(run, unit, scan), *unit.blocks, unit.n_blocks)
        return partials.write_pair(run, unit, found, mark)
    rows, settings = _asked(run, unit)
    mean = _mean_of(run, unit, settings)
    if unit.n_blocks > 1:
        return partials.write_scan(run, unit, scan_points(rows, settings, mean).scan.arrays())
    search = search_representation(rows, settings, mean)
    write_lists(run, unit, search.tiles(), search.duplicate_of)
    return {"certificate": asdict(search.certificate)}


def points_of(run: Run, unit: Unit, scan: dict[str, npt.NDArray[Any]]) -> Points:
    """The points of a unit's layer, ready to be searched in parts, from what the scan of the search found."""
    return scanned_points(*_asked(run, unit), Scan.from_arrays(scan))


def _asked(run: Run, unit: Unit) -> tuple[RowSource, Settings]:
    """What is searched, and how."""
    model = run.plan.model(unit.model)
    item, asked = model.representation(unit.site, unit.pooling), run.plan.manifest["neighbors"]
    settings = Settings(
        k=int(asked["k"]),
        metric=asked["metric"],
        standardize=is_standardized(run.plan, item),
        n_base=n_base_points(run.plan, model, item),
        tile_rows=run.plan.tile_rows,
        threads=run.plan.threads,
        kernel=run.plan.kernel,
    )
    return layer_rows(run, model, item, item.layers.index(unit.layer)), settings


def _mean_of(run: Run, unit: Unit, settings: Settings) -> npt.NDArray[np.float64] | None:
    """The mean of the points as they are compared, where it is known from writing them."""
    if settings.metric != "euclidean" or settings.standardize:
        return None
    model = run.plan.model(unit.model)
    item = model.representation(unit.site, unit.pooling)
    means = column_means(run, model, unit.site, unit.pooling)
    mean_D: npt.NDArray[np.float64] = means[item.layers.index(unit.layer)]
    return mean_D


def layer_rows(run: Run, model: ModelPlan, item: Representation, position: int) -> LayerRows:
    """The stored points of one layer."""
    groups = [array.group for array in point_arrays(run.plan, model, item)]
    return LayerRows(run.root / paths.activations(model.name), groups, position)


def standard_rows(run: Run, model: ModelPlan, item: Representation, position: int) -> RowSource:
    """The points of one layer, with features centered and scaled where the manifest says so."""
    rows = layer_rows(run, model, item, position)
    if not is_standardized(run.plan, item):
        return rows
    n_base = n_base_points(run.plan, model, item)
    return StandardRows(rows, *column_moments(rows, n_base, run.plan.tile_rows))
