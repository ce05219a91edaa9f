"""From lists over groups of equal rows to lists of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hpcgeom.search.points import Points
from hpcgeom.search.rows import row_ranges


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


class ListsOfRows(Protocol):
    """Lists over groups, at hand for the rows that are asked for."""

    def of_rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """(distances, groups) of the group of each of the rows start to stop - 1."""


def expanded(points: Points, lists: ListsOfRows, first: int, last: int) -> Iterator[NeighborTile]:
    """Lists of the rows first to last - 1, of whose groups the lists are at hand."""
    for low, high in row_ranges(last - first, points.settings.tile_rows):
        yield _tile(points, lists, first + low, first + high)


def _tile(points: Points, lists: ListsOfRows, low: int, high: int) -> NeighborTile:
    distance_QR, neighbor_QR = lists.of_rows(low, high)
    if not points.has_duplicates:
        return NeighborTile(low, high, distance_QR, neighbor_QR.astype(np.int32), None, None)
    distance_QK, index_QK = points.groups.expand(low, distance_QR, neighbor_QR, points.settings.k)
    return NeighborTile(
        low,
        high,
        distance_QK,
        index_QK.astype(np.int32),
        *_padded(points, low, high, distance_QR, neighbor_QR),
    )


def _padded(
    points: Points,
    low: int,
    high: int,
    distance_QR: npt.NDArray[np.float64],
    neighbor_QR: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Lists over distinct rows by sample row number, for rows that are the first of their equals."""
    shape, n_ranks = (high - low, points.settings.k), distance_QR.shape[1]
    distance_QK, index_QK = np.full(shape, np.nan), np.full(shape, -1, np.int32)
    listed_QR = np.isfinite(distance_QR) & (points.duplicate_of[low:high] == np.arange(low, high))[:, None]
    first_row_G = points.groups.first_row_G
    distance_QK[:, :n_ranks][listed_QR] = distance_QR[listed_QR]
    index_QK[:, :n_ranks][listed_QR] = first_row_G[neighbor_QR[listed_QR]]
    return distance_QK, index_QK
