"""Intrinsic dimension by maximum likelihood over the first k neighbors.

Levina and Bickel, Advances in Neural Information Processing Systems 17, 777, 2004; averages over points as
in MacKay and Ghahramani, "Comments on 'Maximum likelihood estimation of intrinsic dimension' by E. Levina and
P. Bickel", 2005.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.half_samples import half_sample_errors
from hpcgeom.geometry.lists import check_ks
from hpcgeom.geometry.ratios import Floats, NeighborLists, log_ratio, read_lists
from hpcgeom.types import Distances, Indices, Status

Average = Literal["inverse", "plain"]

_BLOCK_ROWS = 8192  # logarithms in memory at a time
_MIN_K = {"inverse": 2, "plain": 4}


@dataclass(frozen=True, slots=True)
class LevinaBickelResult:
    """Intrinsic dimension for several numbers of neighbors; arrays of one length.

    Attributes
    ----------
    value, error
        float64: the estimate and one standard error; NaN where undefined.
    k
        int64: neighbors in each list.
    n_points
        int64: points that entered.
    status
        int8: values of `Status`.
    n_zero_distances
        Points left out at every k because their nearest neighbor lies at distance zero.
    """

    value: Floats
    error: Floats
    k: npt.NDArray[np.int64]
    n_points: npt.NDArray[np.int64]
    status: npt.NDArray[np.int8]
    n_zero_distances: int


def levina_bickel(
    distances: Distances, ks: Sequence[int], indices: Indices | None = None, average: Average = "inverse"
) -> LevinaBickelResult:
    """Intrinsic dimension from m_i = (k - 1) / sum_{j < k} log(r_k / r_j), averaged over points.

    The average of MacKay and Ghahramani, 1 / mean(1 / m_i), is the maximum of the likelihood of all points;
    that of Levina and Bickel, mean(m_i), is above the dimension by a factor (k - 1) / (k - 2).

    Parameters
    ----------
    distances
        Shape (N, K), float64, Euclidean (not squared), self excluded, ascending along K. Rows of NaN are left
        out, and so are rows whose first distance is zero. A k beyond the lists gets ``TOO_FEW_NEIGHBORS``.
    ks
        Numbers of neighbors, each 2 or more, and 4 or more for the plain average: m_i has no variance below.
    indices
        Shape (N, K), the neighbors' row numbers. With them the error comes from random halves of the points
        (`half_sample_errors`), whose lists share neighbors as those of the whole do; it is NaN where K is not
        well above 2 k.
    average
        "inverse" (MacKay and Ghahramani) or "plain" (Levina and Bickel).

    Returns
    -------
    LevinaBickelResult
        One entry per k. Without `indices`, `error` takes all ratios for independent, and is too short:
        value / sqrt(N (k - 1)) for the inverse average, the standard deviation of m_i / sqrt(N) for the plain
        one. The plain average has ``NO_SOLUTION`` where the k distances of a point are equal.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`) or indices, another average, or ks that are not integers from 2 (4).
    """
    if average not in get_args(Average):
        raise InputError(
            f"average: expected one of {get_args(Average)}, found {average!r}; choose one of them"
        )
    checked = _checked(ks, average)
    lists = read_lists(distances)
    rows = [_measure(lists, k, indices, average) for k in checked]
    value, error, status = zip(*rows, strict=True)
    return LevinaBickelResult(
        value=np.array(value, dtype=np.float64),
        error=np.array(error, dtype=np.float64),
        k=np.array(checked, dtype=np.int64),
        n_points=np.full(len(checked), lists.rows.size, dtype=np.int64),
        status=np.array(status, dtype=np.int8),
        n_zero_distances=lists.n_zero_distances,
    )


def mean_log_ratios(lists: NeighborLists, k: int) -> Floats:
    """Mean over j < k of log(r_k / r_j) of the measured rows, shape (M,): the inverse of their dimension."""
    found = np.empty(lists.rows.size)
    for start in range(0, found.size, _BLOCK_ROWS):
        nearest = lists.distances[lists.rows[start : start + _BLOCK_ROWS], :k]
        ratios = log_ratio(nearest[:, :-1], np.broadcast_to(nearest[:, -1:], (len(nearest), k - 1)))
        found[start : start + _BLOCK_ROWS] = ratios.mean(axis=1)
    return found


def _checked(ks: Sequence[int], average: str) -> tuple[int, ...]:
    checked = check_ks(ks, np.iinfo(np.int64).max)
    for k in checked:
        if k < _MIN_K[average]:
            raise InputError(
                f"ks: expected {_MIN_K[average]} or more neighbors for the {average} average, found {k}; "
                f"10 and 20 are usual"
            )
    return checked


def _measure(
    lists: NeighborLists, k: int, indices: Indices | None, average: Average
) -> tuple[float, float, Status]:
    status = lists.status(k)
    if status is not Status.OK:
        return np.nan, np.nan, status
    inverses = mean_log_ratios(lists, k)
    value = _averaged(inverses, average)
    if not np.isfinite(value):
        return np.nan, np.nan, Status.NO_SOLUTION
    if indices is not None:

        def measure(half: Distances) -> float:
            found = read_lists(half)
            return _averaged(mean_log_ratios(found, k), average) if found.rows.size else np.nan

        return value, float(half_sample_errors(measure, lists.distances, indices, k)), status
    if average == "inverse":
        return value, value / float(np.sqrt(inverses.size * (k - 1))), status
    return value, float(np.std(1.0 / inverses, ddof=1) / np.sqrt(inverses.size)), status


def _averaged(inverses: Floats, average: Average) -> float:
    """NaN or infinite where a likelihood has no maximum."""
    with np.errstate(divide="ignore"):
        if average == "inverse":
            return float(np.divide(1.0, inverses.mean()))
        return float(np.mean(1.0 / inverses))
