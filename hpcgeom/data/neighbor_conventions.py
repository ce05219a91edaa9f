"""Neighbor lists from elsewhere: whether points are in their own lists, and whether arrays fit together."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hpcgeom.data.neighbor_arrays import Floats, Rows
from hpcgeom.errors import InputError

Array = npt.NDArray[Any]
SelfColumn = Literal["auto", "drop", "none"]

ROOT_UNKNOWN = (
    "that the distances are not squared (which would halve the dimension) cannot be known from lists alone; "
    "say so with squared (--squared) if they are"
)
_TOLERANCE = 1e-3  # of the longest side: far above rounding, far below what a square does to a triangle
_MOST_ROUNDING = 0.1  # of the distance to the next neighbor, in the median
_MOST_ROWS, _MOST_RANKS = 512, 16


def without_self(
    distances: Floats | None, indices: Rows | None, mode: SelfColumn, where: str
) -> tuple[Floats | None, Rows | None, str]:
    """Lists without the points themselves, which are found by number where there are row numbers.

    Parameters
    ----------
    distances, indices
        (N, K) and (N, K'), or None: what `checked_distances` and `checked_indices` returned.
    mode
        ``auto``: see whether points are in their own lists; ``drop``: they are; ``none``: they are not.
    where
        Name of the arrays in messages.

    Returns
    -------
    distances, indices, notice
        One column less where points were in their lists; the notice says which was the case.

    Raises
    ------
    InputError
        The arrays contradict `mode` or each other.
    """
    if mode not in get_args(SelfColumn):
        raise InputError(
            f"self_column is {mode!r}; expected one of {', '.join(get_args(SelfColumn))}: choose one of them"
        )
    if indices is not None:
        return _without_self_by_number(distances, indices, mode, where)
    assert distances is not None
    starts_at_zero = not distances[:, 0].any()
    if mode == "none" and starts_at_zero and distances[:, -1].any():
        raise InputError(
            f"{where}: column 0 is zero in every row, as the distance of a point to itself is, though "
            f"self_column is none; expected distances to other points: "
            f"pass self_column drop (--self-column drop)"
        )
    if mode == "drop" and not starts_at_zero:
        row = int(np.argmax(distances[:, 0] != 0.0))
        raise InputError(
            f"{where}: row {row}, column 0 is {distances[row, 0]:.6g}; expected 0, the distance of a point "
            f"to itself: pass self_column none (--self-column none) if points are not in their own lists"
        )
    if mode == "none" or not starts_at_zero:
        return distances, None, _kept("column 0 is not zero throughout")
    return distances[:, 1:].copy(), None, "points were in their own lists (column 0 is zero) and were dropped"


def _without_self_by_number(
    distances: Floats | None, indices: Rows, mode: SelfColumn, where: str
) -> tuple[Floats | None, Rows, str]:
    own = indices == np.arange(len(indices))[:, None]
    listed = own.any(axis=1)
    if not listed.any():
        if mode == "drop":
            raise InputError(
                f"{where}: no row names itself, though self_column is drop; expected points in their own "
                f"lists: pass self_column none (--self-column none)"
            )
        if distances is not None:
            _check_zeros(distances, indices, where)
        return distances, indices, _kept("no row names itself")
    if mode == "none":
        row = int(np.argmax(listed))
        raise InputError(
            f"{where}: row {row} names itself in column {int(np.argmax(own[row]))}, though self_column is "
            f"none; expected other points: pass self_column drop (--self-column drop)"
        )
    place = np.where(listed, np.argmax(own, axis=1), indices.shape[1] - 1)
    rounding = _distance_to_self(distances, listed, place, mode, where)
    notice = f"points were in their own lists and were dropped{rounding}"
    shorter = None if distances is None else _drop(distances, np.minimum(place, distances.shape[1] - 1))
    return shorter, _drop(indices, place), notice


def _kept(why: str) -> str:
    return f"points are not in their own lists ({why})"


def _drop(array: Array, place: npt.NDArray[np.intp]) -> Array:
    keep = np.ones(array.shape, dtype=bool)
    keep[np.arange(len(array)), place] = False
    return array[keep].reshape(len(array), -1)


def _distance_to_self(
    distances: Floats | None,
    listed: npt.NDArray[np.bool_],
    place: npt.NDArray[np.intp],
    mode: SelfColumn,
    where: str,
) -> str:
    """Check that points are at distance zero of themselves; says how far they are where that was asked for.

    A row that is full of equal points need not name itself.
    """
    away = np.zeros(len(listed))
    if distances is not None:
        away = distances[np.arange(len(listed)), np.minimum(place, distances.shape[1] - 1)]
    absent = ~listed & ((away > 0.0) if distances is not None else True)
    if absent.any():
        row = int(np.argmax(absent))
        raise InputError(
            f"{where}: row {row} does not name itself, and other rows do ({int(listed.sum())} of "
            f"{len(listed)}); expected one convention: search again, or pass the distances too, "
            f"which tell equal points"
        )
    if not away.any():
        return ""
    row = int(np.argmax(away))
    assert distances is not None
    next_place = np.minimum(place + 1, distances.shape[1] - 1)
    if np.median(away) > _MOST_ROUNDING * np.median(distances[np.arange(len(listed)), next_place]):
        raise InputError(
            f"{where}: row {row} names itself, and the distance there is {away[row]:.6g}; expected both "
            f"arrays with the points themselves or both without: drop column 0 of the indices"
        )
    if mode == "auto":
        raise InputError(
            f"{where}: row {row} names itself at distance {away[row]:.6g}; expected 0: distances that were "
            f"rounded so are better computed again; pass self_column drop (--self-column drop) to go on "
            f"with them"
        )
    return f"; they were up to {away[row]:.3g} away from themselves, which is rounding"


def _check_zeros(distances: Floats, indices: Rows, where: str) -> None:
    """Refuse a column of zeros that is no distance to the neighbor which the numbers name.

    Where every nearest neighbor is an equal point, it names the point in turn.
    """
    if distances[:, 0].any():
        return
    n_columns = min(distances.shape[1], indices.shape[1])
    nearest = indices[:, 0]
    equal = distances[nearest, :n_columns] == 0.0
    mutual = (equal & (indices[nearest, :n_columns] == np.arange(len(indices))[:, None])).any(axis=1)
    if not (mutual | equal.all(axis=1)).all():
        raise InputError(
            f"{where}: column 0 of the distances is zero in every row, as of points to themselves, and no "
            f"row of the indices names itself; expected both with the points or both without: "
            f"drop column 0 of the distances"
        )


def check_pairs(distances: Floats, indices: Rows, where: str) -> str:
    """Hold distances and row numbers against each other, on up to 512 rows and their 16 nearest.

    Parameters
    ----------
    distances, indices
        (N, K) and (N, K'), without the points themselves.
    where
        Name of the arrays in messages.

    Returns
    -------
    str
        What is known about squares.

    Raises
    ------
    InputError
        Two rows that list each other do so at different distances; or in a triangle one side is longer than
        the others together, as happens to squared distances where an angle is obtuse.
    """
    rows, k = _sample(distances, indices)
    near, near_of_near = indices[rows, :k], indices[indices[rows, :k], :k]
    side, next_side = distances[rows, :k], distances[indices[rows, :k], :k]
    row, a, b = np.nonzero(near_of_near == rows[:, None, None])
    one, other = side[row, a], next_side[row, a, b]
    apart = np.abs(one - other) > _TOLERANCE * side[row, -1]
    if apart.any():
        at = int(np.argmax(apart))
        i, j = rows[row[at]], near[row[at], a[at]]
        raise InputError(
            f"{where}: row {i} lists row {j} at distance {one[at]:.6g}, and row {j} lists row {i} at "
            f"{other[at]:.6g}; expected one distance: pass the distances and the row numbers of one search"
        )
    row, a, b, c = np.nonzero(near_of_near[:, :, :, None] == near[:, None, None, :])
    sides = np.sort([side[row, a], next_side[row, a, b], side[row, c]], axis=0)
    broken = sides[2] - sides[1] - sides[0] > _TOLERANCE * sides[2]
    if broken.any():
        at = int(np.argmax(broken))
        corners = rows[row[at]], near[row[at], a[at]], near[row[at], c[at]]
        raise InputError(
            f"{where}: rows {corners[0]}, {corners[1]} and {corners[2]} are {sides[0, at]:.6g}, "
            f"{sides[1, at]:.6g} and {sides[2, at]:.6g} apart; expected no side longer than "
            f"the others together, which squared distances (and 1 - cosine) can be: "
            f"pass squared (--squared), or the roots"
        )
    return f"{ROOT_UNKNOWN}; no triangle of neighbors {'says so' if row.size else 'is there to say so'}"


def check_against_points(distances: Floats, indices: Rows, points: Array, where: str, metric: str) -> None:
    """Hold distances against the points themselves, on up to 512 rows and their 16 nearest.

    Parameters
    ----------
    distances, indices
        (N, K) and (N, K'), without the points themselves.
    points
        (N, D).
    where
        Name of the arrays in messages.
    metric
        ``euclidean``, or ``cosine``: the Euclidean distance of the points divided by their norms.

    Raises
    ------
    InputError
        The distances are the squares of those of the points, or others.
    """
    rows, k = _sample(distances, indices)
    near, listed = indices[rows, :k], distances[rows, :k]
    of_rows, of_near = points[rows].astype(np.float64)[:, None], points[near].astype(np.float64)
    if metric == "cosine":
        of_rows = of_rows / np.linalg.norm(of_rows, axis=-1, keepdims=True)
        of_near = of_near / np.linalg.norm(of_near, axis=-1, keepdims=True)
    true = np.linalg.norm(of_rows - of_near, axis=-1)
    wrong = np.abs(listed - true) > _TOLERANCE * true.max(axis=1, keepdims=True)
    if not wrong.any():
        return
    squares = np.abs(listed - true**2) <= _TOLERANCE * (true**2).max(axis=1, keepdims=True)
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    mend = "these are squares: pass squared (--squared)" if squares.all() else "pass the arrays of one search"
    raise InputError(
        f"{where}: rows {rows[at[0]]} and {near[at]} are {listed[at]:.6g} apart; expected {true[at]:.6g}, "
        f"the {metric} distance of the points: {mend}"
    )


def _sample(distances: Floats, indices: Rows) -> tuple[Rows, int]:
    """Rows to look at, evenly spread, and how many of their neighbors."""
    n_rows, k = len(distances), min(distances.shape[1], indices.shape[1], _MOST_RANKS)
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _MOST_ROWS)).astype(np.int64)), k
