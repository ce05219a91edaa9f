"""Candidates of all rows of some ranges: every pair of tiles meets once."""

from __future__ import annotations

from collections.abc import Sequence

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

    def meet(pairs: list[tuple[Tile, Tile]]) -> None:
        for tile in pairs[-1]:  # no others are in the pairs before
            if tile.start not in lists:
                lists[tile.start] = Candidates.empty(tile.start, tile.norms, k, bound)
        faults.reached("tile", start=pairs[0][0].start)
        kernel.meet(pairs, lists, threads)

    passes = _passes(first, second, n_base)
    loaded = read_ahead(load(rows) for one, others in passes for rows in (one, *others))
    for number, (_, others) in enumerate(passes):
        reads_all = second is None and number == 0
        held = next(loaded)
        pairs = [(held, held)] if reads_all else []
        for _ in others:
            tile = next(loaded)
            if reads_all and tile.is_base:
                pairs.append((tile, tile))  # first, which gives its rows good thresholds
            meet([*pairs, (held, tile)])
            pairs = []
        if pairs:
            meet(pairs)
    for candidates in lists.values():
        candidates.settle(threads)
    return lists


def _passes(
    first: Sequence[Range], second: Sequence[Range] | None, n_base: int
) -> list[tuple[Range, list[Range]]]:
    """What is read: a range that is held, and after it those that give something to it, or it to them.

    Where rows of the first meet each other, the first pass reads all of them, and they meet themselves.
    """
    found = []
    for number, one in enumerate(first):
        following = first[number + 1 :] if second is None else second
        others = [other for other in following if min(one[0], other[0]) < n_base]
        if others or (second is None and number == 0 and one[0] < n_base):
            found.append((one, others))
    return found
