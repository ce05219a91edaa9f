"""A search in parts: pairs of blocks propose, each by itself, and ranges of rows are merged later.

The distinct rows are cut into blocks. A *pair* of blocks gives candidates of the rows of both among the rows
of both; a *merge* takes what all pairs say of some rows, measures, certifies, and gives exact lists. Who does
which pair, and when, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.bounds import ErrorBound
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.certificate import Certificate, Tally
from hpcgeom.search.expand import NeighborTile, expanded
from hpcgeom.search.points import Points
from hpcgeom.search.propose import propose
from hpcgeom.search.rerank import Lists, rerank
from hpcgeom.search.rows import SelectedRows, read_rows

Arrays = Mapping[str, npt.NDArray[Any]]
_SIDES = ("first", "second")


def pairs_of_blocks(n_blocks: int) -> list[tuple[int, int]]:
    """All pairs (first, second) with first <= second; those of one block, half the work, come last.

    Workers that take them in this order end at about the same time.
    """
    pairs = [(first, second) for first in range(n_blocks) for second in range(first, n_blocks)]
    return sorted(pairs, key=lambda pair: pair[0] == pair[1])


def propose_pair(points: Points, first: int, second: int, n_blocks: int) -> dict[str, npt.NDArray[Any]]:
    """Candidates of the rows of two blocks among each other, as arrays by name.

    Parameters
    ----------
    points
        Scanned points; the same scan for all pairs and merges.
    first, second
        Numbers of the blocks; equal for the rows of one block among themselves.
    n_blocks
        Into how many blocks the distinct rows are cut.

    Returns
    -------
    dict
        What `merge_rows` reads: the kernel and its bound; and for each side (``first`` and ``second``) counts
        (R,), keys (sum of counts,), thresholds and norms (R,).
    """
    ranges = [points.ranges(*_block(points, number, n_blocks)) for number in (first, second)]
    proposed = propose(
        points.distinct, points.scan.centering, points.kernel, points.n_ranks, points.groups.n_base,
        ranges[0], None if first == second else ranges[1], points.settings.threads,
    )  # fmt: skip
    bound = points.kernel.bound(points.distinct.shape[1])
    arrays: dict[str, npt.NDArray[Any]] = {
        "kernel": np.array(points.kernel.name),
        "bound": np.array(bound.constants),
    }
    for side, tiles in zip(_SIDES, ranges[:1] if first == second else ranges, strict=False):
        arrays |= _packed(side, tiles, proposed)
    return arrays


def _packed(
    side: str, tiles: list[tuple[int, int]], proposed: Mapping[int, Candidates]
) -> dict[str, npt.NDArray[Any]]:
    """What is known of some tiles; of those that met nobody, nothing."""
    n_rows = tiles[-1][1] - tiles[0][0] if tiles else 0
    count_R, norm_R = np.zeros(n_rows, np.int32), np.zeros(n_rows)
    threshold_R, keys = np.full(n_rows, np.inf), [np.empty(0, np.int64)]
    for start, stop in tiles:
        if start in proposed:
            part, rows = proposed[start], slice(start - tiles[0][0], stop - tiles[0][0])
            count_R[rows], threshold_R[rows], norm_R[rows] = part.counts, part.thresholds, part.norms
            keys.append(part.keys[part.is_filled()])
    found: dict[str, npt.NDArray[Any]] = {
        "keys": np.concatenate(keys),
        "counts": count_R,
        "thresholds": threshold_R,
        "norms": norm_R,
    }
    return {f"{side}_{name}": values for name, values in found.items()}


def merge_rows(
    points: Points, start: int, stop: int, n_blocks: int, read: Callable[[int, int], Arrays]
) -> tuple[Iterator[NeighborTile], Callable[[], Certificate]]:
    """Exact lists of the rows start to stop - 1, from what all pairs proposed.

    Parameters
    ----------
    points, n_blocks
        As for `propose_pair`.
    start, stop
        Rows, equal ones included.
    read
        Gives what `propose_pair` gave for a pair of blocks.

    Returns
    -------
    tiles, certificate
        Lists in row order; and, once they are all read, the account of these rows.
    """
    tally = Tally()

    def tiles() -> Iterator[NeighborTile]:
        yield from expanded(points, _RangeLists(points, start, stop, n_blocks, read, tally), start, stop)

    return tiles(), lambda: tally.certificate(points, start, stop)


class _RangeLists:
    """Lists of all groups that some rows belong to, most of them first met among these rows."""

    def __init__(
        self,
        points: Points,
        start: int,
        stop: int,
        n_blocks: int,
        read: Callable[[int, int], Arrays],
        tally: Tally,
    ) -> None:
        self._points, self._n_blocks, self._read = points, n_blocks, read
        self._group_G = np.unique(points.groups.group_N[start:stop])
        self._bound = ErrorBound(0.0, 0.0, 0.0, 0.0)
        self._lists = Lists.empty(len(self._group_G), points.n_ranks)
        own = np.searchsorted(self._group_G, np.searchsorted(points.groups.first_row_G, [start, stop]))
        # Groups that were first met in earlier rows are counted there.
        self._fill(0, int(own[0]), Tally())
        self._fill(int(own[0]), len(self._group_G), tally)

    def of_rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Lists of the groups of rows start to stop - 1."""
        place_P = np.searchsorted(self._group_G, self._points.groups.group_N[start:stop])
        return self._lists.distances[place_P], self._lists.indices[place_P]

    def _fill(self, low: int, high: int, tally: Tally) -> None:
        points, tile_rows = self._points, self._points.settings.tile_rows
        if points.n_ranks == 0:
            tally.certified += high - low
            return
        for first in range(low, high, tile_rows):
            part = slice(first, min(first + tile_rows, high))
            group_R = self._group_G[part]
            rows_RD = read_rows(SelectedRows(points.distinct, group_R, tile_rows), 0, len(group_R))
            candidates = self._candidates(group_R, tally)
            lists = rerank(points.base, rows_RD, group_R, candidates, points.settings.threads, tally)
            self._lists.distances[part], self._lists.indices[part] = lists.distances, lists.indices

    def _candidates(self, group_R: npt.NDArray[np.int64], tally: Tally) -> Candidates:
        """What all pairs say of some groups.

        Pairs may have run on different machines, with different kernels: limits grow with every constant of
        the bound and with the norm, so the largest of each hold for all.
        """
        points, n_blocks = self._points, self._n_blocks
        blocks = []
        for block in range(n_blocks):
            begin, end = _block(points, block, n_blocks)
            low, high = (int(place) for place in np.searchsorted(group_R, [begin, end]))
            blocks += [(block, begin, slice(low, high))] if high > low else []
        candidates = Candidates.empty(0, np.zeros(len(group_R)), points.n_ranks, self._bound)
        for block, begin, rows in blocks:
            mine = candidates.part(rows.start, rows.stop)
            for other in range(n_blocks):
                arrays = self._read(min(block, other), max(block, other))
                tally.kernels.add(str(arrays["kernel"]))
                loosest = np.maximum(self._bound.constants, arrays["bound"])
                if (loosest > self._bound.constants).any():
                    self._bound = ErrorBound(*loosest.tolist())
                    return self._candidates(group_R, tally)
                side = _SIDES[block > other]
                row_R = group_R[rows] - begin
                np.maximum(mine.norms, arrays[f"{side}_norms"][row_R], out=mine.norms)
                mine.pour(row_R, *(arrays[f"{side}_{name}"] for name in ("keys", "counts", "thresholds")))
        candidates.settle(points.settings.threads)
        return candidates


def _block(points: Points, number: int, n_blocks: int) -> tuple[int, int]:
    n_groups = len(points.groups.first_row_G)
    return n_groups * number // n_blocks, n_groups * (number + 1) // n_blocks
