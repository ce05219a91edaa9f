"""Memory of the host: large pages for large things that stay, and pages that are kept for those that pass."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping
from contextlib import suppress

import torch

PAGE_BYTES = 4096
"""Reads past the page cache begin and end at multiples of this, in the file and in memory."""


def large_pages(n_bytes: int) -> torch.Tensor:
    """New memory, uint8 (n_bytes,): a product reads weights faster from large pages.

    Where the system has no large pages to give, they are ordinary ones.
    """
    memory = mmap.mmap(-1, max(1, n_bytes))
    with suppress(OSError, AttributeError):  # a kernel without them, or another system
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)[:n_bytes]


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""
_LARGEST_KEPT_BYTES = 64 * 2**20


def keep_freed_memory() -> None:
    """Let this process keep what it frees for what it needs next, where its C library is glibc.

    Activations come and go with every operation. By default most go back to the system, which clears the same
    pages and hands them out again: an eighth of the time of a forward pass of ESM-2 35M.
    """
    _set_allocator({_MMAP_THRESHOLD: _LARGEST_KEPT_BYTES, _TRIM_THRESHOLD: 2**31 - 1})


def return_freed_memory() -> None:
    """Let large pieces of memory come from the system, and go back to it when they are freed (glibc).

    Small pieces that come and go with every weight would else keep freed activations from being used again:
    the process of a model of 16 blocks grew to three times what it held.
    """
    _set_allocator({_MMAP_THRESHOLD: 4 * 2**20})


def _set_allocator(options: Mapping[int, int]) -> None:
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        for option, value in options.items():
            set_option(option, value)
