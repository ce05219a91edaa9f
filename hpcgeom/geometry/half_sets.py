"""Error bars of common neighbors from random halves of the points, each with its own neighbors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.half_samples import MAX_SHORT_SHARE
from hpcgeom.geometry.lists import NO_NEIGHBOR, check_ks, check_stacks
from hpcgeom.geometry.sets import Floats, common_bins, set_sums
from hpcgeom.types import Indices

Counts = npt.NDArray[np.int64]


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
    shape = (len(numbers), len(indices), len(right))
    if n_points < 4:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    generator = np.random.Generator(np.random.PCG64(seed))
    squares = np.zeros((2, *shape))
    n_short = [np.zeros((len(numbers), len(lists)), dtype=np.int64) for lists in (indices, right)]
    for _ in range(n_splits):
        side = generator.permutation(n_points) % 2
        means = []
        for half in (0, 1):
            members = side == half
            left = _inside(indices, members, numbers, n_short[0])
            others = None if other is None else _inside(right, members, numbers, n_short[1])
            sums = set_sums(common_bins(left, numbers, others))
            means.append(np.stack(sums) / np.count_nonzero(members))
        squares += (means[0] - means[1]) ** 2
    too_short = [counts > MAX_SHORT_SHARE * n_splits * n_points for counts in n_short]
    errors = np.sqrt(squares / n_splits) / 2.0
    unknown = too_short[0][:, :, None] | too_short[0 if other is None else 1][:, None, :]
    errors[:, unknown] = np.nan
    errors[0] /= np.array(numbers, dtype=np.float64)[:, None, None]
    return errors[0], errors[1]


def _inside(
    lists: Indices, members: npt.NDArray[np.bool_], ks: Sequence[int], n_short: Counts
) -> npt.NDArray[np.int64]:
    """Shape (L, members, max(ks)): the members' nearest neighbors among the members, -1 after the last.

    Lists with fewer than k of them are added to `n_short`, shape (len(ks), L).
    """
    depth = max(ks)
    rows = np.flatnonzero(members)
    known = np.append(members, False)  # the last is that of no neighbor, -1
    found = np.full((len(lists), rows.size, depth), NO_NEIGHBOR, dtype=np.int64)
    for layer in range(len(lists)):
        own = lists[layer][rows]
        inside = known[own]
        place = np.cumsum(inside, axis=1) - 1
        row, column = np.nonzero(inside & (place < depth))
        found[layer, row, place[row, column]] = own[row, column]
        n_found = place[:, -1] + 1
        n_short[:, layer] += [np.count_nonzero(n_found < k) for k in ks]
    return found
