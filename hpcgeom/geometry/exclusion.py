"""Neighbors among points of another label: what a point is like beyond its own family.

Remote homology asks for neighbors of the same superfamily where those of the same family are left out
(Valeriani et al., The geometry of hidden representations of large transformer models, 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_indices
from hpcgeom.geometry.rows import row_blocks
from hpcgeom.types import Indices, Labels

_BLOCK_ROWS = 8192  # lists looked at together


def other_neighbors(indices: Indices, families: Labels, k: int) -> npt.NDArray[np.int32]:
    """The first neighbors of each point that are not of its own family.

    Parameters
    ----------
    indices
        Shape (N, K), integers: neighbors of each point, self excluded, nearest first; -1 where there is none.
    families
        Shape (N,), integers from 0: neighbors with the number of the point itself are left out.
    k
        How many are wanted, 1 or more.

    Returns
    -------
    ndarray
        Shape (N, k), int32; -1 after the last one that the list holds.

    Raises
    ------
    InputError
        Not integers of these shapes, a neighbor that is no row, or `k` below 1.
    """
    check_indices("indices", indices, ("points", "neighbors"))
    check_indices("families", families, ("points",))
    n_points = len(families)
    if len(indices) != n_points:
        raise InputError(
            f"families: expected one for each of the {len(indices)} lists, found {n_points}; "
            f"pass those of all points, in their order"
        )
    if indices.size and not NO_NEIGHBOR <= int(indices.min()) <= int(indices.max()) < n_points:
        raise InputError(
            f"indices: expected row numbers in 0..{n_points - 1}, or -1, found {indices.min()}.."
            f"{indices.max()}; pass lists over all points"
        )
    if k < 1:
        raise InputError(f"k: expected 1 or more, found {k}; 10 is usual")
    found = np.full((n_points, k), NO_NEIGHBOR, dtype=np.int32)
    for start, stop in row_blocks(n_points, _BLOCK_ROWS):
        lists = indices[start:stop]
        is_other = (families[lists] != families[start:stop, None]) & (lists != NO_NEIGHBOR)
        place = np.cumsum(is_other, axis=1) - 1
        row, column = np.nonzero(is_other & (place < k))
        found[start + row, place[row, column]] = lists[row, column]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class OtherPoints:
    """Points that every point may have for neighbors once its own family is left out; shape (N,), int64 each.

    Attributes
    ----------
    n_others
        Points of other families.
    n_same
        Those among them of the point's own class: where there is none, no list can hold one.
    """

    n_others: npt.NDArray[np.int64]
    n_same: npt.NDArray[np.int64]

    @property
    def chance(self) -> float:
        """Mean share of the own class among the points of other families; NaN where nobody has any."""
        has_others = self.n_others > 0
        shares = self.n_same[has_others] / self.n_others[has_others]
        return float(shares.mean()) if shares.size else float("nan")


def other_points(classes: Labels, families: Labels) -> OtherPoints:
    """How many points of other families each point has, and how many of them are of its class.

    Parameters
    ----------
    classes, families
        Shape (N,), integers from 0.
    """
    pairs = np.stack([classes.astype(np.int64), families.astype(np.int64)], axis=1)
    _, of_pair, n_of_pair = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    n_both = n_of_pair[of_pair.reshape(-1)]
    n_others = len(classes) - np.bincount(families)[families]
    n_same = np.bincount(classes)[classes] - n_both
    return OtherPoints(n_others.astype(np.int64), n_same.astype(np.int64))
