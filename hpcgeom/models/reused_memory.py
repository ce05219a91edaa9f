"""Memory for large arrays that come and go: what one leaves, the next one of about its size gets.

The system hands out fresh memory page by page, when it is first written to, and clears each page. That takes
several times as long as writing to memory that is there already.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

MIN_BYTES = 2**20
"""Smaller arrays come from NumPy: the C library reuses their memory by itself."""


class ReusedMemory:
    """Makes arrays whose memory is handed out again when nothing refers to them, nor to views of them.

    Before memory is asked of the system, memory that is free here is given back to it, as none of it suited:
    there is never more than was in use at some moment, but for blocks up to twice as large as their arrays.
    Arrays may go in any thread, and are made in one.
    """

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array with any numbers in it."""
        n_bytes = 4 * math.prod(shape)
        if n_bytes < MIN_BYTES:
            return np.empty(shape, np.float32)
        lent = np.asarray(_Lent(self._block(n_bytes), self._free))
        return lent[:n_bytes].view(np.float32).reshape(shape)

    def _block(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        for position, block in enumerate(self._free):  # what comes back meanwhile comes at the end
            if n_bytes <= len(block) <= 2 * n_bytes:
                return self._free.pop(position)
        self._free.clear()
        return np.empty(n_bytes, np.uint8)  # in large pages, where there are any


class _Lent:
    """What an array and its views keep alive; when it goes, its block is free."""

    def __init__(self, block: npt.NDArray[np.uint8], free: list[npt.NDArray[np.uint8]]) -> None:
        self.__array_interface__ = block.__array_interface__
        self._block, self._free = block, free

    def __del__(self) -> None:
        self._free.append(self._block)
