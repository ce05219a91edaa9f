"""What becomes of memory that this process frees, where its C library is glibc; nothing is changed elsewhere.

By default large pieces go back to the system, which clears them before it hands them out again, and each
thread keeps small ones for itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Numbers of mallopt(3)."""
_MIB = 2**20
_USUAL_TRIM = 2**17


def keep_it() -> None:
    """From now on, keep what is freed for what is needed next.

    For models, whose activations come and go with every operation: an eighth of the time of a forward pass of
    ESM-2 35M.
    """
    _set({_MMAP_THRESHOLD: 64 * _MIB, _TRIM_THRESHOLD: 2**31 - 1})


def return_it() -> None:
    """From now on, take large pieces from the system, and give them back.

    For models that are read in parts: small pieces that come and go with every weight would keep freed
    activations from being used again, and a process of 16 blocks grew to three times what it held.
    """
    _set({_MMAP_THRESHOLD: 4 * _MIB, _TRIM_THRESHOLD: _USUAL_TRIM})


def share_it() -> None:
    """From now on, let all threads free memory into one pool, and give large pieces back.

    For searches: threads do not find the tiles that others have freed, and a process grew to half as much
    again. Large are tiles; products of panels are smaller, and stay for the next ones: given back each time,
    and cleared each time, they took a fifth of all time with two threads.
    """
    _set({_ARENA_MAX: 1, _MMAP_THRESHOLD: 8 * _MIB, _TRIM_THRESHOLD: 64 * _MIB})


def return_all() -> None:
    """Give what is free now back to the system."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(options: Mapping[int, int]) -> None:
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        for option, value in options.items():
            set_option(option, value)
