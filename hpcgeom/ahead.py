"""Getting the next thing ready while the last one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items, in order, each made by a thread while the one before is in use.

    What making an item raises is raised where it would have come.
    """
    end, source = object(), iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="hpcgeom-reader") as thread:
        following = thread.submit(next, source, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, source, end)
            yield item  # type: ignore[misc]
            del item  # it may be large, and is not needed while the next one is waited for
