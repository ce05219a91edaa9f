"""Candidates of all rows of some ranges: every pair of tiles meets once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpcgeom import faults
from hpcgeom.ahead import read_ahead
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.kernels import Kernel
from hpcgeom.search.rows import RowSource
from hpcgeom.search.scan import Centering
from hpcgeom.search.tiles import Tile

Range = tuple[int, int]


def propose(
    source: RowSource,
    centering: Centering,
    kernel: Kernel,
    k: int,
    n_base: int,
    first: Sequence[Range],
    second: Sequence[Range] | None,
    threads: int,
) -> dict[int, Candidates]:
    """Candidates of the rows of some ranges.

    Parameters
    ----------
    source
        (N, D).
    centering
        How rows are prepared for the products.
    kernel
        Multiplies and selects.
    k
        Neighbors wanted of each row.
    n_base
        Rows from here on are queries, and no candidates.
    first, second
        Ranges of at most a tile (`tiles.tile_ranges`): every row of the first meets every row of the second.
        None for the second: all rows of the first meet each other.
    threads
        Threads of the products and the selection.

    Returns
    -------
    dict
        Candidates by the start of their range, settled.
    """
    bound, lists = kernel.bound(source.shape[1]), dict[int, Candidates]()

    def load(rows: Range) -> Tile:
        return kernel.load(source, *rows, centering, is_base=rows[0] < n_base, threads=threads)

    def lists_of(tile: Tile) -> Candidates:
        if tile.start not in lists:
            lists[tile.start] = Candidates.empty(tile.start, tile.norms, k, bound)
        return lists[tile.start]

    visits = list(_visits(first, second, n_base))
    loaded = read_ahead(map(load, _loads(visits)))
    held: Tile | None = None
    for one, other in visits:
        if held is None or held.start != one[0]:
            held = next(loaded)
        tile = held if one == other else next(loaded)
        faults.reached("tile", start=one[0])
        kernel.meet(held, tile, lists_of(held), lists_of(tile), threads)
    for candidates in lists.values():
        candidates.settle(threads)
    return lists


def _visits(
    first: Sequence[Range], second: Sequence[Range] | None, n_base: int
) -> Iterator[tuple[Range, Range]]:
    """Pairs of ranges that have something to give to each other."""
    for number, one in enumerate(first):
        for other in first[number:] if second is None else second:
            if min(one[0], other[0]) < n_base:
                yield one, other


def _loads(visits: Sequence[tuple[Range, Range]]) -> Iterator[Range]:
    """What `propose` reads, in order: the first range of a pair where it changes, and the other."""
    held: Range | None = None
    for one, other in visits:
        if one != held:
            held = one
            yield one
        if other != one:
            yield other
