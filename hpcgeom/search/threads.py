"""A few threads at a time: over rows, and none inside BLAS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from hpcgeom.search.rows import row_ranges

BLOCK_ROWS = 1024
"""Rows held in float64 at a time, by each thread."""

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Every product by the thread that asks for it, so that its rounding does not depend on their number."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Found once: looking through the libraries of a process takes longer than a small product."""
    return ThreadpoolController()


def each(work: Callable[[_Key], _Result], keys: Sequence[_Key], threads: int) -> list[_Result]:
    """What `work` gives for each key, a few at the same time, in order; none may wait for another call."""
    if threads == 1 or len(keys) <= 1:
        return [work(key) for key in keys]
    return list(_pool(threads).map(work, keys))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: what one frees, it finds again, where new ones would each keep some of it."""
    return ThreadPoolExecutor(threads)


def in_blocks(
    work: Callable[[slice], _Result], n_rows: int, threads: int, block_rows: int = BLOCK_ROWS
) -> list[_Result]:
    """Do the rows in equal blocks, a few at the same time; what the blocks gave, in order."""
    blocks = [slice(start, stop) for start, stop in row_ranges(n_rows, block_rows)]
    return each(work, blocks, threads)


def in_threads(work: Callable[[slice], _Result], n_rows: int, threads: int) -> list[_Result]:
    """Do the rows in as many slices as there are threads."""
    if n_rows == 0:
        return []
    slices = [slice(start, stop) for start, stop in row_ranges(n_rows, -(-n_rows // threads))]
    return each(work, slices, threads)
