"""What a search proved, and how often it had to look twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpcgeom.search.points import Points


@dataclass(frozen=True, slots=True)
class Certificate:
    """Account of one search; the lists of all rows are exact whatever it says.

    Attributes
    ----------
    rows
        Rows of the representation, N.
    certified
        Distinct rows whose candidates were proven to miss no neighbor.
    recomputed
        Distinct rows that were searched again in float64; ``certified + recomputed == n_distinct``.
    audited
        Distinct rows that were also searched by brute force, with the same result.
    n_distinct
        Distinct rows.
    n_duplicates
        Rows that equal an earlier one; ``n_distinct + n_duplicates == rows``.
    zero_distances
        Rows whose nearest neighbor is at distance zero, because another row is equal.
    largest_relative_error
        Of the distances that the kernel's scores mean, over all candidates that were measured exactly.
    kernel
        Which kernel proposed; several where parts of a split search ran on different machines.
    """

    rows: int
    certified: int
    recomputed: int
    audited: int
    n_distinct: int
    n_duplicates: int
    zero_distances: int
    largest_relative_error: float
    kernel: str


@dataclass(slots=True)
class Tally:
    """Counts that grow while tiles are searched; see `Certificate`."""

    certified: int = 0
    recomputed: int = 0
    audited: int = 0
    largest_relative_error: float = 0.0
    kernels: set[str] = field(default_factory=set)

    def certificate(self, points: Points, start: int, stop: int) -> Certificate:
        """The account of the rows start to stop - 1 of these points."""
        groups = points.groups
        is_first_P = points.duplicate_of[start:stop] == np.arange(start, stop)
        n_distinct = int(is_first_P.sum())
        return Certificate(
            rows=stop - start,
            certified=self.certified,
            recomputed=self.recomputed,
            audited=self.audited,
            n_distinct=n_distinct,
            n_duplicates=stop - start - n_distinct,
            zero_distances=int((groups.n_equal(start, stop) > 0).sum()),
            largest_relative_error=self.largest_relative_error,
            kernel=", ".join(sorted(self.kernels or {points.kernel.name})),
        )
