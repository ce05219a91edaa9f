"""Zarr v3 as hpcgeom writes it: shards that one unit owns, crc32c on every chunk, NaN where nothing is."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec

from hpcgeom.store import files
from hpcgeom.store.variables import Variable

CHUNK_BYTES = 2**20


def fill_value(dtype: str) -> float | int:
    """What unwritten elements read as; never a number that could be data."""
    return float("nan") if np.dtype(dtype).kind == "f" else -1


def chunk_rows(row_bytes: int, shard_rows: int) -> int:
    """Largest power of two of rows that keeps a chunk within 1 MiB, no more than a shard."""
    rows = 1
    while rows * 2 <= shard_rows and rows * 2 * row_bytes <= CHUNK_BYTES:
        rows *= 2
    return rows


def create_array(
    group: zarr.Group,
    name: str,
    variable: Variable,
    shape: tuple[int, ...],
    shards: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str | None = None,
) -> None:
    """Lay out the metadata of one array; no data."""
    kind = dtype or variable.dtype
    group.create_array(
        name,
        shape=shape,
        shards=shards,
        chunks=chunks,
        dtype=kind,
        compressors=[Crc32cCodec()],
        fill_value=fill_value(kind),
        dimension_names=variable.dims,
        attributes=variable.attributes(),
        config={"write_empty_chunks": True},
    )


def whole_chunks(shard_rows: int, chunk: int) -> int:
    """Rows of a shard of at least `shard_rows` that is a whole number of chunks."""
    return -(-shard_rows // chunk) * chunk


def create_coordinate(
    group: zarr.Group,
    name: str,
    values: npt.ArrayLike,
    attributes: Mapping[str, Any],
    dim: str | None = None,
) -> None:
    """Write a one-dimensional coordinate, along the dimension of its own name where `dim` is None.

    Parameters
    ----------
    values
        Integers, or strings, which are stored with variable length.
    """
    values = np.asarray(values)
    is_text = values.dtype.kind in "OU"
    array = group.create_array(
        name,
        shape=(len(values),),
        chunks=(max(len(values), 1),),
        dtype="string" if is_text else "int64",
        compressors=[Crc32cCodec()],
        fill_value="" if is_text else 0,
        dimension_names=(dim or name,),
        attributes=dict(attributes),
        config={"write_empty_chunks": True},
    )
    array[:] = values


def lay_out(target: Path, build: Callable[[zarr.Group], None]) -> list[Path]:
    """Build the metadata and coordinates of a store beside it, then move each file into place.

    Data that is already there stays: shards are not touched.

    Returns
    -------
    list of Path
        The files that were put in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_over in target.parent.glob(f".{target.name}.*.building"):
        shutil.rmtree(left_over)  # by a process that was killed: only one lays out a run at a time
    beside = target.with_name(f".{target.name}.{os.getpid()}.building")
    try:
        build(zarr.open_group(beside, mode="w", zarr_format=3))
        consolidate(beside)
        placed: list[Path] = []
        for source in sorted(path for path in beside.rglob("*") if path.is_file()):
            path = target / source.relative_to(beside)
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
            placed.append(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    files.sync_files(placed)
    return placed


def consolidate(store: Path) -> None:
    """Write consolidated metadata, which xarray opens a store with."""
    with warnings.catch_warnings():
        # Zarr warns that the format 3 specification does not name consolidated metadata yet; every reader
        # ignores it or uses it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(zarr.storage.LocalStore(store), zarr_format=3)


def open_array(store: Path, path: str) -> zarr.Array:
    """One array of a store, to read or to write whole shards of."""
    # `Array.with_config` is newer than the oldest Zarr that is allowed.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.open_array(store, path=path, mode="r+", zarr_format=3)
