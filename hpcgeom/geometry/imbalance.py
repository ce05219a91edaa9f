"""Information imbalance: how well the nearest neighbor in one representation is predicted by another.

Delta(A -> B) = 2 / N <r_B | r_A = 1>, with r_B the rank in B, among the N - 1 others, of the point that is
nearest in A: 2 / N where B has the same nearest neighbors, 1 where B knows nothing of A (Glielmo, Zeni,
Cheng, Csanyi and Laio, "Ranking the information content of distance measures", PNAS Nexus 1, pgac039, 2022,
doi:10.1093/pnasnexus/pgac039).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from hpcgeom.errors import InputError
from hpcgeom.geometry import kernels
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_stacks
from hpcgeom.geometry.rows import Floats, ReadRows, read_block, row_blocks
from hpcgeom.types import Estimate, Indices, Points, Status

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ImbalanceMatrix:
    """Information imbalance of every layer to every layer, from the ranks of all points.

    Attributes
    ----------
    value, error
        Shape (L, L), float64: Delta(row -> column), and the standard deviation of 2 r / N over points /
        sqrt(N), which takes ranks of points for independent. NaN where undefined.
    n_points
        N.
    n_zero_distances
        Shape (L,), int64: points whose nearest neighbor lies at distance zero. Where they have several of
        them, the one of the smaller row is taken for the nearest.
    status
        Shape (L,), int8, values of `Status`: why a row and a column are NaN. ``CONSTANT`` if all points are
        equal, ``TOO_FEW_POINTS`` if there are fewer than k + 2.
    """

    value: Floats
    error: Floats
    n_points: int
    n_zero_distances: Counts
    status: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class ImbalanceBounds:
    """What neighbor lists know about the information imbalance of every layer to every layer.

    Attributes
    ----------
    low, high
        Shape (L, M), float64: the imbalance if every rank beyond the lists were the next one, and if it were
        N - 1; equal where no rank is. NaN where no point has a neighbor.
    n_censored
        Shape (L, M), int64: points whose nearest neighbor in A is not in the list of B.
    n_compared
        Shape (L,), int64: points with a neighbor in A; the mean is over them.
    """

    low: Floats
    high: Floats
    n_censored: Counts
    n_compared: Counts


@dataclass(frozen=True, slots=True)
class ImbalanceCounts:
    """Sums over a block of points, int64, that add up over blocks.

    Attributes
    ----------
    rank_sum
        Shape (L, M): known ranks, plus for each unknown one the rank after the last of its list.
    n_censored, n_listed
        Shape (L, M): unknown ranks, and the sum of the ranks after the last of their lists.
    n_compared
        Shape (L,): points with a neighbor in A.
    """

    rank_sum: Counts
    n_censored: Counts
    n_listed: Counts
    n_compared: Counts

    def __add__(self, other: ImbalanceCounts) -> ImbalanceCounts:
        return ImbalanceCounts(
            self.rank_sum + other.rank_sum,
            self.n_censored + other.n_censored,
            self.n_listed + other.n_listed,
            self.n_compared + other.n_compared,
        )


def information_imbalance(points_a: Points, points_b: Points, k: int = 1) -> Estimate:
    """Delta(A -> B) between two representations of the same points, by brute force.

    Parameters
    ----------
    points_a, points_b
        Shapes (N, D_A), (N, D_B), floating point.
    k
        Neighbors in A whose ranks in B are averaged.

    Returns
    -------
    Estimate
        Value and error of `imbalance_matrix`; `n_zero_distances` is that of A.

    Raises
    ------
    InputError
        As for `imbalance_matrix`, or other numbers of points.
    """
    if len(points_a) != len(points_b):
        raise InputError(
            f"imbalance: the representations have {len(points_a)} and {len(points_b)} points; "
            f"expected the same points in the same order in both, pass the rows they share"
        )
    both = (points_a, points_b)
    found = imbalance_matrix(lambda layer, start, stop: both[layer][start:stop], 2, len(points_a), k)
    return Estimate(
        value=float(found.value[0, 1]),
        error=float(found.error[0, 1]),
        n_points=found.n_points,
        status=Status(max(found.status)),
        n_zero_distances=int(found.n_zero_distances[0]),
    )


def imbalance_matrix(
    read_rows: ReadRows, n_layers: int, n_points: int, k: int = 1, memory_bytes: int = 2**30
) -> ImbalanceMatrix:
    """Delta of every layer to every layer from all ranks: N^2 distances per layer, for subsets of the points.

    Parameters
    ----------
    read_rows
        ``read_rows(layer, start, stop)`` gives rows start..stop-1 of one layer, floating point.
    n_layers, n_points
        Layers 0..n_layers-1, and rows in each.
    k
        Neighbors in A whose ranks in B are averaged: 2 / N <r_B | r_A <= k>, at least (k + 1) / N.
    memory_bytes
        Bound of the arrays held at once; one layer is always held whole. The sums are of integers: results do
        not depend on it.

    Returns
    -------
    ImbalanceMatrix
        Distances are Euclidean, in float64; of equal ones the smaller row is nearer, and self is left out by
        row.

    Raises
    ------
    InputError
        No layer, numbers that are not finite, blocks of another shape than asked for, or `k` below 1.
    """
    if n_layers < 1 or n_points < 0 or k < 1:
        raise InputError(
            f"imbalance: expected 1 layer or more, 0 points or more and k of 1 or more, found "
            f"{n_layers} layers, {n_points} points, k = {k}; pass what read_rows can read"
        )
    total = np.zeros((2, n_layers, n_layers), dtype=np.int64)
    n_zero = np.zeros(n_layers, dtype=np.int64)
    is_constant = np.ones(n_layers, dtype=bool)
    if n_points < k + 2:
        status = np.full(n_layers, Status.TOO_FEW_POINTS, dtype=np.int8)
        nothing = np.full((n_layers, n_layers), np.nan)
        return ImbalanceMatrix(nothing, nothing.copy(), n_points, n_zero, status)
    # ranks of all layers; distances, their order and the sort's own arrays of one layer
    block_rows = max(1, min(n_points, memory_bytes // (4 * n_points * (n_layers + 8))))
    for start, stop in row_blocks(n_points, block_rows):
        ranks = np.empty((n_layers, stop - start, n_points), dtype=np.int32)
        nearest = np.empty((n_layers, stop - start, k), dtype=np.int64)
        for layer in range(n_layers):
            points = read_block(read_rows, layer, 0, n_points)
            distances = cdist(points[start:stop], points)
            _rank(distances, start, ranks[layer], nearest[layer])
            is_constant[layer] &= not distances.max() > 0.0
            n_zero[layer] += np.count_nonzero(np.take_along_axis(distances, nearest[layer][:, :1], 1) == 0.0)
        for layer in range(n_layers):
            found = np.stack([np.take_along_axis(table, nearest[layer], 1) for table in ranks])
            of_points = found.sum(axis=2, dtype=np.int64)
            total[0, layer] += of_points.sum(axis=1)
            total[1, layer] += (of_points**2).sum(axis=1)
    return _from_sums(total[0], total[1], k, n_points, n_zero, is_constant)


def _rank(distances: Floats, start: int, ranks: npt.NDArray[np.int32], nearest: Counts) -> None:
    """Fill the ranks of all points, self 0, and the nearest points of a block that begins at row `start`."""
    rows = np.arange(len(distances))
    own = distances[rows, start + rows]
    distances[rows, start + rows] = -1.0
    order = np.argsort(distances, axis=1, kind="stable")
    distances[rows, start + rows] = own
    np.put_along_axis(ranks, order, np.arange(distances.shape[1], dtype=np.int32)[None, :], axis=1)
    nearest[:] = order[:, 1 : nearest.shape[1] + 1]


def _from_sums(
    sums: Counts, squares: Counts, k: int, n_points: int, n_zero: Counts, is_constant: npt.NDArray[np.bool_]
) -> ImbalanceMatrix:
    status = np.where(is_constant, Status.CONSTANT, Status.OK).astype(np.int8)
    value = 2.0 * sums / (k * n_points**2)
    variance = squares / n_points - (sums / n_points) ** 2
    error = 2.0 / (k * n_points) * np.sqrt(np.maximum(variance, 0.0) / n_points)
    for array in (value, error):
        array[is_constant, :] = np.nan
        array[:, is_constant] = np.nan
    return ImbalanceMatrix(value, error, n_points, n_zero, status)


def imbalance_counts(indices: Indices, n_points: int, other: Indices | None = None) -> ImbalanceCounts:
    """Ranks in B of A's nearest neighbors, as far as the lists know them: integers that add up over blocks.

    Parameters
    ----------
    indices
        Shape (L, R, K), integers: lists of a block of R points in each layer, self excluded, nearest first;
        -1 where there is no neighbor, at the end of a list.
    n_points
        N, the points among which the neighbors were searched.
    other
        Shape (M, R, K'): the layers of another model over the same points; `indices` itself if None.

    Returns
    -------
    ImbalanceCounts
        For `imbalance_bounds`. A point without a neighbor in A is not compared.

    Raises
    ------
    InputError
        Not integers of three axes, lists without ranks, other numbers of points, or a neighbor that is no row
        of `n_points`.
    """
    right = check_stacks(indices, other)
    for name, lists in (("indices", indices), ("other", right)):
        if lists.shape[2] < 1 or (
            lists.size and not NO_NEIGHBOR <= int(lists.min()) <= int(lists.max()) < n_points
        ):
            raise InputError(
                f"{name}: expected lists of 1 neighbor or more, each a row number in 0..{n_points - 1} or "
                f"-1, found shape {lists.shape}; pass the lists and the number of all points of one search"
            )
    pairs = np.zeros((3, indices.shape[0], right.shape[0]), dtype=np.int64)
    n_compared = np.zeros(indices.shape[0], dtype=np.int64)
    left, right = np.ascontiguousarray(indices), np.ascontiguousarray(right)
    kernels.add_ranks_of_nearest(left, right, pairs[0], pairs[1], pairs[2], n_compared)
    return ImbalanceCounts(pairs[0], pairs[1], pairs[2], n_compared)


def imbalance_bounds(counts: ImbalanceCounts, n_points: int) -> ImbalanceBounds:
    """Between which values the information imbalance lies, from the sums over all points.

    Parameters
    ----------
    counts
        Of all blocks together.
    n_points
        N, the points among which the neighbors were searched.

    Returns
    -------
    ImbalanceBounds
        Nothing is assumed of ranks beyond the lists. (DADApy draws them at random from the same range, which
        on average gives the mean of both bounds.)
    """
    last = counts.n_censored * (n_points - 1) - counts.n_listed  # what the unknown ranks may lie higher
    compared = np.where(counts.n_compared > 0, counts.n_compared, np.nan)[:, None] * n_points
    return ImbalanceBounds(
        low=2.0 * counts.rank_sum / compared,
        high=2.0 * (counts.rank_sum + last) / compared,
        n_censored=counts.n_censored,
        n_compared=counts.n_compared,
    )
