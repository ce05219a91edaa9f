"""Whole shards, written straight from an array: the bytes that Zarr's sharding codec would write.

Chunks of rows one after the other, each with its CRC-32C behind it, then an index of offsets and lengths with
its own CRC-32C (Zarr v3, codec `sharding_indexed`). Going through the codec itself copies every chunk several
times and holds one core; here the array goes to the file as it lies in memory, and several shards at once.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

ABSENT = 2**64 - 1
"""Offset and length of a chunk that holds no element of the array."""


def write_shard(path: Path, rows: npt.NDArray[Any], shard_rows: int, chunk_rows: int) -> None:
    """Write the one shard that holds `rows`; it appears whole.

    Parameters
    ----------
    path
        The file of the shard.
    rows
        (n, features), n at most `shard_rows`, in the array's own type. Where they end within a chunk, the
        rest of it is NaN, as chunks have one size.
    shard_rows, chunk_rows
        Rows of a shard and of a chunk.
    """
    little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
    chunk_bytes = chunk_rows * little.strides[0] if len(little) else 0
    index = np.full((shard_rows // chunk_rows, 2), ABSENT, "<u8")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with beside.open("wb") as file:
            for number, first in enumerate(range(0, len(little), chunk_rows)):
                chunk = little[first : first + chunk_rows]
                if len(chunk) < chunk_rows:
                    missing = np.full((chunk_rows - len(chunk), *chunk.shape[1:]), np.nan, little.dtype)
                    chunk = np.concatenate([chunk, missing])
                index[number] = file.tell(), chunk_bytes + 4
                _write_checked(file, chunk)
            _write_checked(file, index)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_checked(file: Any, values: npt.NDArray[Any]) -> None:
    raw = values.reshape(-1).view(np.uint8)
    file.write(raw)
    file.write(google_crc32c.value(raw).to_bytes(4, "little"))
