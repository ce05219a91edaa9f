"""Memory of arrays that are gone is handed out again, that of arrays in use never."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from hpcgeom.models import ReusedMemory
from hpcgeom.models.reused_memory import MIN_BYTES

LARGE = (3, MIN_BYTES // 4)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_what_one_array_leaves_the_next_one_gets():
    memory = ReusedMemory()
    first = memory.empty(LARGE)
    assert (first.shape, first.dtype) == (LARGE, np.float32)
    assert first.flags.c_contiguous
    assert first.flags.writeable
    place = address(first)
    del first
    smaller = memory.empty((2, LARGE[1]))
    assert (address(smaller), smaller.shape) == (place, (2, LARGE[1]))


def test_views_tensors_and_other_threads_keep_their_memory():
    memory = ReusedMemory()
    row = memory.empty(LARGE)[1]
    tensor = torch.from_numpy(memory.empty(LARGE))[1:].reshape(-1)
    back = torch.from_numpy(memory.empty(LARGE))[0].numpy()
    row[:], tensor[:], back[:] = 1, 2, 3
    with ThreadPoolExecutor(1) as thread:
        for _ in range(3):
            other = memory.empty(LARGE)
            thread.submit(other.fill, 7).result()
            del other
    assert (row == 1).all()
    assert bool((tensor == 2).all())
    assert (back == 3).all()


def test_free_memory_that_does_not_suit_goes_before_more_is_asked_for():
    memory = ReusedMemory()
    memory.empty(LARGE)
    assert [len(block) for block in memory._free] == [3 * MIN_BYTES]
    memory.empty((1, LARGE[1]))  # less than half of what is free
    assert [len(block) for block in memory._free] == [MIN_BYTES]
    memory.empty(LARGE)
    assert [len(block) for block in memory._free] == [3 * MIN_BYTES]


def test_small_arrays_are_those_of_numpy():
    memory = ReusedMemory()
    assert memory.empty((2, 3)).base is None
    assert memory.empty((0, 3)).shape == (0, 3)
    assert memory._free == []
