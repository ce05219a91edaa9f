"""Memory of the host for large things that stay: it begins with a page; large pages where there are any."""

from __future__ import annotations

import mmap
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
