"""What all estimators of intrinsic dimension share: lists that were checked, and ratios of distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry import distance_scan
from hpcgeom.types import Distances, Estimate, Status

MIN_POINTS = 10
"""Fewer points than this are not measured; DADApy's ``n_min``, where a dimension is known to 30 % at best."""

Floats = npt.NDArray[np.float64]

_FAULTS = {
    distance_scan.GAP: "a number after NaN; NaN stands only at the end of a list, where there is no neighbor",
    distance_scan.NEGATIVE: "a negative value; -1 is no distance, write NaN where there is no neighbor",
    distance_scan.INFINITE: "an infinite value; write NaN where there is no neighbor",
    distance_scan.SENTINEL: "faiss's mark for no neighbor; write NaN there and look for NaN among the points",
    distance_scan.UNSORTED: "a value below the one before it; sort each row in ascending order",
}


@dataclass(frozen=True, slots=True)
class NeighborLists:
    """Distances that passed `read_lists`.

    Attributes
    ----------
    distances
        Shape (N, K).
    rows
        Shape (M,), int64: the rows that can be measured, whose nearest neighbor lies at a positive distance.
    length
        Neighbors in each list (all lists have the same number); 0 where no row has a list.
    constant
        Two rows or more, and no positive distance among them.
    n_zero_distances
        Rows left out because their nearest neighbor lies at distance zero.
    """

    distances: Distances
    rows: npt.NDArray[np.int64]
    length: int
    constant: bool
    n_zero_distances: int

    def status(self, n2: int) -> Status:
        """Whether ratios with the neighbor of rank `n2` can be measured, and if not, why.

        ``CONSTANT`` if no distance is positive; fewer than `MIN_POINTS` rows to measure are ``DUPLICATES`` if
        there would be enough without those left out, else ``TOO_FEW_POINTS``; ``TOO_FEW_NEIGHBORS`` if the
        lists end before `n2`.
        """
        if self.constant:
            return Status.CONSTANT
        if self.rows.size < MIN_POINTS:
            too_few = len(self.distances) < MIN_POINTS or self.distances.shape[1] == 0
            return Status.TOO_FEW_POINTS if too_few else Status.DUPLICATES
        return Status.OK if self.length >= n2 else Status.TOO_FEW_NEIGHBORS

    def log_ratios(self, n1: int, n2: int) -> Floats:
        """log(r_n2 / r_n1) of the measured rows, shape (M,), ranks counted from 1."""
        return log_ratio(self.distances[self.rows, n1 - 1], self.distances[self.rows, n2 - 1])

    def undefined(self, status: Status) -> Estimate:
        """The estimate that says why there is none."""
        return Estimate(np.nan, np.nan, self.rows.size, status, self.n_zero_distances)


def read_lists(distances: Distances) -> NeighborLists:
    """Check neighbor distances, and find the rows that can be measured.

    Parameters
    ----------
    distances
        Shape (N, K), float64, Euclidean (not squared), self excluded, ascending along K. Rows that are wholly
        NaN are left out (second copies of a point in lists over distinct points). Lists may end in NaN, all
        at the same rank, where there are fewer than K other points.

    Raises
    ------
    InputError
        Not a 2-D float64 array, or a row holds a negative, infinite, unsorted or sentinel value, a number
        after NaN, or a shorter list than other rows.
    """
    if not isinstance(distances, np.ndarray) or distances.ndim != 2:
        shape = getattr(distances, "shape", type(distances).__name__)
        raise InputError(
            f"distances: expected a 2-D array (points, neighbors), found {shape}; "
            f"pass the distances that nearest_neighbors returns"
        )
    if distances.dtype != np.float64:
        raise InputError(
            f"distances: expected float64, found {distances.dtype}; compute them in float64, because "
            f"rounding of near neighbors biases the ratios"
        )
    scan = distance_scan.scan_distances(distances, distance_scan.FAISS_SENTINELS)
    fault, row, column, n_listed, shortest, longest, shortest_row, all_zero = scan
    if fault != distance_scan.NO_FAULT:
        raise InputError(
            f"distances: row {row}, column {column} is {distances[row, column]:.6g}: {_FAULTS[fault]}"
        )
    if n_listed and shortest != longest:
        raise InputError(
            f"distances: row {shortest_row} has NaN after {shortest} neighbors, "
            f"but other rows have {longest}; search its neighbors again, "
            f"or fill its whole row with NaN to leave it out"
        )
    n_rows, n_columns = distances.shape
    first = distances[:, 0] if n_columns else np.full(n_rows, np.nan)
    return NeighborLists(
        distances=distances,
        rows=np.flatnonzero(first > 0.0),
        length=longest,
        constant=bool(all_zero) and n_rows > 1 and n_columns > 0,
        n_zero_distances=int(np.count_nonzero(first == 0.0)),
    )


def log_ratio(nearer: Floats, farther: Floats) -> Floats:
    """log(farther / nearer) to full relative precision, also where the two are nearly equal."""
    with np.errstate(over="ignore"):
        result = np.log1p((farther - nearer) / nearer)
    overflown = np.isinf(result)
    if overflown.any():
        result[overflown] = np.log(farther[overflown]) - np.log(nearer[overflown])
    return result
