"""Sums of columns in float64, of rows that come in parts: the same bits however they are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = np.ndarray[Any, Any]


def add_rows(rows: npt.NDArray[np.floating], total: npt.NDArray[np.float64]) -> None:
    """Add rows (n, features) to `total` (features,), one after the other.

    Half the time of `numpy.sum` in another type, which converts through a buffer.
    """
    _add_rows(rows.astype(np.float32) if rows.dtype == np.float16 else rows, total)


@njit(nogil=True, cache=True)
def _add_rows(rows: Array, total: Array) -> None:
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            total[column] += np.float64(rows[row, column])
