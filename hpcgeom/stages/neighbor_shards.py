"""Writing neighbor lists: tiles put together to the shards that a unit owns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.plan import paths
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS
from hpcgeom.search import NeighborTile
from hpcgeom.stages.run import Run
from hpcgeom.store import neighbors
from hpcgeom.types import Unit


def write_lists(
    run: Run, unit: Unit, tiles: Iterable[NeighborTile], duplicate_of: npt.NDArray[np.int32]
) -> None:
    """Write the lists of a unit's rows.

    Parameters
    ----------
    unit
        Its rows begin and end with shards, or with the last row of all.
    tiles
        Lists of exactly these rows, in order.
    duplicate_of
        Of all rows of the representation.
    """
    model = run.plan.model(unit.model)
    position = model.representation(unit.site, unit.pooling).layers.index(unit.layer)
    store, group = run.root / paths.neighbors(unit.model), paths.group(unit.site, unit.pooling)
    for start, values in _shards(tiles, unit.start, unit.stop):
        n_rows = len(values["neighbor_index"])
        values["duplicate_of"] = duplicate_of[start : start + n_rows]
        neighbors.write_rows(store, group, position, start, values)


def _shards(
    tiles: Iterable[NeighborTile], start: int, stop: int
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Tiles put together to whole shards of rows."""
    parts: list[dict[str, npt.NDArray[Any]]] = []
    filled = start
    for tile in tiles:
        for low, high in _pieces(tile.start, tile.stop):
            parts.append(_values(tile, low - tile.start, high - tile.start))
            filled = high
            if filled == stop or filled % NEIGHBOR_SHARD_ROWS == 0:
                yield start, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                start, parts = filled, []
    assert filled == stop, (filled, stop)


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
