"""Which blocks each of several processes has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hpcgeom.errors import InputError


def cut(costs: Sequence[float], n_parts: int, at_end: float = 0.0) -> list[range]:
    """Contiguous runs of blocks, one for each process, of costs as equal as can be.

    Parameters
    ----------
    costs
        Of each block, in order; positive.
    n_parts
        How many processes there are.
    at_end
        What the last process has to do beside its blocks.

    Returns
    -------
    list of range
        At least one block each. Of all such cuts the sum of squared costs is the smallest; among equal ones
        earlier processes have more.

    Raises
    ------
    InputError
        There are more processes than blocks.
    """
    n_blocks = len(costs)
    if not 1 <= n_parts <= n_blocks:
        raise InputError(
            f"{n_parts} processes cannot share {n_blocks} blocks of a model, at least one each: "
            f"use 1 to {n_blocks} processes"
        )
    edges = [0.0, *accumulate(costs)]
    # best[first]: the least sum of squares of the blocks from `first` on, in as many parts as were looked at
    best = [(edges[-1] - edges[first] + at_end) ** 2 for first in range(n_blocks)]
    ends: list[list[int]] = []
    for n_behind in range(1, n_parts):
        found, end_of = [float("inf")] * n_blocks, [0] * n_blocks
        for first in range(n_blocks - n_behind):
            for end in range(n_blocks - n_behind, first, -1):
                cost = (edges[end] - edges[first]) ** 2 + best[end]
                if cost < found[first]:
                    found[first], end_of[first] = cost, end
        best = found
        ends.append(end_of)
    starts = [0]
    for end_of in reversed(ends):
        starts.append(end_of[starts[-1]])
    return [range(first, end) for first, end in zip(starts, [*starts[1:], n_blocks], strict=True)]
