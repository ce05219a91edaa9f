"""The K-th smallest of a few integers, by counting how many are below a pivot.

A count is a plain loop without branches, which compilers turn into vectors; about eight pivots are enough,
unless values are equal. To partition 128 keys takes ten times as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]


@njit(nogil=True, cache=True)
def kth_smallest(value_C: Array, count: int, k: int) -> Any:
    """The K-th smallest of the first `count` integers, for K from 1 to `count`."""
    smallest, largest = value_C[0], value_C[0]
    for c in range(count):
        smallest, largest = min(smallest, value_C[c]), max(largest, value_C[c])
    low, high = smallest, largest
    while low < high:
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # of the largest integers too
        n = 0
        for c in range(count):
            n += value_C[c] <= middle
        if n == k:
            found = smallest
            for c in range(count):
                found = max(found, value_C[c] if value_C[c] <= middle else smallest)
            return found
        if n < k:
            low = middle + 1
        else:
            high = middle
    return low
