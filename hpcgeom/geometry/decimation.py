"""Decimation: the dimension of random subsets, whose neighbors are farther apart.

Facco et al., Scientific Reports 7, 12140, 2017: noise and curvature act on different scales, and a dimension
that does not depend on the number of points is that of the manifold.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import check_indices
from hpcgeom.types import Distances, Indices

Rows = npt.NDArray[np.int64]


def subsets(n_points: int, data_fraction: float, seed: int) -> list[Rows]:
    """Disjoint random subsets, each a given share of the points.

    Parameters
    ----------
    n_points
        Points to draw from, rows 0..n_points-1.
    data_fraction
        Share of the points in each subset, in (0, 1].
    seed
        Of the PCG64 generator whose permutation of the rows is cut into subsets.

    Returns
    -------
    list of ndarray
        round(1 / data_fraction) arrays of int64, ascending, of round(data_fraction * n_points) rows
        each, or of n_points // (number of subsets) where so many would not be disjoint.

    Raises
    ------
    InputError
        `n_points` below 1, or `data_fraction` outside (0, 1].
    """
    if n_points < 1:
        raise InputError(f"n_points: expected 1 or more, found {n_points}; pass the number of points")
    if not 0.0 < data_fraction <= 1.0:
        raise InputError(
            f"data_fraction: expected a number in (0, 1], found {data_fraction}; "
            f"pass the share of points in each subset"
        )
    n_subsets = round(1.0 / data_fraction)
    size = min(round(data_fraction * n_points), n_points // n_subsets)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n_points)
    return [np.sort(order[i * size : (i + 1) * size]).astype(np.int64) for i in range(n_subsets)]


def first_two_within(
    distances: Distances, indices: Indices, members: Rows
) -> tuple[Distances, npt.NDArray[np.bool_]]:
    """The first two neighbors that each member of a subset has inside the subset.

    Parameters
    ----------
    distances, indices
        Shape (N, K): lists over all points, ascending.
    members
        Shape (M,): rows of the subset, each once.

    Returns
    -------
    distances, short
        Shape (M, 2), float64, in the order of `members`, and shape (M,), bool: where the list ends before its
        second neighbor inside the subset. Those rows are NaN, and must be searched again.

    Raises
    ------
    InputError
        Arrays of different shapes, or indices that are no integers or no rows.
    """
    check_indices("indices", indices, ("points", "neighbors"))
    if distances.shape != indices.shape:
        raise InputError(
            f"decimation: distances have shape {distances.shape} and indices {indices.shape}; "
            f"expected one shape, pass both arrays of one search"
        )
    lists = indices[members]
    if lists.size and not -1 <= lists.min() <= lists.max() < len(indices):
        raise InputError(
            f"indices: expected row numbers in 0..{len(indices) - 1}, or -1, "
            f"found {lists.min()}..{lists.max()}; pass lists over all points"
        )
    is_member = np.zeros(len(indices) + 1, dtype=bool)  # the last is that of no neighbor, -1
    is_member[members] = True
    inside = is_member[lists]
    short = np.count_nonzero(inside, axis=1) < 2
    nearest = np.full((len(members), 2), np.nan)
    if lists.shape[1]:
        row = np.arange(len(members))
        for column in range(2):
            at = np.argmax(inside, axis=1)
            nearest[:, column] = distances[members, at]
            inside[row, at] = False
    nearest[short] = np.nan
    return nearest, short
