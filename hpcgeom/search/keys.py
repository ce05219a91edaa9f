"""A candidate as one integer: a score and a row number."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

INDEX_BITS = 2**31 - 1
"""Of a candidate's key, those of the row number; the bits of the float32 score are above them."""


@njit(nogil=True, cache=True)
def key_of(score: float, index: int) -> int:
    """A candidate as one integer: keys of scores that are not negative are ordered as (score, index)."""
    key: Any = (np.int64(np.float32(score).view(np.int32)) << 32) | np.int64(index)
    return key  # type: ignore[no-any-return]


def keys_of(scores: npt.NDArray[np.float32], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`key_of` for arrays of one shape."""
    keys: npt.NDArray[np.int64] = (scores.view(np.int32).astype(np.int64) << 32) | indices
    return keys


@njit(nogil=True, cache=True)
def score_of(key: int) -> float:
    """The score of a candidate."""
    return np.float64(np.int32(key >> 32).view(np.float32))
