"""Checksums of files in records: SHA-256 of a short file, and of a long one at the speed of its CRC-32.

A long file goes into SHA-256 as its first 256 KiB and the CRC-32 (of ISO-HDLC: zlib, gzip, PNG) of each
256 KiB that follow, as four bytes, little-endian. Any burst of up to 32 wrong bits changes a CRC-32, other
damage does but for one case in 4e9. It tells what was damaged, not what was forged.

CRC-32C would not do: Zarr ends every chunk in its own CRC-32C, and bytes that end so all have the same one.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

PIECE_BYTES = 2**18
"""The last piece of a file may be shorter."""


class Checksum:
    """The checksum of the bytes that come, part by part.

    Attributes
    ----------
    size
        Bytes that have come.
    """

    def __init__(self) -> None:
        self.size = 0
        self._sha256, self._crc32 = hashlib.sha256(), 0

    def update(self, raw: bytes | memoryview) -> None:
        """Go on with these bytes; where they are cut changes nothing."""
        left = memoryview(raw)
        while left:
            n_open = self.size % PIECE_BYTES
            if n_open == 0 and self.size > PIECE_BYTES:
                self._sha256.update(self._last())
                self._crc32 = 0
            part = left[: PIECE_BYTES - n_open]
            if self.size < PIECE_BYTES:
                self._sha256.update(part)
            else:
                self._crc32 = zlib.crc32(part, self._crc32)
            self.size += len(part)
            left = left[len(part) :]

    def hexdigest(self) -> str:
        """64 hex digits, of what has come so far."""
        whole = self._sha256.copy()
        if self.size > PIECE_BYTES:
            whole.update(self._last())
        return whole.hexdigest()

    def _last(self) -> bytes:
        return self._crc32.to_bytes(4, "little")


def checksum_of(path: Path) -> str:
    """The checksum of a file as it is now, 64 hex digits."""
    checksum, buffer = Checksum(), memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while n_read := file.readinto(buffer):
            checksum.update(buffer[:n_read])
    return checksum.hexdigest()
