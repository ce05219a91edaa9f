"""Checks of neighbor indices, shared by overlaps and label overlaps."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from hpcgeom.errors import InputError
from hpcgeom.types import Indices

NO_NEIGHBOR = -1


def check_indices(name: str, indices: Indices, axes: tuple[str, ...]) -> None:
    """Refuse what is no integer array with these axes.

    Raises
    ------
    InputError
        Another type or number of axes.
    """
    found = f"{getattr(indices, 'dtype', type(indices).__name__)} of shape {getattr(indices, 'shape', '?')}"
    is_integer = isinstance(indices, np.ndarray) and np.issubdtype(indices.dtype, np.integer)
    if not is_integer or indices.ndim != len(axes):
        raise InputError(
            f"{name}: expected integers of shape ({', '.join(axes)}), found {found}; "
            f"pass the row numbers of the neighbors"
        )


def check_stacks(indices: Indices, other: Indices | None) -> Indices:
    """The layers that those of `indices` are compared with: `other`, or themselves.

    Raises
    ------
    InputError
        Not integers of three axes, or other numbers of points.
    """
    check_indices("indices", indices, ("layers", "points", "neighbors"))
    if other is None:
        return indices
    check_indices("other", other, ("layers", "points", "neighbors"))
    if other.shape[1] != indices.shape[1]:
        raise InputError(
            f"the lists are of {indices.shape[1]} and of {other.shape[1]} points; "
            f"expected the same points in the same order in both, pass the rows they share"
        )
    return other


def check_ks(ks: Sequence[int], n_columns: int, name: str = "ks") -> tuple[int, ...]:
    """`ks` as plain integers, each in 1..n_columns.

    Raises
    ------
    InputError
        No k, or one that is not an integer, below 1, or longer than the lists.
    """
    try:
        checked = tuple(operator.index(k) for k in ks)
    except TypeError as error:
        raise InputError(
            f"{name}: expected integers, found {ks!r}; pass whole numbers of neighbors"
        ) from error
    if not checked:
        raise InputError(f"{name}: expected at least one k, found none; pass for example [1, 10]")
    for k in checked:
        if k < 1 or k > n_columns:
            raise InputError(
                f"{name}: k = {k} is not in 1..{n_columns}, the length of the neighbor lists; "
                f"lower k, or search more neighbors"
            )
    return checked
