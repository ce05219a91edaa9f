"""The first pass over a representation: refuse what cannot be searched, find equal rows, center and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.search.duplicates import first_equal_rows, row_hashes
from hpcgeom.search.moments import Moments
from hpcgeom.search.rows import (
    LARGEST_MAGNITUDE,
    RowSource,
    largest_usable,
    not_usable,
    raise_not_usable,
    read_rows,
    row_ranges,
)
from hpcgeom.search.threads import in_blocks

SAMPLED_ROWS = 256
"""Rows that judge whether the mean is a good center."""


@dataclass(frozen=True)
class Centering:
    """Center rows by a vector and multiply them by a power of two.

    Exactness does not depend on either: they make the proposals good.

    Attributes
    ----------
    center
        (D,) float64, subtracted.
    scale
        Power of two; centered rows times this have norms of at most about 1.
    """

    center: npt.NDArray[np.float64]
    scale: float

    def apply(self, rows_BD: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Centered and scaled rows in float64."""
        centered_BD: npt.NDArray[np.float64] = rows_BD - self.center
        centered_BD *= self.scale
        return centered_BD


@dataclass(frozen=True)
class Scan:
    """What one pass over all rows says.

    Attributes
    ----------
    centering
        How rows are prepared for the proposals.
    duplicate_of
        (N,) int32: the first equal row, itself if there is none before.
    moments
        (D,) mean and standard deviation that features were standardized by; None where they were not.
    row_roundoff
        What rounding to bfloat16 takes from the distinct rows (`bounds.half_bound`), where their products are
        to be in bfloat16; None elsewhere.
    """

    centering: Centering
    duplicate_of: npt.NDArray[np.int32]
    moments: Moments | None = None
    row_roundoff: float | None = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As arrays by name, to be stored."""
        arrays = {
            "center": self.centering.center,
            "scale": np.array(self.centering.scale),
            "duplicate_of": self.duplicate_of,
        }
        if self.moments is not None:
            arrays["feature_mean"], arrays["feature_std"] = self.moments
        if self.row_roundoff is not None:
            arrays["row_roundoff"] = np.array(self.row_roundoff)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Scan:
        """From what `arrays` gave."""
        moments = (arrays["feature_mean"], arrays["feature_std"]) if "feature_mean" in arrays else None
        centering = Centering(arrays["center"], float(arrays["scale"]))
        roundoff = float(arrays["row_roundoff"]) if "row_roundoff" in arrays else None
        return cls(centering, arrays["duplicate_of"], moments, roundoff)


def scan_rows(source: RowSource, tile_rows: int, mean: npt.ArrayLike | None = None, threads: int = 1) -> Scan:
    """Read all rows once.

    Parameters
    ----------
    source
        (N, D).
    tile_rows
        Most rows held at a time.
    mean
        (D,) what to center by; None computes the float64 column mean.
    threads
        No influence on the result.

    Raises
    ------
    InputError
        If a row is not finite, or the mean does not fit the rows.
    """
    n_rows, n_features = source.shape
    hash_N2, sample, bad_rows = np.empty((n_rows, 2), np.uint64), [], list[int]()
    sampled_S = np.unique(np.linspace(0, n_rows - 1, SAMPLED_ROWS).astype(np.int64))
    smallest_D, largest_D = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    mean_D = np.zeros(n_features)
    for start, stop in row_ranges(n_rows, tile_rows):
        rows_TD = read_rows(source, start, stop)

        def work(block: slice, start=start, rows_TD=rows_TD) -> _Part:  # type: ignore[no-untyped-def]
            first = start + block.start
            return _look_over(rows_TD[block], first, 1.0 / n_rows, hash_N2[first : start + block.stop])

        for part in in_blocks(work, stop - start, threads):
            bad_rows += part.bad_rows
            np.minimum(smallest_D, part.smallest, out=smallest_D)
            np.maximum(largest_D, part.largest, out=largest_D)
            mean_D += part.mean
        sample.append(rows_TD[sampled_S[(sampled_S >= start) & (sampled_S < stop)] - start])
    raise_not_usable(bad_rows)
    if mean is not None:
        mean_D = _checked_mean(mean, n_features)
    center_D = _center(mean_D, np.concatenate(sample))
    scale = _scale(np.maximum(largest_D - center_D, center_D - smallest_D))
    return Scan(Centering(center_D, scale), first_equal_rows(hash_N2))


@dataclass(frozen=True)
class _Part:
    """Of a block of rows: those that cannot be used, extremes of the features, and a share of their mean."""

    bad_rows: list[int]
    smallest: npt.NDArray[Any]
    largest: npt.NDArray[Any]
    mean: npt.NDArray[np.float64]


def _look_over(rows_BD: npt.NDArray[Any], first: int, share: float, hash_B2: npt.NDArray[np.uint64]) -> _Part:
    """What a block of rows says, and their hashes."""
    from hpcgeom.search.row_loops import look_over

    kind, n_features = rows_BD.dtype.type, rows_BD.shape[1]
    smallest_D, largest_D = np.full(n_features, np.inf, kind), np.full(n_features, -np.inf, kind)
    mean_D = np.zeros(n_features)
    # Rows are divided by their number before they are summed up: sums of huge values stay finite.
    n_bad = look_over(rows_BD, kind(largest_usable(rows_BD.dtype)), share, smallest_D, largest_D, mean_D)
    hash_B2[:] = row_hashes(rows_BD)
    return _Part(not_usable(rows_BD, first) if n_bad else [], smallest_D, largest_D, mean_D)


def _center(mean_D: npt.NDArray[np.float64], sample_SD: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The mean, or the median of a sample where outliers have pulled the mean away from most rows."""
    ordered_DS = np.sort(np.ascontiguousarray(sample_SD.T), axis=1)  # a third of the time of np.median
    middle_DM = ordered_DS[:, (len(sample_SD) - 1) // 2 : len(sample_SD) // 2 + 1]
    median_D: npt.NDArray[np.float64] = middle_DM.mean(axis=1, dtype=np.float64)
    from_mean, from_median = (np.median(np.abs(sample_SD - c_D).sum(axis=1)) for c_D in (mean_D, median_D))
    return median_D if from_median < from_mean / 2 else mean_D


def _checked_mean(mean: npt.ArrayLike, n_features: int) -> npt.NDArray[np.float64]:
    mean_D = np.array(mean, dtype=np.float64)
    if mean_D.shape != (n_features,):
        raise InputError(
            f"the mean has the shape {mean_D.shape}, expected ({n_features},): give one value a feature"
        )
    if not (np.abs(mean_D) <= LARGEST_MAGNITUDE).all():
        raise InputError(
            "the mean has values that are NaN, infinite or above 1e301: give the mean of the rows, or None"
        )
    return mean_D


def _scale(reach_D: npt.NDArray[np.float64]) -> float:
    """Power of two that brings norms to at most 1, from the largest distance to the mean in each feature."""
    largest = float(reach_D.max())
    if largest <= 0.0:
        return 1.0
    norm_bound = math.sqrt(float(np.square(reach_D / largest).sum()))
    exponent = math.frexp(largest)[1] + math.frexp(norm_bound)[1]
    return math.ldexp(1.0, min(-exponent, 900))
