"""Where rows come from: anything with a shape that reads contiguous ranges, and views of such a source."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError

LARGEST_MAGNITUDE = 2.0**1000
"""Beyond this a distance may not fit float64."""


class RowSource(Protocol):
    """Points that are read by ranges of rows: an array in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        ...

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop - 1 as (stop - start, D), of dtype float16, float32 or float64.

        Threads may read at the same time.
        """
        ...


class ArrayRows:
    """Rows of a NumPy array.

    Parameters
    ----------
    points
        (N, D), float16, float32 or float64.

    Raises
    ------
    InputError
        If the array has another number of dimensions or another dtype.
    """

    def __init__(self, points: npt.ArrayLike) -> None:
        self._points_ND = np.asarray(points)
        if self._points_ND.ndim != 2:
            raise InputError(
                f"points have the shape {self._points_ND.shape}, expected two dimensions (points, features): "
                "reshape them"
            )
        check_dtype(self._points_ND.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self._points_ND.shape

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start to stop - 1, not copied."""
        return self._points_ND[start:stop]


class UnitRows:
    """Rows of another source divided by their float64 norm: points of the unit sphere, for cosine."""

    def __init__(self, source: RowSource) -> None:
        self._source = source

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self._source.shape

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Unit rows start to stop - 1, float64.

        Raises
        ------
        InputError
            If a row is zero and has no direction, or is not finite.
        """
        from hpcgeom.search.compiled import unit_rows

        rows_BD = read_rows(self._source, start, stop)
        raise_not_usable(not_usable(rows_BD, start))
        unit_BD = np.empty(rows_BD.shape, np.float64)
        zero = int(unit_rows(rows_BD, unit_BD))
        if zero >= 0:
            raise InputError(
                f"row {start + zero} is zero in every feature, so it has no direction to compare: "
                "remove it, or use the metric 'euclidean'"
            )
        return unit_BD


class StandardRows:
    """Rows of another source with every feature centered and divided by its spread.

    Parameters
    ----------
    source
        (N, D).
    center, spread
        (D,) float64; a spread of 0, of a constant feature, divides by 1.
    """

    def __init__(
        self, source: RowSource, center: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]
    ) -> None:
        self._source, self._center = source, center
        self._divisor = np.where(spread > 0.0, spread, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self._source.shape

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Standard rows start to stop - 1, float64; refuses rows that are not finite."""
        rows_BD = read_rows(self._source, start, stop)
        raise_not_usable(not_usable(rows_BD, start))
        standard_BD: npt.NDArray[np.float64] = rows_BD - self._center
        standard_BD /= self._divisor
        return standard_BD


def check_metric(metric: str) -> None:
    """Refuse unknown metrics."""
    if metric not in ("euclidean", "cosine"):
        raise InputError(f"the metric is '{metric}', expected 'euclidean' or 'cosine': choose one of them")


def points_of_metric(source: RowSource, metric: str) -> RowSource:
    """The points whose Euclidean distances the metric means; refuses unknown metrics."""
    check_metric(metric)
    return UnitRows(source) if metric == "cosine" else source


class SelectedRows:
    """Some rows of another source, as if they stood alone; they are read in pieces, so gaps cost no memory.

    Parameters
    ----------
    source
        (N, D).
    row_M
        Row numbers, ascending without repetition.
    piece_rows
        Most rows of `source` read at a time.
    """

    def __init__(self, source: RowSource, row_M: npt.NDArray[np.integer[Any]], piece_rows: int) -> None:
        self._source, self._row_M, self._piece_rows = source, row_M, piece_rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, D)."""
        return len(self._row_M), self._source.shape[1]

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Selected rows start to stop - 1."""
        chosen_M = self._row_M[start:stop]
        pieces, done = [], 0
        while done < len(chosen_M):
            first = int(chosen_M[done])
            end = int(np.searchsorted(chosen_M, first + self._piece_rows))
            rows_BD = read_rows(self._source, first, int(chosen_M[end - 1]) + 1)
            pieces.append(rows_BD[chosen_M[done:end] - first])
            done = end
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def read_rows(source: RowSource, start: int, stop: int) -> npt.NDArray[Any]:
    """Read rows in a form that kernels take: C order, native, float64 or float32 (float16 is widened
    exactly).

    Raises
    ------
    InputError
        If the source returns another shape or another kind of number.
    """
    rows_BD = stored_rows(source, start, stop)
    return np.ascontiguousarray(rows_BD, dtype=np.float64 if rows_BD.dtype.itemsize == 8 else np.float32)


def stored_rows(source: RowSource, start: int, stop: int) -> npt.NDArray[Any]:
    """Rows as the source gives them; refuses another shape or another kind of number."""
    rows_BD = np.asarray(source.read(start, stop))
    expected = (stop - start, source.shape[1])
    if rows_BD.shape != expected:
        raise InputError(
            f"reading rows {start} to {stop - 1} gave the shape {rows_BD.shape}, expected {expected}: "
            "the source does not hold what its shape says: correct its shape or its read"
        )
    check_dtype(rows_BD.dtype)
    return rows_BD


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse all but float16, float32 and float64."""
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise InputError(
            f"points have the dtype {dtype}, expected float16, float32 or float64: "
            "convert them first, for example with .astype('float64')"
        )


def largest_usable(dtype: np.dtype[Any]) -> float:
    """`LARGEST_MAGNITUDE`, or what is finite in float32."""
    return min(LARGEST_MAGNITUDE, float(np.finfo(dtype).max))


def not_usable(rows_BD: npt.NDArray[Any], start: int) -> list[int]:
    """Numbers of the rows with a value that is not finite or is beyond `LARGEST_MAGNITUDE`."""
    usable_B = (np.abs(rows_BD) <= largest_usable(rows_BD.dtype)).all(axis=1)  # NaN fails every comparison
    return [start + int(row) for row in np.flatnonzero(~usable_B)]


def raise_not_usable(rows: list[int]) -> None:
    """Raise an `InputError` that names the rows, if there are any."""
    if rows:
        shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
        which = f"row {shown} has" if len(rows) == 1 else f"{len(rows)} rows ({shown}) have"
        raise InputError(
            f"{which} values that are NaN, infinite or above 1e301, and neighbors need finite points: "
            "mend or remove them"
        )


def row_ranges(n_rows: int, tile_rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows into ranges of nearly equal length, none longer than `tile_rows`."""
    n_tiles = -(-n_rows // tile_rows)
    bounds = [n_rows * t // max(n_tiles, 1) for t in range(n_tiles + 1)]
    return pairwise(bounds)


def check_k(k: int, n_rows: int) -> None:
    """Refuse a number of neighbors that the points cannot have."""
    if k < 1:
        raise InputError(f"k is {k}, expected at least 1 neighbor: raise k")
    if k >= n_rows:
        raise InputError(
            f"k is {k}, and each of {n_rows} points has at most {max(n_rows - 1, 0)} neighbors: "
            "lower k or give more points"
        )
