"""What a search proved, and how often it had to look twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """Account of one search; the lists of all rows are exact whatever it says.

    Attributes
    ----------
    rows
        Rows of the representation, N.
    certified
        Distinct rows whose float32 proposals were proven to miss no neighbor.
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
        Of the float32 distances of the candidates that were measured exactly.
    """

    rows: int
    certified: int
    recomputed: int
    audited: int
    n_distinct: int
    n_duplicates: int
    zero_distances: int
    largest_relative_error: float


@dataclass(slots=True)
class Tally:
    """Counts that grow while tiles are searched; see `Certificate`."""

    certified: int = 0
    recomputed: int = 0
    audited: int = 0
    largest_relative_error: float = 0.0
