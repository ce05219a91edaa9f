"""Error bars from random halves: how much an estimate differs between two halves of the points.

The halves of independent points are independent clouds, so that whatever correlations the neighbor lists of
one cloud have, each half has them too (half-samples: McCarthy, Review of the International Statistical
Institute 37, 239, 1969).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import check_indices
from hpcgeom.geometry.ratios import Floats, read_lists
from hpcgeom.types import Distances, Indices

MAX_SHORT_SHARE = 0.05
"""More lists than this that end too soon in a half, and there is no error: those that are left are chosen."""


def half_sample_errors(
    measure: Callable[[Distances], npt.ArrayLike],
    distances: Distances,
    indices: Indices,
    depth: int,
    n_splits: int = 32,
    seed: int = 0,
) -> Floats:
    """Standard errors of any estimate from neighbor distances, by random splits into two halves.

    sqrt(mean over splits of (a - b)^2) / 2, where a and b are the estimates of the two halves: a - b has
    twice the variance of an estimate from N / 2 points, which is four times that from N points where the
    variance falls as 1 / N.

    Parameters
    ----------
    measure
        From distances (M, depth), as the estimators take them, to one number or an array of them. Rows that
        cannot be measured in a half are NaN.
    distances, indices
        Shape (N, K): lists over all points. K must be well above 2 `depth`, because half of the neighbors
        are in the other half: with K = 64 up to `depth` = 25, in general up to K / 2 - sqrt(K).
    depth
        Neighbors inside its half that each point needs.
    n_splits
        Random splits; 32 leave about a tenth of uncertainty in the error.
    seed
        Of the PCG64 generator that draws the halves.

    Returns
    -------
    ndarray
        Shape of what `measure` returns, float64; NaN where `measure` is NaN for a half, and NaN everywhere
        where more than `MAX_SHORT_SHARE` of the lists end too soon in the halves.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`), indices that are no integers of that shape or no row numbers, or
        `depth` or `n_splits` below 1.
    """
    lists = read_lists(distances)
    _check(distances, indices, depth, n_splits)
    generator = np.random.Generator(np.random.PCG64(seed))
    side = np.full(len(distances), -1, dtype=np.int8)
    listed = np.flatnonzero(~np.isnan(distances[:, 0])) if distances.shape[1] else np.empty(0, np.int64)
    squares, n_short = [], 0
    for _ in range(n_splits):
        side[listed] = generator.permutation(listed.size) % 2
        inside = np.full((len(distances), depth), np.nan)
        n_short += _walk(distances, indices, lists.rows, side, inside)
        a, b = (np.asarray(measure(inside[side == half]), dtype=np.float64) for half in (0, 1))
        squares.append((a - b) ** 2)
    error = np.sqrt(np.mean(squares, axis=0)) / 2.0
    if n_short > MAX_SHORT_SHARE * n_splits * lists.rows.size:
        return np.full_like(error, np.nan)
    return np.asarray(error)


def _check(distances: Distances, indices: Indices, depth: int, n_splits: int) -> None:
    check_indices("indices", indices, ("points", "neighbors"))
    if indices.shape != distances.shape:
        raise InputError(
            f"half samples: distances have shape {distances.shape} and indices {indices.shape}; "
            f"expected one shape, pass both arrays of one search"
        )
    if indices.size and not -1 <= indices.min() <= indices.max() < len(indices):
        raise InputError(
            f"indices: expected row numbers in 0..{len(indices) - 1}, or -1, "
            f"found {indices.min()}..{indices.max()}; pass lists over all points"
        )
    for name, number, usual in (("depth", depth, 2), ("n_splits", n_splits, 32)):
        if number < 1:
            raise InputError(f"{name}: expected 1 or more, found {number}; {usual} is usual")


@njit(nogil=True, cache=True)
def _walk(
    distances: npt.NDArray[np.float64],
    indices: npt.NDArray[np.integer[Any]],
    rows: npt.NDArray[np.int64],
    side: npt.NDArray[np.int8],
    inside: npt.NDArray[np.float64],
) -> int:
    """Write the nearest neighbors of each row on its own side; rows with too few stay NaN and are counted."""
    depth, n_short = inside.shape[1], 0
    for row in rows:
        n_found = 0
        for column in range(distances.shape[1]):
            neighbor = indices[row, column]
            if neighbor >= 0 and side[neighbor] == side[row]:
                inside[row, n_found] = distances[row, column]
                n_found += 1
                if n_found == depth:
                    break
        if n_found < depth:
            inside[row, :] = np.nan
            n_short += 1
    return n_short
