"""The K-th smallest of a few integers, and all in order, by counting how many are smaller.

A count is a plain loop without branches, which compilers turn into vectors. For the K-th about eight pivots
are enough, unless values are equal; to partition 128 keys takes ten times as long. To sort 64 takes six times
as long as to count for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

MOST_COUNTED = 256
"""More values are sorted: counts for each of them grow with the square."""


@njit(nogil=True, cache=True)
def kth_smallest(value_C: Array, count: int, k: int, slack: int = 0) -> Any:
    """The K-th smallest of the first `count` integers, K from 1 to `count`, or one of the next `slack`."""
    smallest, largest = value_C[0], value_C[0]
    for c in range(count):
        smallest, largest = min(smallest, value_C[c]), max(largest, value_C[c])
    low, high = smallest, largest
    while low < high:
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # of the largest integers too
        n = 0
        for c in range(count):
            n += value_C[c] <= middle
        if k <= n <= k + slack:
            found = smallest
            for c in range(count):
                found = max(found, value_C[c] if value_C[c] <= middle else smallest)
            return found
        if n < k:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def put_in_order(value_C: Array, count: int, spare_C: Array) -> None:
    """Sort the first `count` integers; `spare_C`, of as many or more, is for use here."""
    if count > MOST_COUNTED:
        value_C[:count].sort()
        return
    spare_C[:count] = value_C[:count]
    total = 0
    for c in range(count):
        value, place = spare_C[c], 0
        for other in range(count):
            place += spare_C[other] < value
        value_C[place] = value
        total += place
    if total < count * (count - 1) // 2:  # equal ones had one place
        value_C[:count] = spare_C[:count]
        value_C[:count].sort()
