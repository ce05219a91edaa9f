"""Neighbors of some rows among some rows, every pair measured: for subsets of a representation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.search.rows import (
    RowSource,
    SelectedRows,
    check_k,
    not_usable,
    points_of_metric,
    raise_not_usable,
    row_ranges,
)


def neighbors_of_rows(
    source: RowSource,
    rows: npt.ArrayLike,
    members: npt.ArrayLike,
    k: int,
    metric: str = "euclidean",
    *,
    tile_rows: int = 4096,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Exact k nearest members of each of some rows, in float64 and without a filter.

    Parameters
    ----------
    source
        (N, D).
    rows
        (R,) row numbers whose neighbors are wanted, in any order.
    members
        (M,) row numbers that may be neighbors, without repetition; a row is never its own neighbor.
    k
        Neighbors of each row.
    metric
        ``euclidean`` or ``cosine`` (`search_representation`).
    tile_rows
        Most rows of each kind held at a time.

    Returns
    -------
    distances, indices
        (R, k) float64 and (R, k) int32 row numbers of `source`, ties by smaller row.

    Raises
    ------
    InputError
        If a row number is out of range or repeated, a row is not finite, or there are too few members.
    """
    from hpcgeom.search.rerank import Lists, brute_force

    n_rows = source.shape[0]
    row_R = _checked_rows("rows", rows, n_rows)
    member_M = np.sort(_checked_rows("members", members, n_rows))
    if (np.diff(member_M) == 0).any():
        repeated = int(member_M[:-1][np.diff(member_M) == 0][0])
        raise InputError(
            f"members names row {repeated} more than once, expected each row once: remove the repetition"
        )
    wanted_W, position_R = np.unique(row_R, return_inverse=True)
    check_k(k, len(member_M) + (0 if np.isin(wanted_W, member_M).any() else 1))
    points = points_of_metric(source, metric)
    queries, bases = SelectedRows(points, wanted_W, tile_rows), SelectedRows(points, member_M, tile_rows)
    lists = Lists.empty(len(wanted_W), k)
    for start, stop in row_ranges(len(wanted_W), tile_rows) if len(wanted_W) else ():
        query_QD = _read_usable(queries, start, stop, wanted_W)
        part = Lists(lists.distances[start:stop], lists.indices[start:stop])
        for base_start, base_stop in row_ranges(len(member_M), tile_rows):
            base_BD = _read_usable(bases, base_start, base_stop, member_M)
            brute_force(query_QD, wanted_W[start:stop], base_BD, member_M[base_start:base_stop], part)
    return lists.distances[position_R], lists.indices[position_R].astype(np.int32)


def _checked_rows(name: str, rows: npt.ArrayLike, n_rows: int) -> npt.NDArray[np.int64]:
    row_R = np.asarray(rows)
    if row_R.ndim != 1 or (row_R.size and row_R.dtype.kind not in "iu"):
        raise InputError(
            f"{name} has the shape {row_R.shape} and the dtype {row_R.dtype}, expected row numbers: "
            "give a list of integers"
        )
    outside_R = row_R[(row_R < 0) | (row_R >= n_rows)]
    if outside_R.size:
        raise InputError(
            f"{name} names row {int(outside_R[0])}, expected row numbers from 0 to {n_rows - 1}: correct it"
        )
    return row_R.astype(np.int64)


def _read_usable(
    selected: SelectedRows, start: int, stop: int, row_M: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    rows_BD = selected.read(start, stop)
    raise_not_usable([int(row_M[start + position]) for position in not_usable(rows_BD, 0)])
    return rows_BD
