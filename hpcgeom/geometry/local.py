"""Intrinsic dimension around each point, from its first k neighbors (Levina and Bickel, 2004)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcgeom.errors import InputError
from hpcgeom.geometry.lists import check_ks
from hpcgeom.geometry.mle import mean_log_ratios
from hpcgeom.geometry.ratios import Floats, NeighborLists, read_lists
from hpcgeom.types import Distances, Status


@dataclass(frozen=True, slots=True)
class LocalDimension:
    """Intrinsic dimension of each point, and why some have none.

    Attributes
    ----------
    value, error
        Shape (N,), float64: the estimate and one standard error; NaN where undefined.
    k
        Neighbors of each point.
    n_points
        Points with a value. With status ``OK`` it and the three numbers below add up to N.
    status
        Why no point has a value, or ``Status.OK``.
    n_without_list
        Points whose row is NaN.
    n_zero_distances
        Points whose nearest neighbor lies at distance zero.
    n_equal_distances
        Points whose k distances are equal: their dimension would be infinite.
    """

    value: Floats
    error: Floats
    k: int
    n_points: int
    status: Status
    n_without_list: int
    n_zero_distances: int
    n_equal_distances: int


def local_dimension(distances: Distances, k: int) -> LocalDimension:
    """Maximum of the likelihood of each point's ratios: m = (k - 1) / sum_{j < k} log(r_k / r_j).

    Where the density is constant up to the k-th neighbor, the sum times d is Gamma distributed with shape
    k - 1, so that m is above d by a factor (k - 1) / (k - 2) in the mean.

    Parameters
    ----------
    distances
        Shape (N, K >= k), float64, Euclidean (not squared), self excluded, ascending along K.
    k
        Neighbors of each point, 2 or more. Values of near points share neighbors, and are correlated.

    Returns
    -------
    LocalDimension
        `error` is m / sqrt(k - 1), by the Fisher information of the point's own ratios.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`), or `k` not an integer of 2 or more.
    """
    (checked,) = check_ks([k], np.iinfo(np.int64).max, "k")
    if checked < 2:
        raise InputError(f"k: expected 2 or more neighbors, found {k}; 10 to 50 are usual")
    lists = read_lists(distances)
    value = np.full(len(distances), np.nan)
    status = _status(lists, checked)
    n_equal = 0
    if status is Status.OK:
        inverses = mean_log_ratios(lists, checked)
        equal = inverses == 0.0
        n_equal = int(np.count_nonzero(equal))
        value[lists.rows[~equal]] = 1.0 / inverses[~equal]
        if n_equal == inverses.size:
            status = Status.NO_SOLUTION
    n_points = int(np.count_nonzero(~np.isnan(value)))
    n_without_list = int(np.isnan(distances[:, 0]).sum()) if distances.shape[1] else len(distances)
    return LocalDimension(
        value=value,
        error=value / np.sqrt(checked - 1),
        k=checked,
        n_points=n_points,
        status=status,
        n_without_list=n_without_list,
        n_zero_distances=lists.n_zero_distances,
        n_equal_distances=n_equal,
    )


def _status(lists: NeighborLists, k: int) -> Status:
    """As `NeighborLists.status`, but one point is enough: each is measured by itself."""
    if lists.constant:
        return Status.CONSTANT
    if not lists.rows.size:
        return Status.DUPLICATES if lists.n_zero_distances else Status.TOO_FEW_POINTS
    return Status.OK if lists.length >= k else Status.TOO_FEW_NEIGHBORS
