"""Distances, row numbers and ratios from elsewhere: what one array alone can show to be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

ROUNDED = "float32, rounded to 7 digits; read as float64"
_FAISS_FAR = np.float64(np.finfo(np.float32).max)
_NO_NEIGHBOR = (_FAISS_FAR, np.sqrt(_FAISS_FAR), np.float64(np.sqrt(np.float32(_FAISS_FAR))))
"""What faiss writes where it found no neighbor, as it is and under a square root."""


def checked_distances(array: npt.NDArray[Any], where: str, *, squared: bool = False) -> Floats:
    """Distances as float64, each row ascending.

    Parameters
    ----------
    array
        Shape (N, K), float32 or float64; a column of the points themselves may be among them.
    where
        Name of the array in messages.
    squared
        Whether these are squared distances, of which the roots are taken.

    Raises
    ------
    InputError
        Another type or shape, a whole matrix, or a row that holds NaN, a negative, infinite or unsorted
        value, or faiss's mark for no neighbor.
    """
    _check_floats(array, where, 2, "the distances of the neighbors of each point, (points, neighbors)")
    distances = np.ascontiguousarray(array, dtype=np.float64)
    _check_finite(distances, where, "search again, with fewer neighbors or without such points")
    _refuse(
        distances < 0.0,
        distances,
        where,
        "a distance of 0 or more",
        "similarities are no distances, nor are squares that a rounded formula made; search again",
    )
    n_rows, n_columns = distances.shape
    if n_rows == n_columns > 1 and not np.diagonal(distances).any() and distances[1:, 0].all():
        raise InputError(
            f"{where} is a whole matrix of distances, {n_rows} by {n_columns}; expected the neighbors of "
            f"each point, nearest first: sort each row with numpy.argsort(..., axis=1, kind='stable'), "
            f"and pass the distances and the row numbers"
        )
    falls = np.zeros(distances.shape, dtype=bool)
    falls[:, 1:] = distances[:, 1:] < distances[:, :-1]
    _refuse(
        falls,
        distances,
        where,
        "no less than the one before it",
        "sort each row in ascending order, its row numbers along with it",
    )
    return np.sqrt(distances) if squared else distances


def checked_indices(array: npt.NDArray[Any], where: str) -> Rows:
    """Row numbers as int64, none twice in a row.

    Parameters
    ----------
    array
        Shape (N, K), integers in 0..N-1; a column of the points themselves may be among them.
    where
        Name of the array in messages.

    Raises
    ------
    InputError
        Another type or shape, faiss's -1, another number that is no row, or one that stands twice in a row.
    """
    if array.ndim != 2 or array.dtype.kind not in "iu" or 0 in array.shape:
        raise InputError(
            f"{where} holds {array.dtype} of shape {array.shape}; expected the row numbers of the neighbors "
            f"of each point, integers of shape (points, neighbors): save them as such"
        )
    n_rows = len(array)
    if array.min() == 1 and array.max() == n_rows:
        raise InputError(
            f"{where} holds numbers from 1 to {n_rows}; expected rows counted from 0: subtract 1"
        )
    _refuse(
        array == -1,
        array,
        where,
        "a row number",
        "-1 is faiss's mark for no neighbor: look for NaN among the points, or search fewer neighbors",
    )
    _refuse(
        (array < 0) | (array >= n_rows),
        array,
        where,
        f"a row in 0..{n_rows - 1}",
        "pass lists of neighbors among the same points",
    )
    indices = np.ascontiguousarray(array, dtype=np.int64)
    ordered = np.sort(indices, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if twice.any():
        row = int(np.argmax(twice))
        raise InputError(
            f"{where}: row {row} names one neighbor twice; expected different rows: "
            f"search its neighbors again"
        )
    return indices


def checked_ratios(array: npt.NDArray[Any], where: str, *, squared: bool = False) -> Floats:
    """Lists of two distances, 1 and mu, from the ratios mu = r2 / r1.

    Parameters
    ----------
    array
        Shape (N,), float32 or float64.
    where
        Name of the array in messages.
    squared
        Whether these are ratios of squared distances, of which the roots are taken.

    Returns
    -------
    ndarray
        Shape (N, 2), float64: distances in units of the first.

    Raises
    ------
    InputError
        Another type or shape, or a value that is NaN, infinite or below 1.
    """
    _check_floats(array, where, 1, "one ratio r2 / r1 for each point, (points,)")
    ratios = np.array(array, dtype=np.float64)
    _check_finite(
        ratios,
        where,
        "where the nearest neighbor lies at distance zero there is no ratio: leave these points out",
    )
    _refuse(
        ratios < 1.0,
        ratios,
        where,
        "r2 / r1, which is at least 1",
        "take the reciprocals where these are r1 / r2, the exponentials where they are logarithms",
    )
    ratios = np.sqrt(ratios) if squared else ratios
    return np.stack([np.ones_like(ratios), ratios], axis=1)


def _check_floats(array: npt.NDArray[Any], where: str, n_axes: int, what: str) -> None:
    if array.ndim != n_axes or 0 in array.shape or array.dtype.kind != "f":
        raise InputError(
            f"{where} holds {array.dtype} of shape {array.shape}; expected {what}, in float64: "
            f"save them as such"
        )
    if array.dtype.name not in ("float32", "float64"):
        raise InputError(
            f"{where} holds {array.dtype}; expected float64 (or float32), because rounding of near neighbors "
            f"biases the ratios: compute them again"
        )


def _check_finite(values: Floats, where: str, mend: str) -> None:
    _refuse(np.isnan(values), values, where, "a number", mend)
    marks = np.zeros(values.shape, dtype=bool)
    for mark in _NO_NEIGHBOR:
        marks |= values == mark
    _refuse(marks, values, where, "a distance", f"this is faiss's mark for no neighbor: {mend}")
    _refuse(np.isinf(values), values, where, "a finite number", mend)


def _refuse(wrong: npt.NDArray[np.bool_], values: npt.NDArray[Any], where: str, what: str, mend: str) -> None:
    """Name the first wrong value, how many there are, and what to do."""
    if not wrong.any():
        return
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    place = ", ".join(f"{axis} {int(i)}" for axis, i in zip(("row", "column"), at, strict=False))
    raise InputError(
        f"{where}: {place} is {values[at]:.6g} ({int(wrong.sum())} of {values.size} values); "
        f"expected {what}: {mend}"
    )
