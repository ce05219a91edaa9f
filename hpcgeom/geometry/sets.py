"""Neighborhoods as sets: mutual neighbors and the Jaccard index, with chance levels and jackknife errors.

With A, B the first k neighbors of a point in two representations and c = |A n B|:

- mutual k-NN, mean of c / k (Huh, Cheung, Wang and Isola, "The Platonic representation hypothesis", ICML
  2024): the formula of `hpcgeom.geometry.overlap`. What differs is the search: theirs is by cosine over a
  sample of the data, so that equal numbers need lists by cosine over the same samples.
- Jaccard, mean of |A n B| / |A u B| = c / (2k - c).

Both follow from how many points have c = 0, 1, ..., k, which are integers that add up over blocks of points.
An entry of -1 is no neighbor and matches none; k stays the size of a set, as for the overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom

from hpcgeom.errors import InputError
from hpcgeom.geometry import kernels
from hpcgeom.geometry.lanes import passes
from hpcgeom.geometry.lists import check_ks, check_stacks
from hpcgeom.types import Indices

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NeighborSets:
    """Mutual neighbors and Jaccard indices of every layer with every layer, at every k.

    Attributes
    ----------
    mutual_knn, jaccard
        Shape (len(ks), L, M), float64; NaN without points.
    mutual_knn_error, jaccard_error
        Their errors by `jackknife_error`; NaN with fewer than two blocks.
    mutual_knn_chance, jaccard_chance
        Shape (len(ks),), float64: what independent lists have in common, `chance_levels`.
    n_points
        Points that were compared.
    """

    mutual_knn: Floats
    mutual_knn_error: Floats
    jaccard: Floats
    jaccard_error: Floats
    mutual_knn_chance: Floats
    jaccard_chance: Floats
    n_points: int


def neighbor_sets(
    indices: Indices, ks: Sequence[int], other: Indices | None = None, n_blocks: int = 20
) -> NeighborSets:
    """Mutual k-NN and Jaccard index of every layer with every layer, at all `ks` from one pass.

    Parameters
    ----------
    indices
        Shape (L, N, K), integers: the lists of each layer over all N points, self excluded, nearest first.
    ks
        Numbers of neighbors, each in 1..K, in any order.
    other
        Shape (M, N, K'): the layers of another model over the same points; `indices` itself if None.
    n_blocks
        Blocks of consecutive points for the jackknife, as equal as can be; at most N are made.

    Returns
    -------
    NeighborSets

    Raises
    ------
    InputError
        Not integers of three axes, other numbers of points, a k outside 1..K, or `n_blocks` below 1.
    """
    if n_blocks < 1:
        raise InputError(f"n_blocks: expected 1 or more, found {n_blocks}; 20 is usual")
    check_stacks(indices, other)
    n_points = indices.shape[1]
    edges = np.linspace(0, n_points, min(n_blocks, max(n_points, 1)) + 1).astype(np.int64)
    sums = []
    for start, stop in pairwise(edges.tolist()):
        right = None if other is None else other[:, start:stop]
        sums.append(set_sums(common_bins(indices[:, start:stop], ks, right)))
    shared, jaccard = (np.stack([block[i] for block in sums]) for i in range(2))
    mutual_knn_chance, jaccard_chance = chance_levels(n_points, ks)
    k = np.array(ks, dtype=np.float64)[:, None, None]
    sizes = np.diff(edges)
    return NeighborSets(
        mutual_knn=shared.sum(axis=0) / (k * n_points) if n_points else np.full(shared.shape[1:], np.nan),
        mutual_knn_error=jackknife_error(shared / k, sizes),
        jaccard=jaccard.sum(axis=0) / n_points if n_points else np.full(jaccard.shape[1:], np.nan),
        jaccard_error=jackknife_error(jaccard, sizes),
        mutual_knn_chance=mutual_knn_chance,
        jaccard_chance=jaccard_chance,
        n_points=n_points,
    )


def common_bins(indices: Indices, ks: Sequence[int], other: Indices | None = None) -> tuple[Counts, ...]:
    """How many points have 0, 1, ..., k common neighbors, for every pair of layers: exact, blocks add up.

    Parameters
    ----------
    indices, ks, other
        As for `neighbor_sets`; N may be any block of the points, the same in both.

    Returns
    -------
    tuple of ndarray
        One for each k, shape (L, M, k + 1), int64: entry c is the number of points with c common neighbors.

    Raises
    ------
    InputError
        As for `neighbor_sets`.
    """
    check_stacks(indices, other)
    same = other is None or other is indices
    left = np.ascontiguousarray(indices)  # one layout: the loops are compiled once
    right = left if other is None else np.ascontiguousarray(other)
    numbers = check_ks(ks, min(indices.shape[2], right.shape[2]))
    first_bins = np.cumsum([0, *(k + 1 for k in numbers)])
    # half the size of int64: the bins of all pairs stay nearer to the processor
    bins = np.zeros((indices.shape[0], right.shape[0], first_bins[-1]), np.uint32)
    for part in passes(numbers):
        kernels.add_common_bins(
            left, right, same, part.words, part.lane_bits, first_bins[:-1][part.which], bins
        )
    if same:
        lower, upper = np.tril_indices(len(bins), -1)
        bins[lower, upper] = bins[upper, lower]
    edges = pairwise(first_bins.tolist())
    return tuple(bins[:, :, start:stop].astype(np.int64) for start, stop in edges)


def set_sums(bins: Sequence[Counts]) -> tuple[Floats, Floats]:
    """Sums over points of c and of c / (2k - c).

    Parameters
    ----------
    bins
        What `common_bins` returned, or sums of it over blocks.

    Returns
    -------
    shared, jaccard
        Shape (len(ks), L, M), float64; the first is of whole numbers.
    """
    shared, jaccard = [], []
    for of_k in bins:
        k = of_k.shape[-1] - 1
        c = np.arange(k + 1)
        shared.append((of_k * c).sum(axis=-1))
        jaccard.append((of_k * (c / (2 * k - c))).sum(axis=-1))
    return np.array(shared, dtype=np.float64), np.array(jaccard, dtype=np.float64)


def set_squares(bins: Sequence[Counts]) -> tuple[Counts, Floats]:
    """Sums over points of c^2 and of (c / (2k - c))^2.

    Parameters
    ----------
    bins
        As for `set_sums`.

    Returns
    -------
    shared, jaccard
        Shape (len(ks), L, M): int64, and float64.
    """
    shared, jaccard = [], []
    for of_k in bins:
        k = of_k.shape[-1] - 1
        c = np.arange(k + 1)
        shared.append((of_k * c**2).sum(axis=-1))
        jaccard.append((of_k * (c / (2 * k - c)) ** 2).sum(axis=-1))
    return np.array(shared), np.array(jaccard, dtype=np.float64)


def jaccard_from_sums(sums: Floats, squares: Floats, n_points: int) -> tuple[Floats, Floats]:
    """Jaccard indices and their standard deviation over points / sqrt(N).

    Parameters
    ----------
    sums, squares
        Shape (len(ks), L, M): sums over all points of the index and of its square.
    n_points
        N.

    Returns
    -------
    value, error
        Shape (len(ks), L, M), float64; NaN if N is 0.
    """
    if n_points == 0:
        return np.full(sums.shape, np.nan), np.full(sums.shape, np.nan)
    value = sums / n_points
    variance = np.maximum(squares / n_points - value**2, 0.0)
    return value, np.sqrt(variance / n_points)


def chance_levels(n_points: int, ks: Sequence[int]) -> tuple[Floats, Floats]:
    """Mutual k-NN and Jaccard index that independent lists have: k / (N - 1), and the mean of c / (2k - c).

    Parameters
    ----------
    n_points
        N, the points among which the neighbors were searched.
    ks
        Numbers of neighbors.

    Returns
    -------
    mutual_knn, jaccard
        Shape (len(ks),), float64. c of two independent draws of k among N - 1 points is hypergeometric. NaN
        where there are no k other points.
    """
    mutual_knn, jaccard = np.full((2, len(ks)), np.nan)
    for i, k in enumerate(ks):
        if k <= n_points - 1:
            c = np.arange(k + 1)
            mutual_knn[i] = k / (n_points - 1)
            jaccard[i] = np.sum(hypergeom(n_points - 1, k, k).pmf(c) * c / (2 * k - c))
    return mutual_knn, jaccard


def jackknife_error(sums: Floats, sizes: npt.NDArray[np.integer]) -> Floats:
    """Standard error of a mean over points by leaving out one block of points at a time.

    sqrt(sum_j n_j / (N - n_j) (m_j - m)^2 / g), with m_j the mean of block j of n_j points among g blocks,
    and m the mean over all: the jackknife for blocks of unequal size (Busing, Meijer and van der Leeden,
    Statistics and Computing 9, 3, 1999) where the estimate is a mean.

    It assumes that blocks are independent and alike. Points that share neighbors have correlated terms, which
    are counted inside a block only: in a random order the error is too small, the more the larger k. In an
    order where near points stand together the blocks also differ in their means, and it may be too large. The
    neighbor lists are taken as they are, nothing is searched again. `half_sample_set_errors` counts
    correlated points, where the lists are long enough.

    Parameters
    ----------
    sums
        Shape (g, ...): the sum over the points of each block.
    sizes
        Shape (g,): points in each block, 1 or more.

    Returns
    -------
    ndarray
        Shape (...), float64; NaN with fewer than two blocks.

    Raises
    ------
    InputError
        As many sums as sizes are expected, and no block is empty.
    """
    if len(sums) != len(sizes) or (len(sizes) > 1 and np.min(sizes) < 1):
        raise InputError(
            f"jackknife: expected the sums and the sizes of the same blocks, none of them empty, found "
            f"{len(sums)} sums and the sizes {np.asarray(sizes).tolist()}; make fewer blocks"
        )
    if len(sizes) < 2:
        return np.full(sums.shape[1:], np.nan)
    n_points = np.sum(sizes)
    of_blocks = np.reshape(sizes, (-1, *(1,) * (sums.ndim - 1)))
    deviations = sums / of_blocks - sums.sum(axis=0) / n_points
    weights = of_blocks / (n_points - of_blocks)
    return np.asarray(np.sqrt(np.mean(weights * deviations**2, axis=0)))
