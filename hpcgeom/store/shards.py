"""Shards, written straight from an array and read straight into one: the bytes of Zarr's sharding codec.

Chunks of rows one after the other, each with its CRC-32C behind it, then an index of offsets and lengths with
its own CRC-32C (Zarr v3, codec `sharding_indexed`). Going through the codec itself copies every chunk several
times and holds one core; here the array goes to the file as it lies in memory, several shards at once, and
comes back in a third of the time. What a record says of a shard is computed on the way, chunk by chunk, of
bytes that are in a cache then.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from hpcgeom.store import files
from hpcgeom.store.checksums import CRC_BYTES, Checksum, crc32c
from hpcgeom.store.column_sums import add_rows

ABSENT = 2**64 - 1
"""Offset and length of a chunk that holds no element of the array."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A shard that was written.

    Attributes
    ----------
    checksum
        Of the whole file.
    column_sums
        float64 (features,), of the rows.
    """

    checksum: Checksum
    column_sums: npt.NDArray[np.float64]


def write_shard(path: Path, rows: npt.NDArray[Any], shard_rows: int, chunk_rows: int) -> Written:
    """Write the one shard that holds `rows`; it appears whole, and its bytes are durable then.

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
    chunk_bytes = chunk_rows * little.shape[1] * little.itemsize
    checksum, index = Checksum(chunk_bytes + CRC_BYTES), np.full((shard_rows // chunk_rows, 2), ABSENT, "<u8")
    sums = np.zeros(little.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with beside.open("wb") as file:
            for number, first in enumerate(range(0, len(little), chunk_rows)):
                chunk = little[first : first + chunk_rows]
                add_rows(chunk, sums)
                if len(chunk) < chunk_rows:
                    missing = np.full((chunk_rows - len(chunk), *chunk.shape[1:]), np.nan, little.dtype)
                    chunk = np.concatenate([chunk, missing])
                index[number] = checksum.size, checksum.piece_bytes
                checksum.add_chunk(_write_checked(file, chunk))
                files.start_writing(file)
            checksum.add(np.frombuffer(index.tobytes() + _write_checked(file, index), np.uint8))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return Written(checksum, sums)


def _write_checked(file: BinaryIO, values: npt.NDArray[Any]) -> bytes:
    """Write values and then their CRC-32C, which is returned."""
    raw = values.reshape(-1).view(np.uint8)
    crc = crc32c(raw)
    file.write(raw.data)
    file.write(crc)
    return crc


def read_rows(path: Path, first: int, into: npt.NDArray[Any], shard_rows: int, chunk_rows: int) -> None:
    """Read rows `first` onward of a shard, as many as `into` has; NaN where nothing was written.

    Parameters
    ----------
    into
        (n, features), contiguous, in the array's own type.
    shard_rows, chunk_rows
        Rows of a shard and of a chunk.

    Raises
    ------
    ValueError
        A CRC-32C is wrong, or bytes are missing.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        into[:] = np.nan
        return
    with file:
        index = np.empty((shard_rows // chunk_rows, 2), "<u8")
        file.seek(max(0, file.seek(0, os.SEEK_END) - index.nbytes - CRC_BYTES))
        _read_checked(file, index, "the index")
        done = 0
        while done < len(into):
            number, skipped = divmod(first + done, chunk_rows)
            n = min(chunk_rows - skipped, len(into) - done)
            _read_part(file, int(index[number, 0]), into[done : done + n], skipped, chunk_rows)
            done += n


def _read_part(file: BinaryIO, offset: int, into: npt.NDArray[Any], skipped: int, chunk_rows: int) -> None:
    """Read rows `skipped` onward of the chunk that begins at an offset."""
    if offset == ABSENT:
        into[:] = np.nan
        return
    is_whole = len(into) == chunk_rows
    chunk = into if is_whole else np.empty((chunk_rows, *into.shape[1:]), into.dtype)
    file.seek(offset)
    _read_checked(file, chunk, f"the chunk at byte {offset}")
    if not is_whole:
        into[:] = chunk[skipped : skipped + len(into)]


def _read_checked(file: BinaryIO, values: npt.NDArray[Any], what: str) -> None:
    """Fill values that lie together, which are followed by their CRC-32C."""
    raw = values.reshape(-1).view(np.uint8)
    if file.readinto(raw.data) < raw.nbytes or file.read(CRC_BYTES) != crc32c(raw):  # type: ignore[attr-defined]
        raise ValueError(f"{what} is cut short, or not what its CRC-32C says")
