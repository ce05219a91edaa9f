"""The scales over which an intrinsic dimension does not change: a suggestion, to read beside the curve.

A dimension that stays the same while the scale grows is that of the manifold, neither of noise, which raises
it at small scales, nor of curvature and boundaries, which bend it at large ones (Facco et al., Scientific
Reports 7, 12140, 2017; Denti et al., Scientific Reports 12, 20005, 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.ratios import Floats
from hpcgeom.types import Status


@dataclass(frozen=True, slots=True)
class Plateau:
    """The flattest range of scales, ``values[start:stop]``.

    Attributes
    ----------
    start, stop
        Range of positions in the curve; both 0 where there is no plateau.
    value
        Mean of the range, weighted by 1 / bar^2 with the bars of `plateau`; NaN where there is none.
    error
        Weighted mean of the bars: an upper bound of the standard error of `value`, whatever the correlation
        between scales, which share points. It does not count that the range was chosen.
    status
        ``OK``; ``TOO_FEW_NEIGHBORS`` where nowhere `min_scales` successive scales were measured;
        ``NO_SOLUTION`` where the curve is nowhere flat.
    """

    start: int
    stop: int
    value: float
    error: float
    status: Status


def plateau(
    values: npt.ArrayLike,
    errors: npt.ArrayLike,
    min_scales: int = 3,
    n_errors: float = 2.0,
    tolerance: float = 0.0,
) -> Plateau:
    """The longest range of successive scales whose values agree with their mean.

    Each value has a bar, sqrt(error^2 + (`tolerance` * value)^2). A range agrees if each of its values is
    within `n_errors` bars of their mean, weighted by 1 / bar^2. Of ranges of equal length the one with the
    smallest relative spread, (largest - smallest) / mean, is taken, and of equal ones the first.

    Parameters
    ----------
    values, errors
        Shape (S,): dimensions at rising scales, such as those of `gride`, and their errors; NaN where
        undefined, which ends a range.
    min_scales
        Fewest scales of a plateau, 2 or more.
    n_errors
        Bars that a value may lie off the mean.
    tolerance
        Relative uncertainty of each value beyond its error: with many points errors are so small that no
        curve is flat within them, and 0.02 asks for a curve that is flat to some percent instead.

    Returns
    -------
    Plateau
        Where noise and manifold both have a plateau, it is that of more scales; look at the curve.

    Raises
    ------
    InputError
        Arrays that are not 1-D of one length, an error that is not positive, `min_scales` below 2, or
        `n_errors` or `tolerance` negative.
    """
    v, e = _checked(values, errors, min_scales, n_errors, tolerance)
    ranges = _measured_ranges(v, e, min_scales)
    if not ranges:
        return Plateau(0, 0, np.nan, np.nan, Status.TOO_FEW_NEIGHBORS)
    bars = np.hypot(e, tolerance * v)
    best: tuple[tuple[int, float, int], Plateau] | None = None
    for start, stop in ranges:
        here, around = v[start:stop], bars[start:stop]
        weights = (around.min() / around) ** 2
        weights /= weights.sum()
        mean = float(np.sum(weights * here))
        if (abs(here - mean) > n_errors * around).any():
            continue
        rank = (start - stop, float(np.ptp(here)) / mean, start)
        if best is None or rank < best[0]:
            best = rank, Plateau(start, stop, mean, float(np.sum(weights * around)), Status.OK)
    return Plateau(0, 0, np.nan, np.nan, Status.NO_SOLUTION) if best is None else best[1]


def _measured_ranges(v: Floats, e: Floats, min_scales: int) -> list[tuple[int, int]]:
    """All ranges of at least `min_scales` successive scales with a value and an error."""
    measured = ~np.isnan(v) & ~np.isnan(e)
    return [
        (start, stop)
        for start in range(v.size)
        for stop in range(start + min_scales, v.size + 1)
        if measured[start:stop].all()
    ]


def _checked(
    values: npt.ArrayLike, errors: npt.ArrayLike, min_scales: int, n_errors: float, tolerance: float
) -> tuple[Floats, Floats]:
    v, e = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if v.ndim != 1 or v.shape != e.shape:
        raise InputError(
            f"plateau: expected values and errors of one shape (scales,), found {v.shape} and {e.shape}; "
            f"pass the value and error of one result"
        )
    for name, array in (("values", v), ("errors", e)):
        wrong = (array <= 0.0) | np.isinf(array)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"{name}: scale {at} is {array[at]:.6g}, expected a positive, finite number; "
                f"write NaN where there is none"
            )
    if min_scales < 2:
        raise InputError(f"min_scales: expected 2 or more, found {min_scales}; 3 is usual")
    for name, number, usual in (("n_errors", n_errors, 2), ("tolerance", tolerance, 0.02)):
        if not 0.0 <= number < np.inf:
            raise InputError(f"{name}: expected a number of 0 or more, found {number}; {usual} is usual")
    return v, e
