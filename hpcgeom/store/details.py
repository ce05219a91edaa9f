"""What is kept whole of chosen samples: one group a site and sample, in the store of the activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from hpcgeom.store import arrays
from hpcgeom.store.records import damaged_store
from hpcgeom.store.variables import DETAILS, Variable


class Array(Protocol):
    """Place, dimensions and shape of an array; see `hpcgeom.plan.details`."""

    @property
    def group(self) -> str:
        """Path of its group."""

    @property
    def name(self) -> str:
        """Its name there."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Its dimensions."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Their sizes."""

    @property
    def shard(self) -> tuple[int, ...]:
        """Shape of a shard."""

    @property
    def dtype(self) -> str:
        """Type on disk."""


def create(
    root: zarr.Group, found: Sequence[Array], layers: Mapping[str, Sequence[int]], sample: str
) -> None:
    """Lay out the empty arrays of one sample.

    Parameters
    ----------
    layers
        Group to its layer numbers; empty where it has none.
    sample
        Its id.
    """
    for array in found:
        group = root.require_group(array.group)
        group.attrs["sample"] = sample
        about = DETAILS[array.name]
        arrays.create_array(
            group,
            array.name,
            Variable(array.dims, array.dtype, about.long_name, about.units, about.source),
            shape=array.shape,
            shards=array.shard,
            chunks=_chunk(array),
        )
    for path, numbers in layers.items():
        if numbers:
            text = {"long_name": "layer: number of blocks before this point of the model"}
            arrays.create_coordinate(root.require_group(path), "layer", list(numbers), text)


def write(store: Path, array: Array, values: npt.NDArray[Any]) -> None:
    """Write one array, shard by shard."""
    target = arrays.open_array(store, f"{array.group}/{array.name}")
    if array.dims[0] != "layer":
        target[...] = values.astype(array.dtype, copy=False)
        return
    for position in range(array.shape[0]):
        target[position] = values[position].astype(array.dtype, copy=False)


def read(store: Path, name: str) -> npt.NDArray[Any]:
    """One array, whole.

    Raises
    ------
    DamagedError
        A chunk's checksum is wrong, or its bytes are cut short.
    """
    try:
        return np.asarray(zarr.open_array(store, path=name, mode="r", zarr_format=3)[...])
    except (ValueError, OSError, RuntimeError) as error:
        raise damaged_store(store, name, error) from error


def _chunk(array: Array) -> tuple[int, ...]:
    """A chunk within a shard: one head of attention maps, else some rows of at most 1 MiB."""
    if array.dims[:2] == ("layer", "head"):
        return (1, 1, *array.shape[2:])
    return array.shard if np.prod(array.shard) * 8 <= arrays.CHUNK_BYTES else _rows_of(array)


def _rows_of(array: Array) -> tuple[int, ...]:
    """The longest rows of a shard that divide it and stay within 1 MiB."""
    axis = 1 if array.dims[0] == "layer" else 0
    shard = list(array.shard)
    row_bytes = 8 * int(np.prod(shard)) // shard[axis]
    fitting = [
        n for n in range(1, shard[axis] + 1) if shard[axis] % n == 0 and n * row_bytes <= arrays.CHUNK_BYTES
    ]
    shard[axis] = max(fitting, default=1)
    return tuple(shard)
