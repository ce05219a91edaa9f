"""Merge: exact lists from what all parts of a split search found, one shard of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from hpcgeom import freed_memory
from hpcgeom.search import merge_rows
from hpcgeom.stages import partials
from hpcgeom.stages.base import Work, each, require_inputs, require_layout
from hpcgeom.stages.neighbor_shards import write_lists
from hpcgeom.stages.run import Run
from hpcgeom.stages.search import points_of
from hpcgeom.store import npz
from hpcgeom.types import Unit

_ARRAYS_OF_A_PAIR = 6
"""That a merge asks for: the kernel and its bound; keys, counts, thresholds and norms of one side."""


class Merge:
    """Puts together the lists of searches that were split; the files are those of a search that was not."""

    name = "merge"
    inputs = ("extract", "search")

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all activations and all parts are there."""
        require_layout(run, "extract")
        require_layout(run, "search")
        require_inputs(run, self)
        freed_memory.share_it()
        yield each(lambda item: _work(run, item))


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    parts = {part.blocks: part for part in run.units("search") if unit in part.superseded_by}
    scan, mark = partials.read_scan(run, parts[None])
    points = points_of(run, unit, scan)

    @cache
    def path(first: int, second: int) -> Path:
        return partials.pair_file(run, parts[first, second], mark)

    # Tiles of one block follow each other, and each asks all pairs that the block is in for its side.
    @lru_cache(maxsize=_ARRAYS_OF_A_PAIR * unit.n_blocks)
    def array(first: int, second: int, name: str) -> npt.NDArray[Any]:
        return npz.load_one(path(first, second), name)

    tiles, certificate = merge_rows(
        points,
        unit.start,
        unit.stop,
        unit.n_blocks,
        lambda first, second: _Pair(partial(array, first, second)),
    )
    write_lists(run, unit, tiles, points.duplicate_of)
    return {"certificate": asdict(certificate())}


class _Pair(dict[str, npt.NDArray[Any]]):
    """What a pair of blocks found, read when it is asked for: most who ask want one of its sides."""

    def __init__(self, read: Callable[[str], npt.NDArray[Any]]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        return self._read(name)
