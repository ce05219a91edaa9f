"""Neighborhood overlap: how many neighbors two representations of the same points have in common.

chi^{l,m} = mean over points i of |N_k^l(i) n N_k^m(i)| / k (Doimo, Glielmo, Ansuini and Laio, "Hierarchical
nucleation in deep neural networks", NeurIPS 2020). A list that holds no neighbor twice is a set; entries of
-1 are no neighbors and never match, so lists shorter than k lower the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry import kernels
from hpcgeom.geometry.lanes import passes
from hpcgeom.geometry.lists import check_indices, check_ks, check_stacks
from hpcgeom.types import Estimate, Indices, Status

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def overlap(indices_a: Indices, indices_b: Indices, k: int) -> Estimate:
    """Mean share of common neighbors among the first `k` of each point.

    Parameters
    ----------
    indices_a, indices_b
        Shapes (N, K >= k), (N, K' >= k), integers: neighbors of the same points in two representations, self
        excluded, nearest first; -1 where there is none.
    k
        Neighbors per point.

    Returns
    -------
    Estimate
        `error` is the standard deviation over points / sqrt(N). ``TOO_FEW_POINTS`` if N is 0.

    Raises
    ------
    InputError
        Not integers of two axes, other numbers of points, or `k` outside 1..K.
    """
    check_indices("indices_a", indices_a, ("points", "neighbors"))
    check_indices("indices_b", indices_b, ("points", "neighbors"))
    check_ks([k], min(indices_a.shape[1], indices_b.shape[1]), "k")
    n_points = len(indices_a)
    counts, squares = overlap_counts(indices_a[None], indices_b[None], [k])
    value, error = overlap_from_counts(counts, squares, n_points, [k])
    status = Status.OK if n_points else Status.TOO_FEW_POINTS
    return Estimate(float(value[0, 0, 0]), float(error[0, 0, 0]), n_points, status)


def overlap_matrix(indices: Indices, ks: Sequence[int], other: Indices | None = None) -> Floats:
    """Overlap of every layer with every layer, at all `ks` from one pass over the lists.

    Parameters
    ----------
    indices
        Shape (L, N, K), integers: the lists of each layer, as for `overlap`.
    ks
        Numbers of neighbors, each in 1..K, in any order.
    other
        Shape (M, N, K'): the layers of another model over the same points; `indices` itself if None.

    Returns
    -------
    ndarray
        Shape (len(ks), L, M), float64; NaN if N is 0.

    Raises
    ------
    InputError
        Not integers of three axes, other numbers of points, or a k outside 1..K.
    """
    counts, squares = overlap_counts(indices, other, ks)
    return overlap_from_counts(counts, squares, indices.shape[1], ks)[0]


def overlap_counts(indices: Indices, other: Indices | None, ks: Sequence[int]) -> tuple[Counts, Counts]:
    """Common neighbors summed over points, and the sums of their squares: exact, so that blocks add up.

    Parameters
    ----------
    indices, other, ks
        As for `overlap_matrix`; N may be any block of the points, the same in both.

    Returns
    -------
    counts, squares
        Shape (len(ks), L, M), int64: sums over points of c = |A n B| and of c^2.

    Raises
    ------
    InputError
        As for `overlap_matrix`.
    """
    right, same = check_stacks(indices, other), other is None or other is indices
    numbers = check_ks(ks, min(indices.shape[2], right.shape[2]))
    shape = (len(numbers), indices.shape[0], right.shape[0])
    counts, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    # `sets.common_bins` would give these sums too, in 1.2 to 1.5 times the time.
    for part in passes(numbers):
        sums = np.zeros((2, *shape[1:], len(numbers[part.which])), np.int64)
        kernels.add_common_counts(indices, right, same, part.words, part.lane_bits, *sums)
        counts[part.which], squares[part.which] = np.moveaxis(sums, -1, 1)
    if same:
        counts, squares = _mirrored(counts), _mirrored(squares)
    return counts, squares


def overlap_from_counts(
    counts: Counts, squares: Counts, n_points: int, ks: Sequence[int]
) -> tuple[Floats, Floats]:
    """Overlaps and their errors from sums over all points.

    Parameters
    ----------
    counts, squares
        Shape (len(ks), ...), int64: what `overlap_counts` returned, added up over blocks.
    n_points
        Points in all blocks together.
    ks
        The k of each entry of the first axis.

    Returns
    -------
    value, error
        Shape (len(ks), ...), float64: the mean of c / k, and its standard deviation over points /
        sqrt(n_points). NaN if `n_points` is 0.
    """
    if n_points == 0:
        return np.full(counts.shape, np.nan), np.full(counts.shape, np.nan)
    k = np.array(ks, dtype=np.float64).reshape(-1, *(1,) * (counts.ndim - 1))
    whole, rest = np.divmod(counts, n_points)
    # sum of squared deviations without cancellation: integers up to the last term
    spread = (squares - whole * whole * n_points - 2 * whole * rest) - rest * (rest / n_points)
    deviation = np.sqrt(np.maximum(spread, 0.0) / n_points)
    return counts / (n_points * k), deviation / (np.sqrt(n_points) * k)


def _mirrored(upper: Counts) -> Counts:
    lower = np.tril(np.swapaxes(upper, 1, 2), -1)
    return np.asarray(np.triu(upper) + lower, dtype=np.int64)
