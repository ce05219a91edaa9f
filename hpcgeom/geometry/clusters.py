"""Clusters of points as peaks of their density, by DADApy where it is installed, and how clusterings agree.

Advanced density peaks: d'Errico, Facco, Laio and Rodriguez, "Automatic topography of high-dimensional data
sets by non-parametric density peak clustering", Information Sciences 560, 476, 2021. DADApy needs NumPy 1, so
that it has an environment of its own (``constraints-dadapy.txt``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry import dadapy_backend
from hpcgeom.geometry.lists import check_indices
from hpcgeom.geometry.ratios import MIN_POINTS, Floats, read_lists
from hpcgeom.geometry.twonn import twonn_mle
from hpcgeom.types import Distances, Estimate, Indices, Labels, Status

HALO = -1

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DensityPeaks:
    """Clusters around the peaks of the density.

    Attributes
    ----------
    assignment
        Shape (N,), int64: clusters from 0; -1 in the halo of a cluster, or where there is no clustering.
    centers
        Shape (clusters,), int64: the rows of the peaks.
    log_density, log_density_error
        Shape (N,), float64: by point-adaptive nearest neighbors (PAk), of a density over volumes of
        dimension d.
    intrinsic_dimension
        The d that the density was estimated with.
    n_at_limit
        Points whose neighborhood of constant density reaches the end of the lists: with longer lists it might
        be larger, and the clusters others.
    status
        ``CONSTANT`` if all points are equal, ``TOO_FEW_POINTS`` with fewer than 10 points,
        ``TOO_FEW_NEIGHBORS`` with fewer than 4 neighbors each; ``NO_SOLUTION`` where DADApy ends with an
        error (of some lists 0.3.4 cannot assign a point to a peak); that of `twonn_mle` where it was to give
        d and cannot.
    """

    assignment: Codes
    centers: Codes
    log_density: Floats
    log_density_error: Floats
    intrinsic_dimension: float
    n_at_limit: int
    status: Status


def density_peaks(
    distances: Distances,
    indices: Indices,
    intrinsic_dimension: float | None = None,
    z: float = 1.65,
    halo: bool = False,
) -> DensityPeaks:
    """Cluster points by their density: DADApy's ``compute_density_PAk`` and ``compute_clustering_ADP``.

    Parameters
    ----------
    distances, indices
        Shape (N, K), float64 and integers: neighbors of all points, self excluded, nearest first.
    intrinsic_dimension
        d of the density; `twonn_mle` of the same lists if None.
    z
        How many errors a peak must stand above the pass to a higher one. The larger, the fewer clusters.
    halo
        Leave out, as -1, points whose density is below that of the border of their cluster.

    Returns
    -------
    DensityPeaks

    Raises
    ------
    InputError
        DADApy cannot be imported; bad distances (see `read_lists`) or indices; a point that has no list or a
        copy at distance zero; a dimension or `z` that is not positive.
    """
    lists = read_lists(distances)
    _check_indices(distances, indices)
    for name, number in (("intrinsic_dimension", intrinsic_dimension), ("z", z)):
        if number is not None and not 0.0 < number < np.inf:
            raise InputError(f"{name}: expected a positive number, found {number}; pass None for the default")
    estimate = twonn_mle(distances) if intrinsic_dimension is None else Estimate(intrinsic_dimension, 0.0, 0)
    status = estimate.status
    if lists.constant or len(distances) < MIN_POINTS:
        status = lists.status(1)
    elif lists.length < 4:
        status = Status.TOO_FEW_NEIGHBORS
    if status is not Status.OK:
        return _nothing(len(distances), status)
    if lists.rows.size < len(distances):
        raise InputError(
            f"clusters: {lists.n_zero_distances} of {len(distances)} points have a copy at distance zero, "
            f"and {len(distances) - lists.rows.size - lists.n_zero_distances} have no list; a density needs "
            f"neighbors at positive distances: search again among distinct points alone"
        )
    return _cluster(
        dadapy_backend.load("clusters", "cluster the stored lists there"),
        distances[:, : lists.length],
        indices,
        estimate.value,
        z,
        halo,
    )


def adjusted_rand(labels_a: Labels, labels_b: Labels) -> Estimate:
    """Adjusted Rand index: how far two clusterings agree on which pairs of points belong together.

    (S - E) / ((S_a + S_b) / 2 - E), with S the pairs that are together in both, S_a and S_b those in each,
    and E = S_a S_b / (N (N - 1) / 2) what chance gives (Hubert and Arabie, Journal of Classification 2, 193,
    1985).

    Parameters
    ----------
    labels_a, labels_b
        Shape (N,), integers from 0, of the same points.

    Returns
    -------
    Estimate
        1 for equal clusterings whatever their numbers, about 0 for independent ones; may be negative. 1 where
        both have a single cluster, or both one for each point. No error is known; ``TOO_FEW_POINTS`` below 2.

    Raises
    ------
    InputError
        Not integers of one axis, other numbers of points, or a negative number.
    """
    for name, labels in (("labels_a", labels_a), ("labels_b", labels_b)):
        check_indices(name, labels, ("points",))
        if labels.size and labels.min() < 0:
            raise InputError(
                f"{name}: row {int(np.argmin(labels))} is {labels.min()}, expected clusters from 0 on; leave "
                f"points without a cluster, as those of a halo, out of both"
            )
    if len(labels_a) != len(labels_b):
        raise InputError(
            f"clusters: the clusterings are of {len(labels_a)} and of {len(labels_b)} points; "
            f"expected the same points in the same order in both, pass the rows they share"
        )
    n_points = len(labels_a)
    if n_points < 2:
        return Estimate(np.nan, np.nan, n_points, Status.TOO_FEW_POINTS)
    pairs = np.stack([labels_a.astype(np.int64), labels_b.astype(np.int64)], axis=1)
    both = _n_pairs(np.unique(pairs, axis=0, return_counts=True)[1])
    first, second = (_n_pairs(np.unique(labels, return_counts=True)[1]) for labels in (labels_a, labels_b))
    all_pairs = n_points * (n_points - 1) // 2
    # Python's integers, up to the division: no rounding and no overflow
    numerator = 2 * (both * all_pairs - first * second)
    denominator = (first + second) * all_pairs - 2 * first * second
    return Estimate(numerator / denominator if denominator else 1.0, np.nan, n_points)


def _n_pairs(sizes: npt.NDArray[np.intp]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes.tolist())


def _check_indices(distances: Distances, indices: Indices) -> None:
    check_indices("indices", indices, ("points", "neighbors"))
    if indices.shape != distances.shape:
        raise InputError(
            f"clusters: distances have shape {distances.shape} and indices {indices.shape}; "
            f"expected one shape, pass both arrays of one search"
        )
    wrong = ~np.isnan(distances) & ((indices < 0) | (indices >= len(indices)))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"indices: row {row}, column {column} is {indices[row, column]}, expected a row number in "
            f"0..{len(indices) - 1}; pass lists over the points that are clustered"
        )


def _nothing(n_points: int, status: Status) -> DensityPeaks:
    nan = np.full(n_points, np.nan)
    nobody = np.full(n_points, HALO, dtype=np.int64)
    return DensityPeaks(nobody, np.empty(0, np.int64), nan, nan.copy(), np.nan, 0, status)


def _cluster(
    dadapy: Any, distances: Distances, indices: Indices, dimension: float, z: float, halo: bool
) -> DensityPeaks:
    n_points, k = distances.shape
    own = np.arange(n_points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dadapy.Data(
            distances=(
                np.column_stack([np.zeros(n_points), distances]),  # its lists begin with the point itself
                np.column_stack([own, indices[:, :k].astype(np.int64)]),
            ),
            maxk=k,
        )
        data.set_id(dimension)
        data.compute_density_PAk()
        try:
            assignment, status = data.compute_clustering_ADP(Z=z, halo=halo), Status.OK
        except (AssertionError, ValueError):  # a density that is NaN; a point that is assigned to no peak
            assignment, status = np.full(n_points, HALO), Status.NO_SOLUTION
    centers = data.cluster_centers if status is Status.OK else ()
    return DensityPeaks(
        assignment=np.asarray(assignment, dtype=np.int64),
        centers=np.asarray(centers, dtype=np.int64),
        log_density=np.asarray(data.log_den, dtype=np.float64),
        log_density_error=np.asarray(data.log_den_err, dtype=np.float64),
        intrinsic_dimension=float(dimension),
        n_at_limit=int(np.count_nonzero(np.asarray(data.kstar) >= k - 1)),
        status=status,
    )
