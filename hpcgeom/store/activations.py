"""Activations: one Zarr store a model, one group a site and pooling, one shard a layer and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from hpcgeom.errors import InputError
from hpcgeom.store import arrays
from hpcgeom.store.records import damaged_store
from hpcgeom.store.variables import ACTIVATIONS

FLOAT16_LIMIT = 6.0e4


@dataclass(frozen=True, slots=True)
class Group:
    """Layout of one representation: where it is in the store, its layers and width."""

    path: str
    layers: tuple[int, ...]
    width: int
    modules: tuple[str, ...] = ()


def create(
    store: Path,
    groups: Sequence[Group],
    sample_ids: Sequence[str],
    unit_rows: int,
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
            rows = arrays.chunk_rows(item.width * np.dtype(dtype).itemsize, unit_rows)
            arrays.create_array(
                group,
                "activations",
                ACTIVATIONS["activations"],
                shape=(len(item.layers), len(sample_ids), item.width),
                shards=(1, unit_rows, item.width),
                chunks=(1, rows, item.width),
                dtype=dtype,
            )
            create_axes(group, item, sample_ids)
        extend(root)

    return arrays.lay_out(store, build)


def create_axes(group: zarr.Group, item: Group, sample_ids: Sequence[str]) -> None:
    """Write the coordinates `layer`, `sample` and, where there are any, module names."""
    about = {"long_name": "layer: number of blocks before this point of the model"}
    arrays.create_coordinate(group, "layer", list(item.layers), about)
    arrays.create_coordinate(group, "sample", list(sample_ids), {"long_name": "sample id, in sample order"})
    if item.modules:
        names = [item.modules[layer] for layer in item.layers]
        module = group.create_array(
            "module",
            shape=(len(names),),
            dtype="string",
            dimension_names=("layer",),
            fill_value="",
            compressors=None,
        )
        module[:] = np.array(names, dtype=object)


def write(store: Path, group: str, start: int, block: npt.NDArray[Any], where: str) -> None:
    """Write a unit's rows of all layers: whole shards.

    Parameters
    ----------
    block
        (layers, rows, features).
    where
        What is written, for the error.

    Raises
    ------
    InputError
        A value does not fit into float16 storage.
    """
    array = arrays.open_array(store, f"{group}/activations")
    if array.dtype == np.float16 and float(np.abs(block).max(initial=0.0)) > FLOAT16_LIMIT:
        layer = int(np.abs(block).max(axis=(1, 2)).argmax())
        raise InputError(
            f"{where}: layer position {layer} holds {float(np.abs(block[layer]).max()):.4g}, more than "
            f"float16 storage can keep ({FLOAT16_LIMIT:.0f}): set representations.store_dtype to float32"
        )
    for position in range(block.shape[0]):
        array[position, start : start + block.shape[1], :] = block[position].astype(array.dtype, copy=False)


class LayerRows:
    """The points of one layer, read from disk by ranges of rows.

    Attributes
    ----------
    shape
        (samples, features).
    """

    def __init__(self, store: Path, group: str, position: int) -> None:
        self._store, self._position = store, position
        self._name = f"{group}/activations"
        self._array = zarr.open_array(store, path=self._name, mode="r", zarr_format=3)
        self.shape: tuple[int, int] = (int(self._array.shape[1]), int(self._array.shape[2]))

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows ``start:stop`` as stored.

        Raises
        ------
        DamagedError
            A chunk's checksum is wrong, or its bytes are cut short.
        """
        try:
            return np.asarray(self._array[self._position, start:stop, :])
        except (ValueError, OSError, RuntimeError) as error:
            what = f"{self._name}, layer position {self._position}, rows {start}:{stop}"
            raise damaged_store(self._store, what, error) from error
