"""The search of one representation: all rows, equal ones included, in memory or out of core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.search.bounds import float32_bound
from hpcgeom.search.certificate import Certificate, Tally
from hpcgeom.search.duplicates import GroupLists, Groups
from hpcgeom.search.rows import ArrayRows, RowSource, SelectedRows, check_k, points_of_metric, row_ranges
from hpcgeom.search.scan import scan_rows

DEFAULT_TILE_ROWS = 8192


@dataclass(frozen=True)
class NeighborTile:
    """Lists of the rows start to stop - 1.

    Attributes
    ----------
    start, stop
        Rows of the representation.
    distances, indices
        (stop - start, K) float64 and int32, ascending by (distance, index), self excluded.
    distinct_distances, distinct_indices
        The same among distinct rows only, given where the row is the first of its equals; NaN and -1
        elsewhere and beyond the last distinct row. None if no rows are equal.
    """

    start: int
    stop: int
    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int32]
    distinct_distances: npt.NDArray[np.float64] | None
    distinct_indices: npt.NDArray[np.int32] | None


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

    def __init__(
        self, source: RowSource, k: int, tile_rows: int, mean: npt.ArrayLike | None, threads: int
    ) -> None:
        scan = scan_rows(source, tile_rows, mean)
        self._source, self._k, self._tile_rows, self._threads = source, k, tile_rows, threads
        self._centering = scan.centering
        self._groups = Groups(scan.duplicate_of)
        self.duplicate_of = scan.duplicate_of
        self.has_duplicates = len(self._groups.first_row_G) < source.shape[0]
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
        tally = Tally()
        first_row_G, n_rows = self._groups.first_row_G, self._source.shape[0]
        distinct = (
            SelectedRows(self._source, first_row_G, self._tile_rows) if self.has_duplicates else self._source
        )
        for start, stop, distance_PR, neighbor_PR in self._search(distinct, tally):
            if self.has_duplicates:
                yield from self._expanded(start, stop, distance_PR, neighbor_PR)
            else:
                yield NeighborTile(start, stop, distance_PR, neighbor_PR.astype(np.int32), None, None)
        repeated_rows = int(np.isin(self._groups.group_N, self._groups.repeated_G).sum())
        self._certificate = Certificate(
            rows=n_rows,
            certified=tally.certified,
            recomputed=tally.recomputed,
            audited=tally.audited,
            n_distinct=len(first_row_G),
            n_duplicates=n_rows - len(first_row_G),
            zero_distances=repeated_rows,
            largest_relative_error=tally.largest_relative_error,
        )

    def collect(self) -> NeighborLists:
        """Search, and hold the lists of all rows in memory."""
        tiles = list(self.tiles())
        distinct_distances = distinct_indices = None
        if self.has_duplicates:
            distinct_distances = np.concatenate(
                [t.distinct_distances for t in tiles if t.distinct_distances is not None]
            )
            distinct_indices = np.concatenate(
                [t.distinct_indices for t in tiles if t.distinct_indices is not None]
            )
        return NeighborLists(
            distances=np.concatenate([t.distances for t in tiles]),
            indices=np.concatenate([t.indices for t in tiles]),
            duplicate_of=self.duplicate_of,
            distinct_distances=distinct_distances,
            distinct_indices=distinct_indices,
            certificate=self.certificate,
        )

    def _search(
        self, distinct: RowSource, tally: Tally
    ) -> Iterator[tuple[int, int, npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
        from hpcgeom.search.tiles import search_distinct

        n_distinct = distinct.shape[0]
        if n_distinct == 1:  # a point without others: nothing to propose, and nothing to miss
            tally.certified = 1
            return iter([(0, 1, np.empty((1, 0)), np.empty((1, 0), np.int64))])
        rank_count = min(self._k, n_distinct - 1)
        return search_distinct(distinct, self._centering, rank_count, self._tile_rows, self._threads, tally)

    def _expanded(
        self, start: int, stop: int, distance_PR: npt.NDArray[np.float64], neighbor_PR: npt.NDArray[np.int64]
    ) -> Iterator[NeighborTile]:
        """Lists of all rows from the first row of group `start` to before that of group `stop`."""
        groups = self._groups
        if start == 0:
            self._lists = GroupLists(groups, distance_PR.shape[1])
        self._lists.put(start, distance_PR, neighbor_PR)
        first = int(groups.first_row_G[start])
        last = int(groups.first_row_G[stop]) if stop < len(groups.first_row_G) else self._source.shape[0]
        for low, high in row_ranges(last - first, self._tile_rows):
            low, high = first + low, first + high
            distance_RR, neighbor_RR = self._lists.of_rows(low, high)
            distance_QK, index_QK = groups.expand(low, distance_RR, neighbor_RR, self._k)
            yield NeighborTile(
                low,
                high,
                distance_QK,
                index_QK.astype(np.int32),
                *self._padded(low, high, distance_RR, neighbor_RR),
            )

    def _padded(
        self, low: int, high: int, distance_RR: npt.NDArray[np.float64], neighbor_RR: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
        """Lists over distinct rows by sample row number, for rows that are the first of their equals."""
        distance_QK = np.full((high - low, self._k), np.nan)
        index_QK = np.full((high - low, self._k), -1, np.int32)
        first_Q, n_ranks = self.duplicate_of[low:high] == np.arange(low, high), distance_RR.shape[1]
        distance_QK[first_Q, :n_ranks] = distance_RR[first_Q]
        index_QK[first_Q, :n_ranks] = self._groups.first_row_G[neighbor_RR[first_Q]]
        return distance_QK, index_QK


def search_representation(
    source: RowSource,
    k: int,
    metric: str = "euclidean",
    tile_rows: int = DEFAULT_TILE_ROWS,
    mean: npt.ArrayLike | None = None,
    threads: int = 1,
) -> RepresentationSearch:
    """Prepare the exact search of all rows of a source: one pass that checks, finds equal rows, and scales.

    Parameters
    ----------
    source
        (N, D), N > k, at most 2^31 - 1 rows.
    k
        Neighbors of each row, self excluded.
    metric
        ``euclidean``, or ``cosine``: the Euclidean distance of the rows divided by their norms, sqrt(2 (1 -
        cos)), which orders as the cosine does and is a metric, as estimates of dimension need.
    tile_rows
        Most rows of a tile; memory grows with it, the result does not depend on it.
    mean
        (D,) the mean of the rows where it is known (of the unit rows for ``cosine``); else it is computed.
    threads
        Threads of faiss and of the exact distances; the result does not depend on it.

    Returns
    -------
    RepresentationSearch
        `tiles()` streams the lists, `collect()` holds them.

    Raises
    ------
    InputError
        If k, the metric, the tile, the mean or the dtype cannot be used, a row is not finite, or is zero
        under ``cosine``.
    """
    n_rows, n_features = source.shape
    check_k(k, n_rows)
    points = points_of_metric(source, metric)
    for name, value in (
        ("tile_rows", tile_rows),
        ("threads", threads),
        ("the number of features", n_features),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1: raise it")
    if n_rows >= 2**31:
        raise InputError(f"there are {n_rows} points, and row numbers are int32: search at most {2**31 - 1}")
    float32_bound(n_features)
    return RepresentationSearch(points, k, tile_rows, mean, threads)


def search_tiles(
    source: RowSource,
    mean: npt.ArrayLike | None,
    k: int,
    tile_rows: int = DEFAULT_TILE_ROWS,
    metric: str = "euclidean",
) -> Iterator[tuple[int, int, npt.NDArray[np.float64], npt.NDArray[np.int32]]]:
    """Exact neighbors as (start, stop, distances, indices), tile by tile; see `search_representation`."""
    for tile in search_representation(source, k, metric, tile_rows, mean).tiles():
        yield tile.start, tile.stop, tile.distances, tile.indices


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
        ``euclidean`` or ``cosine``; see `search_representation`.

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
        As `search_representation`.

    Examples
    --------
    >>> import numpy as np
    >>> nearest_neighbors(np.array([[0.0], [1.0], [3.0]]), k=1)[1].ravel()
    array([1, 0, 1], dtype=int32)
    """
    lists: Any = search_representation(ArrayRows(points), k, metric).collect()
    return lists.distances, lists.indices
