"""Linear centered kernel alignment (CKA) of all pairs of layers, in bounded memory.

Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited", ICML 2019: with
X, Y the features of the same N points minus their means, CKA = |X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F).

Everything follows from T(X, Y) = |X^T Y|_F^2 = <X X^T, Y Y^T> and the squared norms a_i, b_i of the centered
points. The unbiased estimator of HSIC (Song, Smola, Gretton, Bedo and Borgwardt, Journal of Machine Learning
Research 13, 1393, 2012) drops the diagonals of both Gram matrices K and L:

    [<K, L> + sum K sum L / ((N-1) (N-2)) - 2 / (N-2) sum_i (K 1)_i (L 1)_i] / (N (N-3)).

It is the same for centered features, whose Gram matrix has rows that sum to zero: K 1 = -a without diagonal,

    [T - N / (N-2) sum_i a_i b_i + sum a sum b / ((N-1) (N-2))] / (N (N-3)).

T has two routes. Over features it takes N D_X D_Y multiplications for a pair of layers; over Gram matrices
N^2 D / 2 for a layer, and N^2 / 2 more for a pair. Few points of many wide layers are cheaper by Gram
matrices: up to about as many points as all layers together have features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import combinations_with_replacement
from operator import add
from typing import Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.centered import survey
from hpcgeom.geometry.cka_sums import (
    BYTES,
    MIN_BLOCK_ROWS,
    CkaSums,
    feature_bytes,
    feature_sums,
    gram_bytes,
    gram_sums,
    groups_of,
    mirrored,
)
from hpcgeom.geometry.rows import Floats, ReadRows
from hpcgeom.types import Status

Route = Literal["auto", "gram", "features"]


@dataclass(frozen=True, slots=True)
class CkaMatrix:
    """Alignment of every layer with every layer.

    Attributes
    ----------
    value
        Shape (L, L), float64, symmetric, in [0, 1]: Kornblith's. It counts every point with itself, and is
        too large where points are not many more than features: independent layers come near 1.
    debiased
        Shape (L, L), float64, at most 1: with the unbiased estimator of HSIC; about 0, of either sign, for
        independent layers of any width.
    status, debiased_status
        Shape (L,), int8, values of `Status`: why the row and the column of a layer are NaN. ``CONSTANT`` if
        all its points are equal; ``TOO_FEW_POINTS`` below 2 points, and below 4 for the unbiased estimator;
        ``NO_SOLUTION`` if its unbiased HSIC with itself is zero to rounding, as for points that all have one
        distance.
    n_points
        N.
    route
        ``gram`` or ``features``: how the sums were taken.
    """

    value: Floats
    debiased: Floats
    status: npt.NDArray[np.int8]
    debiased_status: npt.NDArray[np.int8]
    n_points: int
    route: str


def cka_matrix(
    read_rows: ReadRows, n_layers: int, n_points: int, memory_bytes: int = 2**30, route: Route = "auto"
) -> CkaMatrix:
    """Linear CKA of all pairs of layers, biased and debiased, reading blocks of rows.

    Layers may have different widths, as those of two models have; all have the same points in the same order.

    Parameters
    ----------
    read_rows
        ``read_rows(layer, start, stop)`` gives rows start..stop-1 of one layer, floating point. Every row is
        read several times; all sums are in float64.
    n_layers, n_points
        Layers 0..n_layers-1, and rows in each.
    memory_bytes
        Bound of the arrays held at once, those of `read_rows` not counted. Results of other bounds, of the
        other route and of other numbers of threads agree to a relative 1e-10.
    route
        ``gram`` or ``features``; ``auto`` takes the one of fewer multiplications that fits in the memory.

    Returns
    -------
    CkaMatrix
        Invariant under rotations, translations and a scale of each layer. No error bar is known that holds
        for points of any distribution.

    Raises
    ------
    InputError
        No layer, numbers that are not finite, blocks of another shape than asked for, an unknown route, or
        too little memory for the routes allowed.
    """
    if n_layers < 1 or n_points < 0 or route not in ("auto", "gram", "features"):
        raise InputError(
            f"cka: expected 1 layer or more, 0 points or more, and the route auto, gram or features, found "
            f"{n_layers} layers, {n_points} points, {route!r}; pass what read_rows can read"
        )
    if n_points < 2:
        nothing = np.full((n_layers, n_layers), np.nan)
        status = np.full(n_layers, Status.TOO_FEW_POINTS, dtype=np.int8)
        return CkaMatrix(nothing, nothing.copy(), status, status.copy(), n_points, route)
    layers = [survey(read_rows, layer, n_points, memory_bytes) for layer in range(n_layers)]
    widths = [layer.width for layer in layers]
    taken = _choose(route, widths, n_points, memory_bytes)
    if taken == "gram":
        sums = gram_sums(layers, (0, n_points), (0, n_points), memory_bytes)
    else:
        panel = max(*widths, int(np.sqrt(memory_bytes / (4 * BYTES))))
        pairs = combinations_with_replacement(groups_of(widths, panel), 2)
        sums = reduce(add, (feature_sums(layers, *pair, n_points, memory_bytes) for pair in pairs))
    return cka_from_sums(sums, n_points, np.array([layer.is_constant for layer in layers]), taken)


def cka_from_sums(
    sums: CkaSums, n_points: int, is_constant: npt.NDArray[np.bool_], route: str = "auto"
) -> CkaMatrix:
    """Linear CKA of all pairs of layers from the sums over all points.

    Parameters
    ----------
    sums
        Over all pairs of rows, or of groups of layers.
    n_points
        N, at least 2.
    is_constant
        Shape (L,): layers whose points are all equal.
    route
        How the sums were taken.
    """
    products = mirrored(sums.products)
    status = np.where(is_constant, Status.CONSTANT, Status.OK).astype(np.int8)
    value = _normalized(products, status == Status.OK)
    debiased_status = status.copy()
    if n_points < 4:
        debiased_status[:] = Status.TOO_FEW_POINTS
        return CkaMatrix(value, np.full_like(value, np.nan), status, debiased_status, n_points, route)
    n = float(n_points)
    corrected = products - n / (n - 2) * mirrored(sums.diagonal_products)
    corrected += np.outer(sums.diagonal_sums, sums.diagonal_sums) / ((n - 1) * (n - 2))
    vanishes = np.diagonal(corrected) <= 1e-11 * np.diagonal(products)
    debiased_status[vanishes & (status == Status.OK)] = Status.NO_SOLUTION
    debiased = _normalized(corrected, debiased_status == Status.OK)
    return CkaMatrix(value, debiased, status, debiased_status, n_points, route)


def _normalized(products: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    itself = np.where(known, np.diagonal(products), np.nan)
    return np.asarray(products / np.sqrt(np.outer(itself, itself)))


def _choose(route: Route, widths: list[int], n_points: int, memory_bytes: int) -> str:
    """The route of fewer multiplications among those allowed and possible."""
    total = float(sum(widths))
    work = {
        "gram": n_points**2 / 2 * (total + len(widths) ** 2 / 2),
        "features": n_points * (total**2 + sum(width**2 for width in widths)) / 2,
    }
    rows = min(n_points, MIN_BLOCK_ROWS)
    need = {
        "gram": gram_bytes(rows, len(widths), max(widths)),
        "features": feature_bytes(rows, max(widths)),
    }
    allowed = [name for name in work if route in ("auto", name)]
    possible = [name for name in allowed if need[name] <= memory_bytes]
    if not possible:
        least = min(need[name] for name in allowed)
        raise InputError(
            f"cka: {len(widths)} layers of up to {max(widths)} features need {least} bytes, found "
            f"memory_bytes = {memory_bytes}; raise it, or pass fewer layers"
        )
    return min(possible, key=lambda name: work[name])
