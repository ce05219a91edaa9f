"""Intrinsic dimension at several scales from one pair of neighbors each.

Denti, Doimo, Laio and Mira, "The generalized ratios intrinsic dimension estimator", Scientific Reports 12,
20005, 2022 (doi:10.1038/s41598-022-20991-1).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from hpcgeom.errors import InputError
from hpcgeom.geometry.half_samples import half_sample_errors
from hpcgeom.geometry.ratios import Floats, NeighborLists, read_lists
from hpcgeom.types import Distances, Indices, Status

MuFilter: TypeAlias = Literal["none", "dadapy"]


@dataclass(frozen=True, slots=True)
class GrideResult:
    """Intrinsic dimension at the scales n2 = 2, 4, 8, ...; arrays of one length.

    Attributes
    ----------
    value, error
        float64: the maximum of the likelihood, and one standard error by the observed Fisher information; NaN
        where undefined. The information counts ratios as independent, and at large n2 they are not: points
        share neighbors, so the bars are too short there (`gride_resampling_errors`).
    distance
        float64: the scale, the mean of r_n1 and r_n2 over the points; NaN where undefined.
    n2
        int64: rank of the farther neighbor; n1 = n2 / 2.
    n_points
        int64: points that entered `value`.
    status
        int8: values of `Status`.
    n_zero_distances
        Points left out at every scale because their nearest neighbor lies at distance zero.
    """

    value: Floats
    error: Floats
    distance: Floats
    n2: npt.NDArray[np.int64]
    n_points: npt.NDArray[np.int64]
    status: npt.NDArray[np.int8]
    n_zero_distances: int


def gride(distances: Distances, range_max: int = 64, mu_filter: MuFilter = "none") -> GrideResult:
    """Intrinsic dimension from mu = r_n2 / r_n1 with n1 = 1, 2, 4, ... and n2 = 2 n1 <= `range_max`.

    The ratios have the density d (mu^d - 1)^(n2-n1-1) / (mu^(d(n2-1)+1) B(n2-n1, n1)). As in DADApy, N - 1
    stands for N in the derivative of the log-likelihood, which makes the first scale the unbiased
    `twonn_mle`. The root is bracketed in closed form and found to the last bits of float64.

    Parameters
    ----------
    distances
        Shape (N, K), float64, Euclidean (not squared), self excluded, ascending along K. Rows of NaN are left
        out, and so are rows whose first distance is zero. Scales beyond the lists get ``TOO_FEW_NEIGHBORS``.
    range_max
        Largest rank, at least 2; need not be a power of two.
    mu_filter
        ``none``: all ratios enter. ``dadapy``, for the numbers of DADApy 0.3.4: at each scale ratios of 1
        become 1 + 10 eps, and `value` is without those of q50 + 20 (q95 - q50) or more, with the quantiles
        over points; `error` and `distance` are with them.

    Returns
    -------
    GrideResult
        One entry per scale, whatever K is. ``TOO_FEW_POINTS`` where a filter leaves fewer than 2 ratios.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`), `range_max` not an integer of 2 or more, or no such filter.
    """
    if mu_filter not in ("none", "dadapy"):
        raise InputError(f"mu_filter: there is no '{mu_filter}'; expected 'none' or 'dadapy'; choose one")
    ranks = scales(range_max)
    lists = read_lists(distances)
    rows = [_measure(lists, int(n2), mu_filter) for n2 in ranks]
    value, error, distance, n_points, status = zip(*rows, strict=True)
    return GrideResult(
        value=np.array(value, dtype=np.float64),
        error=np.array(error, dtype=np.float64),
        distance=np.array(distance, dtype=np.float64),
        n2=ranks,
        n_points=np.array(n_points, dtype=np.int64),
        status=np.array(status, dtype=np.int8),
        n_zero_distances=lists.n_zero_distances,
    )


def gride_resampling_errors(
    distances: Distances, indices: Indices, range_max: int = 64, n_splits: int = 32, seed: int = 0
) -> Floats:
    """Standard errors of `gride` from random halves of the points, which count that points share neighbors.

    Those of `gride` itself take ratios for independent, and are too small (``docs/estimators.md``).

    Parameters
    ----------
    distances, indices
        Shape (N, K): lists over all points.
    range_max, n_splits, seed
        As for `gride` and `half_sample_errors`.

    Returns
    -------
    ndarray
        Shape (len(scales(range_max)),), float64; NaN where `gride` is undefined in a half, and for scales
        n2 > K / 2 - sqrt(K), which half of a list does not reach.

    Raises
    ------
    InputError
        As for `gride` and `half_sample_errors`.
    """
    ranks = scales(range_max)
    lists = read_lists(distances)
    within = ranks[ranks <= lists.length / 2 - np.sqrt(lists.length)]
    errors = np.full(ranks.size, np.nan)
    if within.size and lists.rows.size >= 2:
        deepest = int(within[-1])
        errors[: within.size] = half_sample_errors(
            lambda half: gride(half, deepest).value, distances, indices, deepest, n_splits, seed
        )
    return errors


def scales(range_max: int) -> npt.NDArray[np.int64]:
    """The ranks n2 = 2, 4, 8, ... up to `range_max`, int64.

    Raises
    ------
    InputError
        `range_max` is not an integer of 2 or more.
    """
    try:
        n_scales = operator.index(range_max).bit_length() - 1
    except TypeError:
        n_scales = 0
    if n_scales < 1 or range_max < 2:
        raise InputError(f"range_max: expected an integer of 2 or more, found {range_max!r}; 64 is usual")
    return 2 ** np.arange(1, n_scales + 1, dtype=np.int64)


def _measure(lists: NeighborLists, n2: int, mu_filter: MuFilter) -> tuple[float, float, float, int, Status]:
    """Value, error, distance, number of ratios and status of one scale."""
    n1 = n2 // 2
    status, n_points = lists.status(n2), lists.rows.size
    if status is not Status.OK:
        return np.nan, np.nan, np.nan, n_points, status
    log_mu = kept = lists.log_ratios(n1, n2)
    if not log_mu.any():
        return np.nan, np.nan, np.nan, n_points, Status.NO_SOLUTION
    near, far = lists.distances[lists.rows, n1 - 1], lists.distances[lists.rows, n2 - 1]
    if mu_filter == "dadapy":
        log_mu, is_kept = dadapy_filter(log_mu, far / near)
        kept = log_mu[is_kept]
        if kept.size < 2:
            return np.nan, np.nan, np.nan, kept.size, Status.TOO_FEW_POINTS
    value = _most_likely(kept, n1, n2)
    error = 1.0 / np.sqrt(_information(value, log_mu, n1, n2))
    distance = (near + far).mean() / 2.0
    return value, float(error), float(distance), kept.size, status


def dadapy_filter(log_mu: Floats, mu: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Logarithms of the ratios with those of 1 lifted, and which DADApy keeps."""
    lifted = np.where(mu == 1.0, 1.0 + 10.0 * np.finfo(np.float64).eps, mu)
    q95, q50 = np.percentile(lifted, [95, 50])
    return np.where(mu == 1.0, np.log(lifted), log_mu), lifted < 20.0 * (q95 - q50) + q50


def _most_likely(log_mu: Floats, n1: int, n2: int) -> float:
    """Root in d of d times the derivative of the negative log-likelihood, which rises monotonically.

    With x = d log mu and g(x) = x / (1 - exp(-x)) it is sum((n2 - 1) x - (n2 - n1 - 1) g(x)) - (N - 1); since
    1 + x/2 <= g(x) <= 1 + x, the root lies between the roots of two straight lines.
    """
    free = n2 - n1 - 1
    constant = free * log_mu.size + log_mu.size - 1
    total = float(np.sum(log_mu))
    low = constant / ((n2 - 1 - free / 2) * total)
    high = constant / (n1 * total)
    if free == 0:
        return low

    def derivative(d: float) -> float:
        x = d * log_mu
        return float(np.sum((n2 - 1) * x - free * _g(x))) - (log_mu.size - 1)

    margin = 1e-9  # keeps the signs apart where all ratios are so small that a line is the curve
    root = brentq(
        derivative, low * (1 - margin), high * (1 + margin), xtol=1e-300, rtol=4 * np.finfo(float).eps
    )
    return float(root)


def _information(d: float, log_mu: Floats, n1: int, n2: int) -> float:
    """Observed Fisher information: N / d^2 + (n2 - n1 - 1) sum (log mu / (1 - mu^-d))^2 mu^-d."""
    x = d * log_mu
    return float(log_mu.size + (n2 - n1 - 1) * np.sum(_g(x) ** 2 * np.exp(-x))) / d**2


def _g(x: Floats) -> Floats:
    """x / (1 - exp(-x)), and its limit 1 at 0."""
    return np.divide(x, -np.expm1(-x), out=np.ones_like(x), where=x > 0.0)
