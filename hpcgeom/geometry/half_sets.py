"""Error bars of common neighbors from random halves of the points, each with its own neighbors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.half_samples import MAX_SHORT_SHARE
from hpcgeom.geometry.lanes import passes
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_ks, check_stacks
from hpcgeom.geometry.sets import Floats, common_bins, set_sums
from hpcgeom.types import Indices

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HalfSums:
    """Sums over a block of points, whose neighbors are those in their own half; they add up over blocks.

    Attributes
    ----------
    shared, jaccard
        Shape (2, len(ks), L, M), float64: sums over the points of either half of c and of c / (2k - c).
    n_short, n_short_other
        Shapes (len(ks), L), (len(ks), M), int64: lists that end before the k-th neighbor in the half.
    """

    shared: Floats
    jaccard: Floats
    n_short: Counts
    n_short_other: Counts

    def __add__(self, other: HalfSums) -> HalfSums:
        return HalfSums(
            self.shared + other.shared,
            self.jaccard + other.jaccard,
            self.n_short + other.n_short,
            self.n_short_other + other.n_short_other,
        )


def half_sample_set_errors(
    indices: Indices, ks: Sequence[int], other: Indices | None = None, n_splits: int = 32, seed: int = 0
) -> tuple[Floats, Floats]:
    """Standard errors of mutual k-NN and Jaccard index, by random splits into two halves.

    sqrt(mean over splits of (a - b)^2) / 2, with the numbers a, b of the two halves: halves of independent
    points are independent clouds, each with the correlations of points that share neighbors as the whole has.
    a - b has twice the variance of a number from N / 2 points; this is taken to be twice that from N points
    with the same k, which is so where the overlap hardly depends on the scale. Measured coverage:
    ``docs/estimators.md``.

    Parameters
    ----------
    indices, ks, other
        As for `neighbor_sets`: lists over all N points. K must be well above 2 k, because half of the
        neighbors are in the other half: about 2 k + 4 sqrt(k) or more.
    n_splits
        Random splits; 32 leave about a tenth of uncertainty in the error. Each takes as long as
        `neighbor_sets`.
    seed
        Of the PCG64 generator that draws the halves.

    Returns
    -------
    mutual_knn_error, jaccard_error
        Shape (len(ks), L, M), float64; NaN where more than `MAX_SHORT_SHARE` of the lists of either layer end
        too soon in the halves, and with fewer than 4 points.

    Raises
    ------
    InputError
        As for `neighbor_sets`, or a neighbor that is no row, or `n_splits` below 1.
    """
    if n_splits < 1:
        raise InputError(f"n_splits: expected 1 or more, found {n_splits}; 32 is usual")
    right = check_stacks(indices, other)
    numbers = check_ks(ks, min(indices.shape[2], right.shape[2]))
    n_points = indices.shape[1]
    for name, lists in (("indices", indices), ("other", right)):
        if lists.size and not NO_NEIGHBOR <= int(lists.min()) <= int(lists.max()) < n_points:
            raise InputError(
                f"{name}: expected row numbers in 0..{n_points - 1}, or -1, found {lists.min()}.."
                f"{lists.max()}; pass lists over all points"
            )
    squares = np.zeros((2, len(numbers), len(indices), len(right)))
    n_short = [np.zeros((len(numbers), len(lists)), dtype=np.int64) for lists in (indices, right)]
    for side in halves(n_points, n_splits, seed):
        sums = half_sums(indices, side, numbers, other=other)
        squares += np.stack(squared_differences(sums, side, numbers))
        n_short[0] += sums.n_short
        n_short[1] += sums.n_short_other
    mutual_knn, jaccard = (half_sample_errors_of(each, n_short, n_splits, n_points) for each in squares)
    return mutual_knn, jaccard


def halves(n_points: int, n_splits: int, seed: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Random splits of all points into two halves: (n_points,), whether a point is in the second one.

    Parameters
    ----------
    n_points
        N; of an odd number the first half has one more.
    n_splits
        How many.
    seed
        Of the PCG64 generator. The first splits of a seed are the same however many are drawn.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    for _ in range(n_splits):
        yield generator.permutation(n_points) % 2 == 1


def half_sums(
    indices: Indices,
    side: npt.NDArray[np.bool_],
    ks: Sequence[int],
    start: int = 0,
    other: Indices | None = None,
) -> HalfSums:
    """Common neighbors of a block of points, each among the points of its own half.

    Parameters
    ----------
    indices
        Shape (L, R, K): lists over all points of rows start..start+R-1.
    side
        Shape (N,): the half of every point.
    ks
        Numbers of neighbors inside a half, each in 1..K.
    start
        Row of the first list.
    other
        Shape (M, R, K'): the layers of another model; `indices` itself if None.
    """
    sums = np.zeros((2, 2, len(ks), len(indices), len(indices if other is None else other)))
    n_short = [
        np.zeros((len(ks), len(lists)), np.int64) for lists in (indices, () if other is None else other)
    ]
    rows = np.arange(start, start + indices.shape[1])
    for half in (0, 1):
        members = side == bool(half)
        inside = rows[members[rows]]
        left = _inside(indices, inside, start, members, ks, n_short[0])
        right = None if other is None else _inside(other, inside, start, members, ks, n_short[1])
        for part in passes(ks):  # some ks at a time: bins of all would be large
            shared, jaccard = set_sums(common_bins(left, ks[part.which], right))
            sums[0, half, part.which], sums[1, half, part.which] = shared, jaccard
    return HalfSums(sums[0], sums[1], n_short[0], n_short[0] if other is None else n_short[1])


def squared_differences(
    sums: HalfSums, side: npt.NDArray[np.bool_], ks: Sequence[int]
) -> tuple[Floats, Floats]:
    """(a - b)^2 for the mutual k-NN and the Jaccard index of both halves of one split.

    Parameters
    ----------
    sums
        Over all points.
    side, ks
        As for `half_sums`.

    Returns
    -------
    mutual_knn, jaccard
        Shape (len(ks), L, M), float64; NaN with fewer than 4 points.
    """
    if side.size < 4:
        nothing = np.full(sums.shared.shape[1:], np.nan)
        return nothing, nothing.copy()
    sizes = np.array([side.size - np.count_nonzero(side), np.count_nonzero(side)])[:, None, None, None]
    k = np.array(ks, dtype=np.float64)[:, None, None]
    shared, jaccard = sums.shared / sizes, sums.jaccard / sizes
    return ((shared[0] - shared[1]) / k) ** 2, (jaccard[0] - jaccard[1]) ** 2


def half_sample_errors_of(squares: Floats, n_short: Sequence[Counts], n_splits: int, n_points: int) -> Floats:
    """Standard errors from what `squared_differences` gave, added up over splits.

    Parameters
    ----------
    squares
        Shape (len(ks), L, M).
    n_short
        Lists that ended too soon, added up over splits: (len(ks), L), (len(ks), M).
    n_splits, n_points
        Splits, and points of both halves.

    Returns
    -------
    ndarray
        sqrt(mean of squares) / 2; NaN where more than `MAX_SHORT_SHARE` of the lists of either layer end too
        soon.
    """
    rows, columns = (counts > MAX_SHORT_SHARE * n_splits * n_points for counts in n_short)
    errors = np.sqrt(squares / n_splits) / 2.0
    errors[rows[:, :, None] | columns[:, None, :]] = np.nan
    return np.asarray(errors)


def _inside(
    lists: Indices,
    rows: npt.NDArray[np.int64],
    start: int,
    members: npt.NDArray[np.bool_],
    ks: Sequence[int],
    n_short: Counts,
) -> npt.NDArray[np.integer]:
    """Shape (L, rows, max(ks)): the nearest neighbors of some rows among the members, -1 after the last.

    Lists with fewer than k of them are added to `n_short`, shape (len(ks), L).
    """
    depth = max(ks)
    known = np.append(members, False)  # the last is that of no neighbor, -1
    found = np.full((len(lists), rows.size, depth), NO_NEIGHBOR, dtype=lists.dtype)
    for layer in range(len(lists)):
        own = lists[layer][rows - start]
        inside = known[own]
        place = np.cumsum(inside, axis=1) - 1
        row, column = np.nonzero(inside & (place < depth))
        found[layer, row, place[row, column]] = own[row, column]
        n_found = place[:, -1] + 1
        n_short[:, layer] += [np.count_nonzero(n_found < k) for k in ks]
    return found
