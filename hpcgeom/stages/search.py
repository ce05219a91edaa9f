"""Search: the exact neighbor lists of one representation, into shards that the unit owns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.plan.points import point_arrays
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS
from hpcgeom.search import NeighborTile, search_representation
from hpcgeom.stages.base import Work, require_inputs, require_layout
from hpcgeom.stages.extract import column_means
from hpcgeom.stages.run import Run
from hpcgeom.store import neighbors
from hpcgeom.store.activations import LayerRows
from hpcgeom.types import Unit


class Search:
    """Finds the neighbors of all points of a representation."""

    name = "search"
    inputs = ("extract",)

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all activations are there."""
        require_layout(run, "extract")
        require_layout(run, "search")
        require_inputs(run, self)
        yield lambda item: _work(run, item)


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    model = run.plan.model(unit.model)
    item = model.representation(unit.site, unit.pooling)
    position = item.layers.index(unit.layer)
    group = paths.group(unit.site, unit.pooling)
    settings = run.plan.manifest["neighbors"]
    # The mean of unit rows is another one: the search finds it itself.
    mean = (
        column_means(run, model, unit.site, unit.pooling)[position]
        if settings["metric"] == "euclidean"
        else None
    )
    search = search_representation(
        layer_rows(run, model, item, position),
        int(settings["k"]),
        settings["metric"],
        run.plan.tile_rows,
        mean,
        run.plan.threads,
    )
    store = run.root / paths.neighbors(model.name)
    for start, values in _shards(search.tiles(), unit.stop, search.duplicate_of):
        neighbors.write_rows(store, group, position, start, values)
    return {"certificate": asdict(search.certificate)}


def layer_rows(run: Run, model: ModelPlan, item: Representation, position: int) -> LayerRows:
    """The stored points of one layer."""
    groups = [array.group for array in point_arrays(run.plan, model, item)]
    return LayerRows(run.root / paths.activations(model.name), groups, position)


def _shards(
    tiles: Iterator[NeighborTile], n: int, duplicate_of: npt.NDArray[np.int32]
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Tiles put together to whole shards of rows."""
    parts: list[dict[str, npt.NDArray[Any]]] = []
    start = filled = 0
    for tile in tiles:
        for low, high in _pieces(tile.start, tile.stop):
            parts.append(_values(tile, low - tile.start, high - tile.start))
            filled = high
            if filled == n or filled % NEIGHBOR_SHARD_ROWS == 0:
                whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                yield start, {**whole, "duplicate_of": duplicate_of[start:filled]}
                start, parts = filled, []
    assert filled == n, (filled, n)


def _pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A range of rows, cut at the borders of shards."""
    while start < stop:
        border = (start // NEIGHBOR_SHARD_ROWS + 1) * NEIGHBOR_SHARD_ROWS
        yield start, min(stop, border)
        start = min(stop, border)


def _values(tile: NeighborTile, low: int, high: int) -> dict[str, npt.NDArray[Any]]:
    values: dict[str, npt.NDArray[Any]] = {
        "neighbor_index": tile.indices[low:high],
        "neighbor_distance": tile.distances[low:high],
    }
    if tile.distinct_distances is not None and tile.distinct_indices is not None:
        values["distinct_index"] = tile.distinct_indices[low:high]
        values["distinct_distance"] = tile.distinct_distances[low:high]
    return values
