"""Activations: one Zarr store a model, one group a site and pooling, one shard a layer and unit.

Where every token is a point, each unit has a group of its own: units have different numbers of points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from hpcgeom.errors import InputError
from hpcgeom.store import arrays, files, shards
from hpcgeom.store.axes import Group, create_axes
from hpcgeom.store.records import damaged_store
from hpcgeom.store.variables import ACTIVATIONS

FLOAT16_LIMIT = 6.0e4


def create(
    store: Path,
    groups: Sequence[Group],
    dtype: str,
    attributes: Mapping[str, Any],
    extend: Callable[[zarr.Group], None] = lambda _: None,
) -> list[Path]:
    """Lay out an empty store; idempotent, and data that is there stays.

    Parameters
    ----------
    extend
        Lays out what else is in the store.

    Returns
    -------
    list of Path
        Files of metadata and coordinates.
    """

    def build(root: zarr.Group) -> None:
        root.attrs.update(dict(attributes))
        for item in groups:
            group = root.require_group(item.path)
            rows = arrays.chunk_rows(item.width * np.dtype(dtype).itemsize, item.shard_points)
            arrays.create_array(
                group,
                "activations",
                ACTIVATIONS["activations"].along(item.points.dim, item.points.coordinates),
                shape=(len(item.layers), len(item.points), item.width),
                shards=(1, arrays.whole_chunks(item.shard_points, rows), item.width),
                chunks=(1, rows, item.width),
                dtype=dtype,
            )
            create_axes(group, item)
        extend(root)

    return arrays.lay_out(store, build)


def write(
    store: Path, group: str, start: int, block: npt.NDArray[Any], where: str, first_layer: int = 0
) -> dict[Path, shards.Written]:
    """Write a unit's points of layers that follow each other, by default of all: whole shards, and durable.

    Parameters
    ----------
    start
        Where they begin in the group's array: with a shard.
    block
        (layers, points, features): those of one shard of each layer, or fewer where the array ends.
    where
        What is written, for the error.
    first_layer
        Position of the first of these layers.

    Returns
    -------
    dict
        What was written to which file, layer by layer.

    Raises
    ------
    InputError
        A value does not fit into float16 storage.
    """
    array = arrays.open_array(store, f"{group}/activations")
    if array.dtype == np.float16 and float(np.abs(block).max(initial=0.0)) > FLOAT16_LIMIT:
        layer = int(np.abs(block).max(axis=(1, 2)).argmax())
        largest = float(np.abs(block[layer]).max())
        raise InputError(
            f"{where}: layer position {first_layer + layer} holds {largest:.4g}, more than "
            f"float16 storage can keep ({FLOAT16_LIMIT:.0f}): set representations.store_dtype to float32"
        )
    _, shard_rows, _ = array.shards
    folder = store / group / "activations"
    paths = [_shard_path(folder, first_layer + layer, start // shard_rows) for layer in range(len(block))]

    def write_layer(path: Path, layer: npt.NDArray[Any]) -> shards.Written:
        rows = layer.astype(array.dtype, copy=False)
        return shards.write_shard(path, rows, shard_rows, array.chunks[1])

    found = files.at_once(partial(write_layer, *each) for each in zip(paths, block, strict=True))
    files.sync_names(paths, folder)
    return dict(zip(paths, found, strict=True))


class LayerRows:
    """The points of one layer, read from disk by ranges of rows.

    Parameters
    ----------
    groups
        Groups that hold the points, in their order: one, or one for each unit.
    position
        Of the layer.

    Attributes
    ----------
    shape
        (points, features).
    """

    def __init__(self, store: Path, groups: Sequence[str], position: int) -> None:
        self._store, self._position = store, position
        self._names = [f"{group}/activations" for group in groups]
        self._arrays = [zarr.open_array(store, path=name, mode="r", zarr_format=3) for name in self._names]
        self._edges = np.cumsum([0, *(array.shape[1] for array in self._arrays)])
        self.shape: tuple[int, int] = (int(self._edges[-1]), int(self._arrays[0].shape[2]))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``start:stop`` as stored.

        Raises
        ------
        DamagedError
            A chunk's checksum is wrong, or its bytes are cut short.
        """
        into = np.empty((stop - start, self.shape[1]), self._arrays[0].dtype.newbyteorder("<"))
        first, last = self._edges[:-1], self._edges[1:]
        for number in np.flatnonzero((last > start) & (first < stop)).tolist():
            low, high = max(start, int(first[number])), min(stop, int(last[number]))
            self._read(number, low - int(first[number]), into[low - start : high - start])
        return into

    def _read(self, number: int, start: int, into: npt.NDArray[Any]) -> None:
        """Rows of one array from `start` on, shard by shard."""
        array, name = self._arrays[number], self._names[number]
        (_, shard_rows, _), done = array.shards, 0
        while done < len(into):
            shard, first = divmod(start + done, shard_rows)
            part = into[done : done + shard_rows - first]
            path = _shard_path(self._store / name, self._position, shard)
            try:
                shards.read_rows(path, first, part, shard_rows, array.chunks[1])
            except (ValueError, OSError) as error:
                what = f"{name}, layer position {self._position}, rows {start}:{start + len(into)}"
                raise damaged_store(self._store, what, error) from error
            done += len(part)


def _shard_path(array: Path, layer: int, shard: int) -> Path:
    return array / f"c/{layer}/{shard}/0"
