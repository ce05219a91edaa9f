"""Several k in one word: how the compiled loops count common neighbors at all k in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pass(NamedTuple):
    """One pass over the lists: the k that it counts, the bits of a lane, and the words of the ranks."""

    which: slice  # of the ks
    lane_bits: int
    words: npt.NDArray[np.int64]  # (max(ks),): for each rank one lane per k, equal to 1 where rank < k


def passes(ks: Sequence[int]) -> Iterator[Pass]:
    """As few passes as count all `ks`: lanes just wide enough for the longest list, in words of 64 bits."""
    lane_bits = next(bits for bits in (8, 16, 32) if max(ks) < 2**bits)
    per_pass = 64 // lane_bits
    for start in range(0, len(ks), per_pass):
        counted = ks[start : start + per_pass]
        below = np.arange(max(counted))[:, None] < np.array(counted)[None, :]
        lanes = np.left_shift(np.uint64(1), np.arange(len(counted), dtype=np.uint64) * np.uint64(lane_bits))
        words = (below * lanes).sum(axis=1, dtype=np.uint64).view(np.int64)
        yield Pass(slice(start, start + len(counted)), lane_bits, words)
