"""Mean and spread of every feature, for standardizing: the same bits however the rows are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from hpcgeom.search.rows import RowSource, not_usable, raise_not_usable, read_rows, row_ranges

Array = np.ndarray[Any, Any]
Moments = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def column_moments(source: RowSource, n_base: int, tile_rows: int) -> Moments:
    """Mean and standard deviation (of the population) of each feature over the base rows, in two passes.

    Raises
    ------
    InputError
        If a row is not finite.
    """
    n_features = source.shape[1]
    mean_D, variance_D = np.zeros(n_features), np.zeros(n_features)
    smallest_D, largest_D = np.full(n_features, np.inf), np.full(n_features, -np.inf)
    for start, stop in row_ranges(n_base, tile_rows):
        rows_BD = read_rows(source, start, stop)
        raise_not_usable(not_usable(rows_BD, start))
        _add_rows(rows_BD, 1.0 / n_base, mean_D)
        np.minimum(smallest_D, rows_BD.min(axis=0), out=smallest_D)
        np.maximum(largest_D, rows_BD.max(axis=0), out=largest_D)
    # The rounding of a mean is no spread: a constant feature has none.
    mean_D = np.where(smallest_D == largest_D, smallest_D, mean_D)
    reach_D = np.maximum(largest_D - mean_D, mean_D - smallest_D)
    factor_D = np.ldexp(1.0, np.minimum(-np.frexp(reach_D)[1], 900))  # keeps squares in range
    for start, stop in row_ranges(n_base, tile_rows):
        scaled_BD = (read_rows(source, start, stop) - mean_D) * factor_D
        _add_rows(np.square(scaled_BD, out=scaled_BD), 1.0 / n_base, variance_D)
    return mean_D, np.sqrt(variance_D) / factor_D


@njit(nogil=True, cache=True)
def _add_rows(row_BD: Array, factor: float, total_D: Array) -> None:
    """Add rows times a factor, one after the other, so that the sum does not depend on how they are cut."""
    for b in range(row_BD.shape[0]):
        for f in range(row_BD.shape[1]):
            total_D[f] += np.float64(row_BD[b, f]) * factor
