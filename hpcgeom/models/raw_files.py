"""Bytes of tensors to and from files, at given places, with checksums; a full disk is a resource error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
import torch

from hpcgeom.errors import InputError, ResourceError

Bytes = npt.NDArray[np.uint8]
"""Bytes of a tensor on the host, not copied."""
_CHECKED_BYTES = 4 * 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def bytes_of(tensor: torch.Tensor) -> Bytes:
    """The memory of a contiguous tensor on the host."""
    raw: Bytes = tensor.detach().flatten().view(torch.uint8).numpy()
    return raw


def crc32c_of(raw: Bytes, before: int = 0) -> int:
    """CRC-32C (Castagnoli) of some bytes, or of those of the checksum `before` and these."""
    checksum = before
    for start in range(0, len(raw), _CHECKED_BYTES):
        checksum = google_crc32c.extend(checksum, raw[start : start + _CHECKED_BYTES].tobytes())
    return checksum


def crc32c_of_file(path: Path) -> int:
    """CRC-32C of all bytes of a file."""
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHECKED_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return checksum


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_at(descriptor: int, raw: Bytes, offset: int, path: Path, needed: int | None = None) -> None:
    """Fill `raw` with the bytes of a file from `offset` on.

    Parameters
    ----------
    needed
        How many bytes must be there, where the file may end before `raw` does; all of them if None.

    Raises
    ------
    InputError
        The file cannot be read, or ends before that.
    """
    n_read, needed = 0, len(raw) if needed is None else needed
    while n_read < needed:
        try:
            n_new = os.preadv(descriptor, [raw[n_read:].data], offset + n_read)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read at byte {offset + n_read}: {error.strerror}: check the disk, or "
                "fetch it again"
            ) from error
        if n_new == 0:
            raise InputError(
                f"{path} ends at byte {offset + n_read}; expected {needed - n_read} more: it was cut off "
                "since it was opened, fetch it again"
            )
        n_read += n_new


def write_at(descriptor: int, raw: Bytes, offset: int, path: Path) -> None:
    """Write bytes to a file from `offset` on.

    Raises
    ------
    ResourceError
        The disk or the quota is full.
    """
    n_written = 0
    try:
        while n_written < len(raw):
            n_written += os.pwritev(descriptor, [raw[n_written:].data], offset + n_written)
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"no space is left to write {path} ({error.strerror}): free some, or take a folder on "
                "another disk, then run the same command again"
            ) from error
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file at once, and durably."""
    beside = path.with_name(f".{path.name}.partial")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_at(descriptor, np.frombuffer(content, np.uint8), 0, path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
    sync(path.parent)
