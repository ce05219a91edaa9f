"""Retrieval: whether the nearest points of a base carry the label of a query that is not among them.

Top-k accuracy is the share of queries with at least one of their k nearest base points of their own label;
at k = 1 it is the accuracy of the nearest-neighbor classifier (Cover and Hart, IEEE Transactions on
Information Theory 13, 21, 1967). Retrieval overlap is the mean share of the k nearest base points with the
query's label: the label overlap of a query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_indices, check_ks
from hpcgeom.types import Indices, Labels

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Retrieval:
    """How well the labels of queries are retrieved.

    Attributes
    ----------
    accuracy, accuracy_error
        (len(ks),) float64: top-k accuracy p, and its binomial standard error sqrt(p (1 - p) / n).
    overlap, overlap_error
        (len(ks),) float64: mean share of the k nearest with the query's label, and the standard deviation of
        that share over queries / sqrt(n).
    n_queries
        Queries, n; all numbers are NaN where there are none.
    n_unknown_label
        Queries whose label no base point has: no list can hold it, and they count as missed.
    """

    accuracy: Floats
    accuracy_error: Floats
    overlap: Floats
    overlap_error: Floats
    n_queries: int
    n_unknown_label: int


def retrieval(indices: Indices, base_labels: Labels, query_labels: Labels, ks: Sequence[int]) -> Retrieval:
    """Top-k accuracy and overlap of labels in the neighbor lists of queries.

    Parameters
    ----------
    indices
        Shape (Q, K), integers: base rows nearest to each query, nearest first; -1 (no neighbor) never
        matches.
    base_labels, query_labels
        Shapes (B,) and (Q,), integers from 0: equal numbers are equal labels.
    ks
        Numbers of neighbors, each in 1..K, in any order.

    Returns
    -------
    Retrieval
        One number for each of `ks`.

    Raises
    ------
    InputError
        Not integers, labels of another length, a neighbor that is no base row, or a k outside 1..K.
    """
    check_indices("indices", indices, ("queries", "neighbors"))
    _check_labels("base_labels", base_labels)
    _check_labels("query_labels", query_labels)
    if len(query_labels) != len(indices):
        raise InputError(
            f"query_labels: expected one for each of the {len(indices)} lists, found {len(query_labels)}; "
            "pass labels in the order of the queries"
        )
    wrong = (indices < NO_NEIGHBOR) | (indices >= len(base_labels))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"indices: row {row}, column {column} is {indices[row, column]}, expected a base row in "
            f"0..{len(base_labels) - 1}, or -1; pass lists of the base that base_labels belong to"
        )
    numbers = check_ks(ks, indices.shape[1])
    found = indices != NO_NEIGHBOR
    matches = (base_labels[indices * found] == query_labels[:, None]) & found
    counts = np.stack([np.count_nonzero(matches[:, :k], axis=1) for k in numbers], axis=1)
    n = len(indices)
    n_unknown = int(np.count_nonzero(~np.isin(query_labels, base_labels)))
    if n == 0:
        nothing = np.full(len(numbers), np.nan)
        return Retrieval(nothing, nothing, nothing, nothing, 0, 0)
    accuracy = (counts > 0).mean(axis=0)
    shares = counts / np.array(numbers, dtype=np.float64)
    return Retrieval(
        accuracy=accuracy,
        accuracy_error=np.sqrt(accuracy * (1.0 - accuracy) / n),
        overlap=shares.mean(axis=0),
        overlap_error=shares.std(axis=0) / np.sqrt(n),
        n_queries=n,
        n_unknown_label=n_unknown,
    )


def _check_labels(name: str, labels: Labels) -> None:
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        found = f"{getattr(labels, 'dtype', type(labels).__name__)} of shape {getattr(labels, 'shape', '?')}"
        raise InputError(
            f"{name}: expected integers of shape (points,), found {found}; number the labels of the base and "
            "of the queries together, as numpy.unique(..., return_inverse=True) does"
        )
