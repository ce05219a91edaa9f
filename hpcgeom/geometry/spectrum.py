"""Eigenvalues of the covariance of points, from one pass over blocks of their rows.

The participation ratio (sum l)^2 / sum l^2 of the eigenvalues l is the number of directions over which the
variance is spread (Gao et al., "A theory of multineuronal dimensionality, dynamics and measurement", bioRxiv
214262, 2017, doi:10.1101/214262).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigvalsh

from hpcgeom.errors import InputError
from hpcgeom.geometry.ratios import Floats
from hpcgeom.types import Points, Status

_TOO_LARGE = 1e140


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenvalues of a covariance matrix, and the participation ratio.

    Attributes
    ----------
    eigenvalues
        Shape (D,), float64, descending: variances along the principal axes, with N - 1 in the denominator, in
        squared units of the points. Rounding may leave those that are zero slightly off, on either side.
    participation_ratio
        1 where one direction has all the variance, D where all have the same; NaN where there is no variance.
    participation_ratio_error
        One standard error by the jackknife over blocks of rows; NaN with one block.
    n_points
        Rows that entered.
    status
        ``OK``; ``TOO_FEW_POINTS`` below two rows; ``CONSTANT`` where all rows are equal.
    """

    eigenvalues: Floats
    participation_ratio: float
    participation_ratio_error: float
    n_points: int
    status: Status


class Covariance:
    """Covariance of rows that come in blocks of any size, in float64.

    Rows are taken relative to the first one, and each block relative to its own mean, so that a large common
    offset costs no digits; blocks are joined by the exact update of Chan, Golub and LeVeque, The American
    Statistician 37, 242, 1983. Memory is that of `n_blocks` matrices (D, D) and of one block of rows.

    Parameters
    ----------
    n_features
        D, columns of the rows.
    n_blocks
        Groups for the jackknife, 1 for no error bar. Rows are dealt to them in turn, so that rows in the
        order of their classes leave all groups alike; the error takes rows for independent.

    Raises
    ------
    InputError
        A number below 1.
    """

    def __init__(self, n_features: int, n_blocks: int = 1) -> None:
        for name, number in (("n_features", n_features), ("n_blocks", n_blocks)):
            if number < 1:
                raise InputError(f"{name}: expected 1 or more, found {number}; raise it")
        self.n_features = n_features
        self.n_rows = 0
        self.groups = [_Moments.of_nothing(n_features) for _ in range(n_blocks)]
        self.origin: Floats | None = None

    def add(self, rows: Points) -> None:
        """Take in rows, shape (M, n_features), any real type.

        Raises
        ------
        InputError
            Another shape or type, or a row with NaN, infinity, or a number too large to square.
        """
        taken = self._checked(rows)
        if not len(taken):
            return
        if self.origin is None:
            self.origin = taken[0].copy()
        n_groups = len(self.groups)
        for number, group in enumerate(self.groups):
            part = taken[(number - self.n_rows) % n_groups :: n_groups]
            if len(part):
                group.absorb(_Moments.of_rows(part - self.origin))
        self.n_rows += len(taken)

    def merge(self, other: Covariance) -> None:
        """Take in the rows that `other` has seen, group by group; `other` stays as it is.

        Raises
        ------
        InputError
            Another number of features or blocks.
        """
        here, there = ((c.n_features, len(c.groups)) for c in (self, other))
        if here != there:
            raise InputError(
                f"covariance: expected (n_features, n_blocks) = {here}, found {there}; "
                f"merge only what was begun with the same numbers"
            )
        if other.origin is None:
            return
        if self.origin is None:
            self.origin = other.origin.copy()
        shift = other.origin - self.origin
        for mine, theirs in zip(self.groups, other.groups, strict=True):
            if theirs.n:
                mine.absorb(_Moments(theirs.n, theirs.mean + shift, theirs.scatter))
        self.n_rows += other.n_rows

    def mean(self) -> Floats:
        """Shape (D,), float64: mean of all rows; NaN without rows."""
        if self.origin is None:
            return np.full(self.n_features, np.nan)
        return np.asarray(self.origin + self._total().mean)

    def matrix(self) -> Floats:
        """Shape (D, D), float64: covariance with N - 1 in the denominator; NaN below two rows."""
        if self.n_rows < 2:
            return np.full((self.n_features, self.n_features), np.nan)
        return self._total().scatter / (self.n_rows - 1)

    def _total(self) -> _Moments:
        total = _Moments.of_nothing(self.n_features)
        for group in self.groups:
            if group.n:
                total.absorb(group)
        return total

    def _checked(self, rows: Points) -> Floats:
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
            found = getattr(rows, "dtype", type(rows).__name__)
            raise InputError(f"rows: expected an array of real numbers, found {found}; pass (rows, features)")
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise InputError(
                f"rows: expected shape (rows, {self.n_features}), found {rows.shape}; "
                f"pass all features of each row"
            )
        taken = rows.astype(np.float64)
        usable = (abs(taken) < _TOO_LARGE).all(axis=1)
        if not usable.all():
            at = int(np.argmin(usable))
            raise InputError(
                f"rows: row {self.n_rows + at} in order of addition has NaN or a number of {_TOO_LARGE:.0e} "
                f"or more, which has no square; find out where it comes from, or leave the row out"
            )
        return taken


@dataclass(slots=True)
class _Moments:
    """Number, mean (D,) and scatter (D, D), the sum of outer products around the mean, of some rows."""

    n: int
    mean: Floats
    scatter: Floats

    @classmethod
    def of_nothing(cls, n_features: int) -> _Moments:
        return cls(0, np.zeros(n_features), np.zeros((n_features, n_features)))

    @classmethod
    def of_rows(cls, rows: Floats) -> _Moments:
        mean = rows.mean(axis=0)
        centered = rows - mean
        return cls(len(rows), mean, centered.T @ centered)

    def absorb(self, other: _Moments) -> None:
        n = self.n + other.n
        apart = other.mean - self.mean
        step = apart * np.sqrt(self.n * other.n / n)
        self.scatter += other.scatter
        self.scatter += np.outer(step, step)
        self.mean = self.mean + apart * (other.n / n)
        self.n = n

    def without(self, part: _Moments) -> Floats:
        """Scatter of the rows that are not in `part`."""
        n = self.n - part.n
        step = (part.mean - self.mean) * np.sqrt(self.n * part.n / n)
        return np.asarray(self.scatter - part.scatter - np.outer(step, step))


def spectrum(covariance: Covariance) -> Spectrum:
    """Eigenvalues and participation ratio of what a `Covariance` has seen.

    The error is that of the jackknife, sqrt((G - 1) / G sum (p_g - mean p)^2), where p_g is the ratio without
    group g of G. With few points the ratio p is too low, for normal points by 1 / p - 1 / P = 1 / N or so
    where P is that of the distribution.

    Returns
    -------
    Spectrum
        Without variance or rows the status says so.
    """
    n_points = covariance.n_rows
    if n_points < 2:
        nothing = np.full(covariance.n_features, np.nan)
        return Spectrum(nothing, np.nan, np.nan, n_points, Status.TOO_FEW_POINTS)
    total = covariance._total()
    eigenvalues = eigvalsh(total.scatter / (n_points - 1))[::-1].copy()
    ratio = _participation_ratio(total.scatter)
    if np.isnan(ratio):
        return Spectrum(eigenvalues, np.nan, np.nan, n_points, Status.CONSTANT)
    return Spectrum(eigenvalues, ratio, _jackknife_error(total, covariance.groups), n_points, Status.OK)


def pca_components(
    eigenvalues: npt.ArrayLike, fractions: Sequence[float] = (0.8, 0.9, 0.99)
) -> npt.NDArray[np.int64]:
    """Smallest numbers of principal components that hold at least these fractions of the variance.

    Parameters
    ----------
    eigenvalues
        Shape (D,), descending.
    fractions
        Each in (0, 1).

    Returns
    -------
    ndarray
        Shape (len(fractions),), int64; 0 where there is no variance.

    Raises
    ------
    InputError
        Eigenvalues that are not 1-D, finite and descending, or a fraction outside (0, 1).
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (np.diff(values) > 0.0).any():
        raise InputError(
            f"eigenvalues: expected finite numbers in descending order, found shape {values.shape}; "
            f"pass those of spectrum()"
        )
    for fraction in fractions:
        if not 0.0 < fraction < 1.0:
            raise InputError(
                f"fractions: expected numbers in (0, 1), found {fraction}; pass shares of the variance"
            )
    held = np.cumsum(values)
    if held[-1] <= 0.0:
        return np.zeros(len(fractions), dtype=np.int64)
    enough = held >= np.array(fractions)[:, None] * held[-1]
    return np.asarray(np.argmax(enough, axis=1) + 1, dtype=np.int64)


def _participation_ratio(scatter: Floats) -> float:
    """Trace squared over the sum of squared entries, which is that over eigenvalues; NaN without variance."""
    trace = float(np.trace(scatter))
    return 1.0 / float(np.sum((scatter / trace) ** 2)) if trace > 0.0 else np.nan


def _jackknife_error(total: _Moments, groups: Sequence[_Moments]) -> float:
    n_groups = len(groups)
    if n_groups < 2 or any(group.n == 0 or total.n - group.n < 2 for group in groups):
        return np.nan
    without = np.array([_participation_ratio(total.without(group)) for group in groups])
    return float(np.sqrt((n_groups - 1) / n_groups * np.sum((without - without.mean()) ** 2)))
