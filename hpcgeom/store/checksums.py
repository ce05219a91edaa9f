"""Checksums of files in records: SHA-256 of a short file, and of a long one at the speed of its CRC-32C.

A long file is cut into pieces; the last one may be shorter. Of each the CRC-32C of all but its last four
bytes goes into SHA-256, as four bytes, little-endian, and then these last four bytes. Any burst of up to 32
wrong bits changes a CRC-32C, other damage does but for one case in 4e9. It tells what was damaged, not what
was forged.

The last four bytes stand apart because Zarr ends every chunk in its own CRC-32C, and bytes that end so all
have the same one. Shards are cut by their chunks, so that one CRC-32C serves the chunk and the record.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

PIECE_BYTES = 2**18
"""Of a long file that is not cut by chunks; those up to this size are short."""
CRC_BYTES = 4

Bytes = npt.NDArray[np.uint8]


def crc32c(raw: Bytes) -> bytes:
    """CRC-32C (Castagnoli), little-endian."""
    return int(google_crc32c.value(raw)).to_bytes(CRC_BYTES, "little")


class Checksum:
    """The checksum of a long file whose bytes come in their order.

    Parameters
    ----------
    piece_bytes
        Size of a piece.

    Attributes
    ----------
    size
        Bytes that have come.
    """

    def __init__(self, piece_bytes: int) -> None:
        self.piece_bytes, self.size = piece_bytes, 0
        self._sha256 = hashlib.sha256()

    def add(self, raw: Bytes) -> None:
        """Whole pieces, but for the end of the file."""
        for first in range(0, len(raw), self.piece_bytes):
            piece = raw[first : first + self.piece_bytes]
            self._sha256.update(crc32c(piece[:-CRC_BYTES]) + piece[-CRC_BYTES:].tobytes())
        self.size += len(raw)

    def add_chunk(self, crc: bytes) -> None:
        """A piece that is a chunk and then its CRC-32C, which is `crc`."""
        self._sha256.update(crc + crc)
        self.size += self.piece_bytes

    def hexdigest(self) -> str:
        """64 hex digits, of what has come so far."""
        return self._sha256.hexdigest()


def checksum_of(path: Path, piece_bytes: int | None = None) -> str:
    """The checksum of a file as it is now, 64 hex digits.

    Parameters
    ----------
    piece_bytes
        Size of the pieces of a long file; None for its SHA-256.
    """
    with path.open("rb") as file:
        if piece_bytes is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        checksum, piece = Checksum(piece_bytes), np.empty(piece_bytes, np.uint8)
        while n_read := file.readinto(piece.data):  # whole, but for the last one
            checksum.add(piece[:n_read])
    return checksum.hexdigest()
