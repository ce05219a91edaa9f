"""Norms of points, and how much their directions agree: from sums that add up over blocks of rows.

In language models all points of a layer may lie in a narrow cone (Ethayarajh, "How contextual are
contextualized word representations?", EMNLP 2019, doi:10.18653/v1/D19-1006). The mean cosine of two points
measures it, and follows from the sum of unit vectors u alone, because |sum u|^2 is the sum of all cosines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np

from hpcgeom.errors import InputError
from hpcgeom.geometry.rows import Floats, float64_rows, row_blocks
from hpcgeom.types import Points, Status


@dataclass(frozen=True, slots=True)
class MomentSums:
    """Sums over a block of points; `merge_moments` adds two blocks.

    Attributes
    ----------
    n_points, n_zero_norms
        Rows, and those among them that are the origin and have no direction.
    norm_mean, norm_spread, norm_max
        Mean of the norms, root of the sum of their squared deviations from it, and the largest; -inf without
        points.
    directions, lost
        Shape (D,), float64: sum of the unit vectors, and what rounding took from it when blocks were added.
    """

    n_points: int
    n_zero_norms: int
    norm_mean: float
    norm_spread: float
    norm_max: float
    directions: Floats
    lost: Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """Norms and directions of the points of one layer.

    Attributes
    ----------
    norm_mean, norm_std, norm_max
        Of the Euclidean norms of all points, the origin included; the deviation is over N, not N - 1.
    mean_cosine
        Mean cosine of a point with the mean direction sum u / |sum u|, in [0, 1]: the mean resultant length
        |sum u| / N of directional statistics.
    anisotropy
        Mean cosine of two different points, (|sum u|^2 - N) / (N (N - 1)), in [-1 / (N - 1), 1].
    n_points, n_zero_norms
        All points, and those at the origin, which have a norm but no direction: N counts the others.
    status
        Why the cosines are NaN: ``CONSTANT`` if all points are the origin, ``TOO_FEW_POINTS`` if fewer than
        two have a direction.
    """

    norm_mean: float
    norm_std: float
    norm_max: float
    mean_cosine: float
    anisotropy: float
    n_points: int
    n_zero_norms: int
    status: Status


def moments(points: Points, block_rows: int = 4096) -> Moments:
    """Norms and agreement of directions of one layer, in one pass over its rows.

    Parameters
    ----------
    points
        Shape (N, D), floating point; anything that is cut into arrays by ``points[start:stop]``.
    block_rows
        Rows that are held at once in float64. Results for two sizes agree to a relative 1e-12 (absolute for
        the cosines).

    Returns
    -------
    Moments

    Raises
    ------
    InputError
        A number that is not finite, a norm beyond float64, an array of other axes, or `block_rows` below 1.
    """
    if block_rows < 1:
        raise InputError(f"block_rows: expected 1 or more, found {block_rows}; 4096 is usual")
    n_points = max(len(points), 1)  # an empty array is looked at, too
    parts = (moment_sums(points[start:stop]) for start, stop in row_blocks(n_points, block_rows))
    return moments_from_sums(reduce(merge_moments, parts))


def moment_sums(rows: Points) -> MomentSums:
    """The sums over one block of rows.

    Parameters
    ----------
    rows
        Shape (R, D), floating point.

    Returns
    -------
    MomentSums
        Norms are taken relative to the largest feature of each point: none overflows or vanishes on the way.

    Raises
    ------
    InputError
        A number that is not finite, a norm beyond float64, or an array of other axes.
    """
    values = float64_rows("points", rows)
    peak = np.abs(values).max(axis=1)
    relative = np.divide(values, peak[:, None], out=np.zeros_like(values), where=peak[:, None] > 0.0)
    length = np.sqrt(np.sum(relative**2, axis=1))
    with np.errstate(over="ignore"):
        norms = peak * length
    if np.isinf(norms).any():
        row = int(np.argmax(np.isinf(norms)))
        raise InputError(f"points: the norm of row {row} is beyond float64; divide all points by 1e10")
    units = np.divide(relative, length[:, None], out=relative, where=length[:, None] > 0.0)
    mean = float(np.sum(norms / max(len(norms), 1)))
    return MomentSums(
        n_points=len(norms),
        n_zero_norms=int(np.count_nonzero(peak == 0.0)),
        norm_mean=mean,
        norm_spread=_root_of_squares(norms - mean),
        norm_max=float(norms.max(initial=-np.inf)),
        directions=units.sum(axis=0),
        lost=np.zeros(values.shape[1]),
    )


def merge_moments(a: MomentSums, b: MomentSums) -> MomentSums:
    """The sums over two blocks together: directions by compensated sums, norms by Chan's formula.

    Chan, Golub and LeVeque, The American Statistician 37, 242, 1983; Neumaier, ZAMM 54, 39, 1974.

    Raises
    ------
    InputError
        Blocks of different widths.
    """
    if a.directions.shape != b.directions.shape:
        raise InputError(
            f"moments: the blocks have {a.directions.size} and {b.directions.size} features; "
            f"expected one layer, merge the blocks of each layer by themselves"
        )
    n_points = a.n_points + b.n_points
    step = b.norm_mean - a.norm_mean
    share = b.n_points / max(n_points, 1)
    total = a.directions + b.directions
    larger = np.where(np.abs(a.directions) >= np.abs(b.directions), a.directions, b.directions)
    smaller = np.where(np.abs(a.directions) >= np.abs(b.directions), b.directions, a.directions)
    return MomentSums(
        n_points=n_points,
        n_zero_norms=a.n_zero_norms + b.n_zero_norms,
        norm_mean=a.norm_mean + step * share,
        norm_spread=math.hypot(a.norm_spread, b.norm_spread, step * math.sqrt(a.n_points * share)),
        norm_max=max(a.norm_max, b.norm_max),
        directions=total,
        lost=a.lost + b.lost + ((larger - total) + smaller),
    )


def moments_from_sums(sums: MomentSums) -> Moments:
    """Norms and cosines from the sums over all points.

    Parameters
    ----------
    sums
        Of all blocks together.

    Returns
    -------
    Moments
        NaN and ``TOO_FEW_POINTS`` without points.
    """
    n_points, n_directed = sums.n_points, sums.n_points - sums.n_zero_norms
    resultant = sums.directions + sums.lost
    squared = float(np.sum(resultant**2))
    status = Status.OK
    if n_directed < 2:
        status = Status.CONSTANT if n_directed == 0 and n_points > 1 else Status.TOO_FEW_POINTS
    known = status is Status.OK
    return Moments(
        norm_mean=sums.norm_mean if n_points else np.nan,
        norm_std=sums.norm_spread / math.sqrt(n_points) if n_points else np.nan,
        norm_max=sums.norm_max if n_points else np.nan,
        mean_cosine=float(np.sqrt(squared)) / n_directed if known else np.nan,
        anisotropy=(squared - n_directed) / (n_directed * (n_directed - 1)) if known else np.nan,
        n_points=n_points,
        n_zero_norms=sums.n_zero_norms,
        status=status,
    )


@dataclass(frozen=True, slots=True)
class MomentErrors:
    """Standard errors of the numbers of `Moments`, by the jackknife; NaN where a group is too small."""

    norm_mean: float
    norm_std: float
    mean_cosine: float
    anisotropy: float


def moment_errors(groups: Sequence[MomentSums]) -> MomentErrors:
    """Standard errors from groups of points: how much each number changes without one of them.

    sqrt((G - 1) / G sum (p_g - mean p)^2), where p_g is the number without group g of G. Points are taken for
    independent: deal them to the groups in turn, so that an order by classes leaves all groups alike.

    Parameters
    ----------
    groups
        The sums of each group, of one width.

    Returns
    -------
    MomentErrors
        NaN with one group, or where a number is undefined without some group.

    Raises
    ------
    InputError
        Groups of different widths.
    """
    names = [field.name for field in fields(MomentErrors)]
    if len(groups) < 2 or any(group.n_points == 0 for group in groups):
        return MomentErrors(*[np.nan] * len(names))
    without = [
        moments_from_sums(reduce(merge_moments, [*groups[:number], *groups[number + 1 :]]))
        for number in range(len(groups))
    ]
    errors = []
    for name in names:
        values = np.array([getattr(each, name) for each in without])
        squares = np.sum((values - values.mean()) ** 2)
        errors.append(float(np.sqrt((len(groups) - 1) / len(groups) * squares)))
    return MomentErrors(*errors)


def _root_of_squares(values: Floats) -> float:
    """sqrt(sum v^2) that neither overflows nor vanishes on the way."""
    peak = float(np.abs(values).max(initial=0.0))
    return peak * float(np.sqrt(np.sum((values / peak) ** 2))) if peak > 0.0 else 0.0
