"""Work of ours by the threads that torch has.

After each operation torch's threads wait for the next one in a loop, some milliseconds long, so that threads
of our own would share the cores with them: an attention of ten milliseconds takes fifteen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

_MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def in_team(work: Callable[[int, int], None], n: int) -> None:
    """Do items 0 to n in as many equal ranges as torch has threads: ``work(first, last)`` for each.

    Raises
    ------
    Exception
        The first of those that `work` raised.
    """
    threads = torch.get_num_threads()
    start = _start_of_torch()
    if start is None or threads == 1:
        work(0, n)
        return
    parts = iter([(n * part // threads, n * (part + 1) // threads) for part in range(threads)])
    failures: list[BaseException] = []

    def member(_: Any) -> None:
        try:
            for first, last in parts:
                work(first, last)
        except BaseException as failure:  # none may leave through a frame of C
            failures.append(failure)

    start(_MEMBER(member), None, threads, 0)
    if failures:
        raise failures[0]


def is_there() -> bool:
    """Whether torch's threads can be asked; else the caller of `in_team` does all."""
    return _start_of_torch() is not None


@cache
def _start_of_torch() -> Callable[..., None] | None:
    """``GOMP_parallel`` of the OpenMP that torch brings; those of LLVM and Intel have it, too."""
    found = ThreadpoolController().select(user_api="openmp").lib_controllers
    own = [library for library in found if "/torch/" in library.filepath] or found
    start = getattr(own[0].dynlib, "GOMP_parallel", None) if len(own) == 1 else None
    if start is not None:
        start.argtypes, start.restype = (_MEMBER, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return start  # type: ignore[no-any-return]
