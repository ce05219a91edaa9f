"""How the alignment of layers (CKA) is cut into units: pairs of ranges of rows, or of groups of layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise
from math import isqrt
from typing import NamedTuple

from hpcgeom.plan.points import Cohort

UNIT_WORK = 2**40
"""Multiplications of one unit, about: minutes of a core."""
MEMORY_BYTES = 2**30
"""Bound of what a unit holds besides the rows that it reads."""
MAX_BLOCKS = 64


class Cut(NamedTuple):
    """One alignment in parts.

    Attributes
    ----------
    route
        ``gram``: parts are ranges of rows, and pairs of them are over Gram matrices of all layers.
        ``features``: parts are ranges of layers, and pairs of them are over covariances from all rows.
    edges
        Where the parts begin, and where the last one ends.
    work
        Multiplications of all units together.
    """

    route: str
    edges: tuple[int, ...]
    work: float

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The ranges (start, stop)."""
        return list(pairwise(self.edges))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Numbers of the two parts of each unit."""
        return list(combinations_with_replacement(range(len(self.edges) - 1), 2))


def cut_of(cohort: Cohort) -> Cut:
    """The cheaper route that fits into the memory, in parts of about `UNIT_WORK` a pair."""
    widths = [item.width for _, item in cohort.members for _ in item.layers]
    n, total, n_layers = cohort.n_points, sum(widths), len(widths)
    by_rows = total + n_layers**2 / 2  # multiplications for each pair of rows
    gram = n**2 / 2 * by_rows
    features = n * (total**2 + sum(width**2 for width in widths)) / 2
    widest = isqrt(MEMORY_BYTES // (4 * 8))
    if gram <= features or max(widths) > widest:
        n_blocks = next((b for b in range(1, MAX_BLOCKS) if (n / b) ** 2 * by_rows <= UNIT_WORK), MAX_BLOCKS)
        n_blocks = min(n_blocks, max(n, 1))
        return Cut("gram", tuple(round(i * n / n_blocks) for i in range(n_blocks + 1)), gram)
    return Cut("features", _edges(widths, min(widest, isqrt(UNIT_WORK // n))), features)


def _edges(widths: Sequence[int], panel: int) -> tuple[int, ...]:
    """Ends of groups of consecutive layers, together at most `panel` wide, or one alone."""
    edges, used = [0], 0
    for layer, width in enumerate(widths):
        if used + width > panel and layer > edges[-1]:
            edges.append(layer)
            used = 0
        used += width
    return (*edges, len(widths))


def memory_bytes(cohort: Cohort) -> int:
    """Memory of one unit, with the rows that it reads."""
    cut, widest = cut_of(cohort), max(item.width for _, item in cohort.members)
    longest = max(b - a for a, b in cut.parts) if cut.route == "gram" else cohort.n_points
    rows = min(longest, 4096)
    n_layers = sum(len(item.layers) for _, item in cohort.members)
    held = 8 * (n_layers * rows**2 + 6 * rows * widest) if cut.route == "gram" else MEMORY_BYTES
    return min(held, MEMORY_BYTES) + 3 * rows * widest * 8 + 6 * 8 * n_layers**2
