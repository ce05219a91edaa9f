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
from typing import Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError
from hpcgeom.geometry.centered import CenteredLayer, survey
from hpcgeom.geometry.rows import Floats, ReadRows, row_blocks
from hpcgeom.types import Status

Route = Literal["auto", "gram", "features"]

_BYTES = 8  # of a float64
_MIN_BLOCK_ROWS, _MAX_BLOCK_ROWS = 16, 4096


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
    taken = _choose(route, [layer.width for layer in layers], n_points, memory_bytes)
    sums = _gram_sums if taken == "gram" else _feature_sums
    products = sums(layers, n_points, memory_bytes)
    diagonal_products, diagonal_sums = _diagonals(layers, n_points, memory_bytes)
    status = np.array([Status.CONSTANT if layer.is_constant else Status.OK for layer in layers], np.int8)
    value = _normalized(products, status == Status.OK)
    debiased_status = status.copy()
    if n_points < 4:
        debiased_status[:] = Status.TOO_FEW_POINTS
        return CkaMatrix(value, np.full_like(value, np.nan), status, debiased_status, n_points, taken)
    n = float(n_points)
    corrected = products - n / (n - 2) * diagonal_products
    corrected += np.outer(diagonal_sums, diagonal_sums) / ((n - 1) * (n - 2))
    vanishes = np.diagonal(corrected) <= 1e-11 * np.diagonal(products)
    debiased_status[vanishes & (status == Status.OK)] = Status.NO_SOLUTION
    debiased = _normalized(corrected, debiased_status == Status.OK)
    return CkaMatrix(value, debiased, status, debiased_status, n_points, taken)


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
    rows = min(n_points, _MIN_BLOCK_ROWS)
    need = {
        "gram": _gram_bytes(rows, len(widths), max(widths)),
        "features": _feature_bytes(rows, max(widths)),
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


def _gram_bytes(block_rows: int, n_layers: int, width: int) -> int:
    """Gram blocks of all layers, and two blocks of rows with the temporaries of centering."""
    return _BYTES * (n_layers * block_rows**2 + 6 * block_rows * width)


def _feature_bytes(block_rows: int, width: int) -> int:
    """Two covariances (one is a temporary) of two panels of `width`, and their rows."""
    return _BYTES * (2 * width**2 + 6 * block_rows * width)


def _largest(n_points: int, fits: npt.NDArray[np.bool_]) -> int:
    """The largest number of rows 1..len(fits) that fits; at least the smallest allowed block."""
    return min(n_points, max(int(np.count_nonzero(fits)), _MIN_BLOCK_ROWS))


def _gram_sums(layers: list[CenteredLayer], n_points: int, memory_bytes: int) -> Floats:
    """<X X^T, Y Y^T> of all pairs: Gram matrices in square blocks, those off the diagonal counted twice."""
    rows = np.arange(1, _MAX_BLOCK_ROWS + 1)
    width = max(layer.width for layer in layers)
    fits = _BYTES * (len(layers) * rows**2 + 6 * rows * width) <= memory_bytes
    cuts = list(row_blocks(n_points, _largest(n_points, fits)))
    total = np.zeros((len(layers), len(layers)))
    for i, (start, stop) in enumerate(cuts):
        for other_start, other_stop in cuts[i:]:
            grams = np.empty((len(layers), stop - start, other_stop - other_start))
            for gram, layer in zip(grams, layers, strict=True):
                left = layer.rows(start, stop)
                right = left if other_start == start else layer.rows(other_start, other_stop)
                np.matmul(left, right.T, out=gram)
            flat = grams.reshape(len(layers), -1)
            total += (flat @ flat.T) * (1.0 if other_start == start else 2.0)
    return total


def _feature_sums(layers: list[CenteredLayer], n_points: int, memory_bytes: int) -> Floats:
    """|X^T Y|_F^2 of all pairs: covariances of groups of layers, as many at once as fit."""
    panel = max(max(layer.width for layer in layers), int(np.sqrt(memory_bytes / (4 * _BYTES))))
    room = (memory_bytes - _BYTES * 2 * panel**2) // (_BYTES * 6 * panel)
    block_rows = max(min(n_points, _MAX_BLOCK_ROWS, room), min(n_points, _MIN_BLOCK_ROWS))
    groups = _groups([layer.width for layer in layers], panel)
    total = np.zeros((len(layers), len(layers)))
    for i, group in enumerate(groups):
        for other in groups[i:]:
            shape = [sum(layers[layer].width for layer in part) for part in (group, other)]
            covariance = np.zeros(shape)
            for start, stop in row_blocks(n_points, block_rows):
                left = np.hstack([layers[layer].rows(start, stop) for layer in group])
                same = other is group
                right = left if same else np.hstack([layers[layer].rows(start, stop) for layer in other])
                covariance += left.T @ right
            _add_squares(np.square(covariance, out=covariance), layers, group, other, total)
    return np.asarray(np.triu(total) + np.triu(total, 1).T)


def _groups(widths: list[int], panel: int) -> list[list[int]]:
    """Consecutive layers, together at most `panel` wide."""
    groups: list[list[int]] = []
    used = panel
    for layer, width in enumerate(widths):
        if used + width > panel:
            groups.append([])
            used = 0
        groups[-1].append(layer)
        used += width
    return groups


def _add_squares(
    squares: Floats, layers: list[CenteredLayer], group: list[int], other: list[int], total: Floats
) -> None:
    row = 0
    for a in group:
        column = 0
        for b in other:
            block = squares[row : row + layers[a].width, column : column + layers[b].width]
            total[a, b] = block.sum()
            column += layers[b].width
        row += layers[a].width


def _diagonals(layers: list[CenteredLayer], n_points: int, memory_bytes: int) -> tuple[Floats, Floats]:
    """sum_i a_i b_i of all pairs, and sum_i a_i, of the squared norms a_i of the centered points."""
    per_row = _BYTES * (len(layers) + 6 * max(layer.width for layer in layers))
    block_rows = max(1, min(n_points, _MAX_BLOCK_ROWS, memory_bytes // per_row))
    products, sums = np.zeros((len(layers), len(layers))), np.zeros(len(layers))
    for start, stop in row_blocks(n_points, block_rows):
        squared = np.stack([np.sum(layer.rows(start, stop) ** 2, axis=1) for layer in layers])
        products += squared @ squared.T
        sums += squared.sum(axis=1)
    return products, sums
