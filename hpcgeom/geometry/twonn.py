"""Intrinsic dimension from the two nearest neighbors.

If the density is constant on the scale of the second neighbor, log mu = log(r2 / r1) is exponential with
rate d (Facco, d'Errico, Rodriguez and Laio, Scientific Reports 7, 12140, 2017,
doi:10.1038/s41598-017-11873-y).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc

from hpcgeom.errors import InputError
from hpcgeom.geometry.correlation import first_two_neighbors, sum_over_sharing_pairs
from hpcgeom.geometry.ratios import Floats, NeighborLists, read_lists
from hpcgeom.types import Distances, Estimate, Indices, Status


class _Fit(NamedTuple):
    value: float
    relative_error: float  # of independent ratios that follow the model
    influence: Floats  # (M,), of each ratio on -log value, times M


def twonn(distances: Distances, fraction: float = 0.9, indices: Indices | None = None) -> Estimate:
    """Intrinsic dimension as the slope of a line through the origin ("TwoNN", DADApy's ``base``).

    The points (log mu_(i), -log(1 - i/N)), i = 1..int(fraction * N), of the sorted ratios are fitted:
    d = sum x y / sum x^2 (Facco et al. 2017).

    Parameters
    ----------
    distances
        Shape (N, K >= 2), float64, Euclidean (not squared), self excluded, ascending along K. Rows of NaN
        are left out, and so are rows whose first distance is zero (counted in `n_zero_distances`).
    fraction
        Share of the smallest ratios that is fitted, in (0, 1]. At 1 all but the largest are, because the
        empirical distribution reaches 1 there.
    indices
        Shape (N, K >= 2), the neighbors' row numbers. With them the error bar counts that ratios of points
        which share neighbors are correlated.

    Returns
    -------
    Estimate
        `error` is the asymptotic standard error of the slope as a function of order statistics, not that of a
        regression, whose residuals would have to be independent. `n_points` counts all usable ratios, because
        the excluded ones still shape the empirical distribution.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`) or indices, or `fraction` outside (0, 1].
    """
    _check_fraction(fraction)
    return _estimate(read_lists(distances), indices, partial(_fit_line, fraction=fraction))


def twonn_mle(distances: Distances, indices: Indices | None = None) -> Estimate:
    """Intrinsic dimension by maximum likelihood: d = (N - 1) / sum log mu, unbiased (DADApy's ``ml``).

    The estimator is that of Denti, Doimo, Laio and Mira, Scientific Reports 12, 20005, 2022
    (doi:10.1038/s41598-022-20991-1), over all ratios.

    Parameters
    ----------
    distances, indices
        As for `twonn`.

    Returns
    -------
    Estimate
        `error` is d / sqrt(N) without `indices`. With them it is (d / N) sqrt(sum s_i s_j) over the pairs of
        points, i = j included, that share a point among {self, first, second neighbor}, where
        s = d log mu - 1, centered.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`) or indices.
    """
    return _estimate(read_lists(distances), indices, _fit_likelihood)


def twonn_mle_censored(
    distances: Distances, fraction: float = 0.9, indices: Indices | None = None
) -> Estimate:
    """Intrinsic dimension by maximum likelihood, the largest ratios known only to be large.

    d = n / (sum_{i <= n} log mu_(i) + (N - n) log mu_(n)), n = int(fraction * N): the likelihood of an
    exponential sample censored at its n-th value (Epstein and Sobel, J. Am. Stat. Assoc. 48, 486, 1953). It
    uses the same ratios as `twonn` and has the smaller error.

    Parameters
    ----------
    distances, fraction, indices
        As for `twonn`.

    Returns
    -------
    Estimate
        `error` is d / sqrt(n) without `indices`, and counts correlated ratios as in `twonn_mle` with them.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`) or indices, or `fraction` outside (0, 1].
    """
    _check_fraction(fraction)
    return _estimate(read_lists(distances), indices, partial(_fit_censored, fraction=fraction))


def twonn_by_mu_fraction(
    distances: Distances, fractions: Sequence[float], indices: Indices | None = None
) -> tuple[Floats, Floats]:
    """`twonn` at several fractions: flat where the ratios follow the model.

    Parameters
    ----------
    distances, indices
        As for `twonn`.
    fractions
        Shares of the smallest ratios, each in (0, 1].

    Returns
    -------
    values, errors
        Shape (len(fractions),), float64; NaN where undefined.

    Raises
    ------
    InputError
        Bad distances (see `read_lists`) or indices, or a fraction outside (0, 1].
    """
    for fraction in fractions:
        _check_fraction(fraction)
    lists = read_lists(distances)
    estimates = [_estimate(lists, indices, partial(_fit_line, fraction=fraction)) for fraction in fractions]
    values = np.array([estimate.value for estimate in estimates], dtype=np.float64)
    return values, np.array([estimate.error for estimate in estimates], dtype=np.float64)


def _check_fraction(fraction: float) -> None:
    if not 0.0 < fraction <= 1.0:
        raise InputError(
            f"fraction: expected a number in (0, 1], found {fraction}; pass the share of ratios to keep"
        )


def _estimate(
    lists: NeighborLists, indices: Indices | None, fit: Callable[[Floats], _Fit | Status]
) -> Estimate:
    neighbors = _neighbors(lists, indices)
    status = lists.status(2)
    if status is not Status.OK:
        return lists.undefined(status)
    fitted = fit(lists.log_ratios(1, 2))
    if isinstance(fitted, Status):
        return lists.undefined(fitted)
    error = fitted.value * fitted.relative_error
    if neighbors is not None:
        members = np.column_stack([lists.rows, neighbors])
        influence = fitted.influence - fitted.influence.mean()
        total = sum_over_sharing_pairs(influence, members, len(lists.distances))
        if total > 0.0:  # the pair sum is no square: a handful of points can make it negative
            error = fitted.value * np.sqrt(total) / lists.rows.size
    return Estimate(fitted.value, float(error), lists.rows.size, Status.OK, lists.n_zero_distances)


def _neighbors(lists: NeighborLists, indices: Indices | None) -> npt.NDArray[np.int64] | None:
    if indices is None or lists.length < 2:
        return None
    return first_two_neighbors(indices, lists.rows, len(lists.distances))


def _fit_likelihood(log_mu: Floats) -> _Fit | Status:
    total = float(np.sum(log_mu))
    if total == 0.0:
        return Status.NO_SOLUTION
    value = (log_mu.size - 1) / total
    return _Fit(value, 1.0 / np.sqrt(log_mu.size), value * log_mu - 1.0)


def _fit_censored(log_mu: Floats, fraction: float) -> _Fit | Status:
    n_kept = int(log_mu.size * fraction)
    if n_kept < 2:
        return Status.TOO_FEW_POINTS
    kept = np.sort(log_mu)[:n_kept]
    total = float(np.sum(kept)) + (log_mu.size - n_kept) * float(kept[-1])
    if total == 0.0:
        return Status.NO_SOLUTION
    value = n_kept / total
    influence = value * np.minimum(log_mu, kept[-1]) - (log_mu <= kept[-1])
    return _Fit(value, 1.0 / np.sqrt(n_kept), influence * (log_mu.size / n_kept))


def _fit_line(log_mu: Floats, fraction: float) -> _Fit | Status:
    n_kept = min(int(log_mu.size * fraction), log_mu.size - 1)
    if n_kept < 2:
        return Status.TOO_FEW_POINTS
    x = np.sort(log_mu)[:n_kept]
    y = -np.log1p(-np.arange(1, n_kept + 1) / log_mu.size)
    total = float(np.sum(x * x))  # np.sum and not BLAS: the same bits whatever the number of threads
    if total == 0.0:
        return Status.NO_SOLUTION
    value = float(np.sum(x * y)) / total
    return _Fit(value, *_line_errors(value * log_mu, n_kept / log_mu.size))


def _line_errors(standard: Floats, fraction: float) -> tuple[float, Floats]:
    """Relative error of the slope, and each ratio's influence, from its functional form.

    With Q the quantile function of log mu and y(u) = -log(1 - u), the slope is the ratio of the integrals of
    y Q and of Q^2 over (0, fraction). Minus its influence function at the exponential is, relative to d,
    (min(t, c)^2 / 2 - a) / b, where t = d log mu, c = y(fraction), and a, b are the integrals of y and y^2.
    """
    c = -np.log1p(-fraction)
    a, b = gammainc(2, c), 2.0 * gammainc(3, c)
    influence = (np.minimum(standard, c) ** 2 / 2.0 - a) / b
    variance = (6.0 * gammainc(4, c) - a * a) / (b * b)
    return float(np.sqrt(variance / standard.size)), influence
