"""The search of one representation: all rows, equal ones included, in memory or out of core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom import freed_memory
from hpcgeom.errors import HpcgeomError
from hpcgeom.search.certificate import Certificate, Tally
from hpcgeom.search.duplicates import GroupLists
from hpcgeom.search.expand import NeighborTile, expanded
from hpcgeom.search.held import read_once
from hpcgeom.search.points import Points, Settings, check_settings, scan_points
from hpcgeom.search.propose import propose
from hpcgeom.search.rerank import Lists, rerank
from hpcgeom.search.rows import ArrayRows, RowSource, read_rows


@dataclass(frozen=True)
class NeighborLists:
    """Lists of all N rows (fields as in `NeighborTile`), first equal rows (N,) int32, and the certificate."""

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int32]
    duplicate_of: npt.NDArray[np.int32]
    distinct_distances: npt.NDArray[np.float64] | None
    distinct_indices: npt.NDArray[np.int32] | None
    certificate: Certificate


class RepresentationSearch:
    """A search that has read all rows once and is ready to run; made by `search_representation`.

    Attributes
    ----------
    duplicate_of
        (N,) int32: the first equal row of each row, itself if there is none before.
    has_duplicates
        Whether some rows are equal, so that tiles have lists over distinct rows too.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self.duplicate_of = points.duplicate_of
        self.has_duplicates = points.has_duplicates
        self._certificate: Certificate | None = None

    @property
    def certificate(self) -> Certificate:
        """What was proven; there once all tiles are done.

        Raises
        ------
        HpcgeomError
            Before that.
        """
        if self._certificate is None:
            raise HpcgeomError(
                "the search has no certificate before its last tile is done: read all of tiles() first"
            )
        return self._certificate

    def tiles(self) -> Iterator[NeighborTile]:
        """Search, and give the lists of all rows in row order, in tiles of at most `tile_rows` rows."""
        points, tally = self._points, Tally()
        group_lists = GroupLists(points.groups, points.n_ranks)
        for start, stop, lists in self._lists(tally):
            group_lists.put(start, lists.distances, lists.indices)
            first_row_G = points.groups.first_row_G
            first = int(first_row_G[start])
            last = int(first_row_G[stop]) if stop < len(first_row_G) else points.source.shape[0]
            yield from expanded(points, group_lists, first, last)
        self._certificate = tally.certificate(points, 0, len(self.duplicate_of))

    def collect(self) -> NeighborLists:
        """Search, and hold the lists of all rows in memory."""
        shape = len(self.duplicate_of), self._points.settings.k
        distances, indices = np.empty(shape), np.empty(shape, np.int32)
        distinct_distances, distinct_indices = np.empty(shape), np.empty(shape, np.int32)
        for tile in self.tiles():
            rows = slice(tile.start, tile.stop)
            distances[rows], indices[rows] = tile.distances, tile.indices
            if tile.distinct_distances is not None and tile.distinct_indices is not None:
                distinct_distances[rows] = tile.distinct_distances
                distinct_indices[rows] = tile.distinct_indices
        return NeighborLists(
            distances=distances,
            indices=indices,
            duplicate_of=self.duplicate_of,
            distinct_distances=distinct_distances if self.has_duplicates else None,
            distinct_indices=distinct_indices if self.has_duplicates else None,
            certificate=self.certificate,
        )

    def _lists(self, tally: Tally) -> Iterator[tuple[int, int, Lists]]:
        """Lists over groups, tile by tile."""
        points, settings = self._points, self._points.settings
        ranges = points.ranges(0, len(points.groups.first_row_G))
        freed_memory.return_all()  # by the scan
        if points.n_ranks == 0:  # one point without others: nothing to propose, and nothing to miss
            tally.certified = 1
            yield 0, 1, Lists.empty(1, 0)
            return
        proposed = propose(
            points.distinct, points.scan.centering, points.kernel, points.n_ranks, points.groups.n_base,
            ranges, None, settings.threads,
        )  # fmt: skip
        freed_memory.return_all()
        for start, stop in ranges:
            rows_QD = read_rows(points.distinct, start, stop)
            candidates = proposed.pop(start)
            lists = rerank(points.base, rows_QD, np.arange(start, stop), candidates, settings.threads, tally)
            yield start, stop, lists


def search_representation(
    source: RowSource, settings: Settings, mean: npt.ArrayLike | None = None
) -> RepresentationSearch:
    """Prepare the exact search of all rows of a source, as `scan_points` does; few tiles of rows are held.

    Returns
    -------
    RepresentationSearch
        `tiles()` streams the lists, `collect()` holds them.
    """
    check_settings(source, settings)
    rows = read_once(source, settings.tile_rows, settings.threads)
    return RepresentationSearch(scan_points(rows, settings, mean))


def nearest_neighbors(
    points: npt.ArrayLike, k: int, metric: str = "euclidean"
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Exact k nearest neighbors of all points, self excluded.

    Parameters
    ----------
    points
        (N, D), N > k, float16, float32 or float64.
    k
        Neighbors of each point.
    metric
        ``euclidean`` or ``cosine``; see `Settings`.

    Returns
    -------
    distances
        (N, k) float64: square root of the float64 sum, in ascending order of features, of squared
        differences.
    indices
        (N, k) int32 row numbers; equal distances ascend by row number, equal points included.

    Raises
    ------
    InputError
        As `scan_points`.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_neighbors(np.array([[0.0], [1.0], [3.0]]), k=1)[1].ravel()
    array([1, 0, 1], dtype=int32)
    """
    lists = search_representation(ArrayRows(points), Settings(k, metric)).collect()
    return lists.distances, lists.indices
