"""Neighbor lists: one Zarr store a model, one group a site and pooling, one search unit a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from hpcgeom.store import arrays
from hpcgeom.store.axes import Group, create_axes
from hpcgeom.store.records import damaged_store
from hpcgeom.store.variables import NEIGHBORS


def create(
    store: Path,
    groups: Sequence[Group],
    k: int,
    attributes: Mapping[str, Any],
) -> list[Path]:
    """Lay out an empty store; idempotent, and data that is there stays."""

    def build(root: zarr.Group) -> None:
        root.attrs.update(dict(attributes))
        for item in groups:
            group, n = root.require_group(item.path), len(item.points)
            # A shard is no longer than the data needs: its unused end would be written too.
            rows = min(item.shard_points, 1 << max(n - 1, 1).bit_length())
            for name, variable in NEIGHBORS.items():
                tail = (k,) if "rank" in variable.dims else ()
                itemsize = np.dtype(variable.dtype).itemsize
                inner = arrays.chunk_rows(itemsize * (k if tail else 1), rows)
                arrays.create_array(
                    group,
                    name,
                    variable.along(item.points.dim, item.points.coordinates),
                    shape=(len(item.layers), n, *tail),
                    shards=(1, rows, *tail),
                    chunks=(1, inner, *tail),
                )
            create_axes(group, item)
            about = {"long_name": "position among the neighbors, the point itself excluded"}
            arrays.create_coordinate(group, "rank", np.arange(1, k + 1, dtype=np.int64), about)

    return arrays.lay_out(store, build)


@dataclass(frozen=True, slots=True)
class Lists:
    """Neighbor lists of one layer.

    Attributes
    ----------
    indices, distances
        (N, K): lists over all points.
    duplicate_of
        (N,): first row with an equal point.
    distinct_indices, distinct_distances
        (N, K): lists over distinct points; the same arrays as above where no two points are equal.
    """

    indices: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float64]
    duplicate_of: npt.NDArray[np.int32]
    distinct_indices: npt.NDArray[np.int32]
    distinct_distances: npt.NDArray[np.float64]

    @property
    def representatives(self) -> npt.NDArray[np.intp]:
        """Rows that are the first of their kind."""
        return np.flatnonzero(self.duplicate_of == np.arange(len(self.duplicate_of)))


def write_rows(
    store: Path, group: str, position: int, start: int, values: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write some rows of some arrays of one layer; `start` and the length fit whole shards."""
    for name, block in values.items():
        array = arrays.open_array(store, f"{group}/{name}")
        array[position, start : start + len(block)] = block.astype(array.dtype, copy=False)


def read_rows(store: Path, group: str, name: str, position: int, start: int, stop: int) -> npt.NDArray[Any]:
    """Some rows of one array of one layer.

    Raises
    ------
    DamagedError
        A chunk's checksum is wrong, or its bytes are cut short.
    """
    array = zarr.open_array(store, path=f"{group}/{name}", mode="r", zarr_format=3)
    try:
        return np.asarray(array[position, start:stop])
    except (ValueError, OSError, RuntimeError) as error:
        raise damaged_store(store, f"{group}/{name}, layer position {position}", error) from error


def read_lists(store: Path, group: str, position: int, n: int) -> Lists:
    """All lists of one layer."""

    def read(name: str) -> npt.NDArray[Any]:
        return read_rows(store, group, name, position, 0, n)

    indices, distances, duplicate_of = read("neighbor_index"), read("neighbor_distance"), read("duplicate_of")
    if bool((duplicate_of == np.arange(n)).all()):
        return Lists(indices, distances, duplicate_of, indices, distances)
    return Lists(indices, distances, duplicate_of, read("distinct_index"), read("distinct_distance"))
