"""Label overlap: how many neighbors of a point are of its own class.

chi = mean over points i of |{j in N_k(i): y_j = y_i}| / k (Doimo et al., NeurIPS 2020). The class-balanced
mean gives all classes the same weight, whatever their size: DADApy's ``weighted=True``, its default.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_indices, check_ks
from hpcgeom.types import Estimate, Indices, Labels, Status

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def label_overlap(indices: Indices, labels: Labels, k: int | npt.NDArray[np.integer]) -> Estimate:
    """Share of the first `k` neighbors that are of a point's own class, as a plain mean over points.

    Parameters
    ----------
    indices
        Shape (N, K >= k), integers: neighbors of each point, self excluded, nearest first; -1 (no neighbor)
        never matches.
    labels
        Shape (N,), integers from 0: the class of each point.
    k
        Neighbors per point: one number, or shape (N,), as `class_fraction_ks` gives.

    Returns
    -------
    Estimate
        `error` is the standard deviation over points / sqrt(N). ``TOO_FEW_POINTS`` if N is 0.

    Raises
    ------
    InputError
        Not integers, labels of another length or negative, a neighbor that is no row, or `k` outside 1..K.
    """
    return _mean_share(indices, labels, k, balanced=False)


def label_overlap_balanced(indices: Indices, labels: Labels, k: int | npt.NDArray[np.integer]) -> Estimate:
    """`label_overlap` with every class of the same weight: the mean over classes of the mean over points.

    Parameters and errors are those of `label_overlap`. `error` is sqrt(sum_c s_c^2 / n_c) / C, with s_c the
    standard deviation of the shares in class c and n_c its points; a class of one point adds nothing to it.
    """
    return _mean_share(indices, labels, k, balanced=True)


def label_overlap_counts(
    indices: Indices, labels: Labels, ks: Sequence[int], rows: npt.NDArray[np.integer] | None = None
) -> Counts:
    """Neighbors of its own class, for each point and each k.

    Parameters
    ----------
    indices
        Shape (R, K), integers: the lists of `rows`.
    labels
        Shape (N,), integers from 0: the classes of all points.
    ks
        Numbers of neighbors, each in 1..K, in any order.
    rows
        Shape (R,): the points that the lists belong to, if they are a block of all; 0..N-1 if None.

    Returns
    -------
    ndarray
        Shape (R, len(ks)), int64; for `label_overlap_from_counts`.

    Raises
    ------
    InputError
        As for `label_overlap`.
    """
    matches = _matches(indices, labels, rows)
    numbers = check_ks(ks, indices.shape[1])
    counts = [np.count_nonzero(matches[:, :k], axis=1) for k in numbers]
    return np.stack(counts, axis=1).astype(np.int64)


def label_overlap_from_counts(
    counts: Counts, ks: Sequence[int], labels: Labels | None = None
) -> tuple[Floats, Floats]:
    """Label overlaps and their errors from the counts of all points.

    Parameters
    ----------
    counts
        Shape (N, len(ks)): what `label_overlap_counts` returned, blocks one after the other.
    ks
        The k of each column.
    labels
        Shape (N,): the classes, for the class-balanced mean; None for the plain mean.

    Returns
    -------
    value, error
        Shape (len(ks),), float64; NaN if N is 0.
    """
    if len(counts) == 0:
        return np.full(len(ks), np.nan), np.full(len(ks), np.nan)
    return _weighted_mean(counts / np.array(ks, dtype=np.float64), labels)


def class_fraction_ks(labels: Labels, class_fraction: float) -> npt.NDArray[np.int64]:
    """A k for each point that grows with its class: int(class_fraction * size of the class), at least 1.

    DADApy's ``class_fraction``.

    Parameters
    ----------
    labels
        Shape (N,), integers from 0.
    class_fraction
        In (0, 1].

    Returns
    -------
    ndarray
        Shape (N,), int64.

    Raises
    ------
    InputError
        Labels that are no integers or negative, or `class_fraction` outside (0, 1].
    """
    check_labels(labels)
    if not 0.0 < class_fraction <= 1.0:
        raise InputError(
            f"class_fraction: expected a number in (0, 1], found {class_fraction}; pass the share of a class"
        )
    sizes = np.bincount(labels)
    return np.maximum((sizes * class_fraction).astype(np.int64), 1)[labels]


def _mean_share(
    indices: Indices, labels: Labels, k: int | npt.NDArray[np.integer], balanced: bool
) -> Estimate:
    matches = _matches(indices, labels, None)
    ks = np.asarray(k)
    if ks.ndim and ks.shape != labels.shape:
        raise InputError(
            f"k: expected one number or shape {labels.shape}, found shape {ks.shape}; pass one k per point"
        )
    if len(labels) == 0:
        return Estimate(np.nan, np.nan, 0, Status.TOO_FEW_POINTS)
    check_ks(np.unique(ks).tolist(), indices.shape[1], "k")
    counted = matches & (np.arange(indices.shape[1]) < ks.reshape(-1, 1))
    shares = np.count_nonzero(counted, axis=1) / ks
    value, error = _weighted_mean(shares[:, None], labels if balanced else None)
    return Estimate(float(value[0]), float(error[0]), len(labels))


def _weighted_mean(shares: Floats, labels: Labels | None) -> tuple[Floats, Floats]:
    if labels is None:
        return shares.mean(axis=0), shares.std(axis=0) / np.sqrt(len(shares))
    sizes = np.bincount(labels)
    classes = np.flatnonzero(sizes)
    value, error = np.empty(shares.shape[1]), np.empty(shares.shape[1])
    for column, share in enumerate(shares.T):
        means = np.bincount(labels, weights=share) / np.maximum(sizes, 1)
        spreads = np.bincount(labels, weights=(share - means[labels]) ** 2)
        variances = spreads / np.maximum(sizes * (sizes - 1), 1)
        value[column] = means[classes].mean()
        error[column] = np.sqrt(variances.sum()) / classes.size
    return value, error


def check_labels(labels: Labels) -> None:
    """Refuse what are no class codes.

    Raises
    ------
    InputError
        Not integers of one axis, or negative.
    """
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        found = f"{getattr(labels, 'dtype', type(labels).__name__)} of shape {getattr(labels, 'shape', '?')}"
        raise InputError(
            f"labels: expected integers of shape (points,), found {found}; "
            f"number the classes from 0, as numpy.unique(..., return_inverse=True) does"
        )
    if labels.size and labels.min() < 0:
        row = int(np.argmin(labels))
        raise InputError(
            f"labels: row {row} is {labels[row]}, expected a class from 0 on; "
            f"leave points without a class out"
        )


def _matches(indices: Indices, labels: Labels, rows: npt.NDArray[np.integer] | None) -> npt.NDArray[np.bool_]:
    """Shape (R, K): whether a neighbor exists and is of the point's own class."""
    check_indices("indices", indices, ("points", "neighbors"))
    check_labels(labels)
    n_lists = len(labels) if rows is None else len(rows)
    if len(indices) != n_lists:
        raise InputError(
            f"labels: expected one for each of the {len(indices)} lists, found {n_lists}; "
            f"pass labels in the order of the points"
        )
    if indices.size and not NO_NEIGHBOR <= indices.min() <= indices.max() < len(labels):
        wrong = (indices < NO_NEIGHBOR) | (indices >= len(labels))
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"indices: row {row}, column {column} is {indices[row, column]}, expected a row number "
            f"in 0..{len(labels) - 1}, or -1; pass the lists of the points that the labels belong to"
        )
    own = labels if rows is None else labels[rows]
    found = indices != NO_NEIGHBOR
    return np.asarray((labels[indices * found] == own[:, None]) & found)
