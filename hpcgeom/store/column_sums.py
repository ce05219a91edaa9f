"""Sums of columns in float64, of rows that come in parts: the same bits however they are cut."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = np.ndarray[Any, Any]


def add_rows(rows: npt.NDArray[np.floating], total: npt.NDArray[np.float64]) -> None:
    """Add rows (n, features) to `total` (features,), one after the other.

    Half the time of `numpy.sum` in another type, which converts through a buffer.
    """
    _compiled()(rows.astype(np.float32) if rows.dtype == np.float16 else rows, total)


@cache
def _compiled() -> Callable[[Array, Array], None]:
    from numba import njit  # not at import: commands that write nothing import the store

    return njit(nogil=True, cache=True)(_add_rows)  # type: ignore[no-any-return]


def _add_rows(rows: Array, total: Array) -> None:
    for row in range(rows.shape[0]):
        for column in range(rows.shape[1]):
            total[column] += np.float64(rows[row, column])
