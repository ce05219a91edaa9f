"""The sums behind CKA, over blocks of rows or over groups of layers: they add up, whoever takes them.

T(X, Y) = |X^T Y|_F^2 = <X X^T, Y Y^T> is a sum over pairs of rows, and, for each pair of layers, a sum over
rows. Either can be cut: into pairs of ranges of rows, or into pairs of groups of layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.geometry.centered import CenteredLayer
from hpcgeom.geometry.rows import Floats, row_blocks

BYTES = 8  # of a float64
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 16, 4096


@dataclass(frozen=True, slots=True)
class CkaSums:
    """Sums over pairs of rows of all layers, or of some layers over all rows; zero for others.

    Attributes
    ----------
    products
        Shape (L, L), float64: T of each pair of layers; only the upper triangle counts.
    diagonal_products, diagonal_sums
        Shapes (L, L), (L,), float64: sums over points of a_i b_i and of a_i, the squared norms of the
        centered points; of the first only the upper triangle counts.
    """

    products: Floats
    diagonal_products: Floats
    diagonal_sums: Floats

    def __add__(self, other: CkaSums) -> CkaSums:
        return CkaSums(
            self.products + other.products,
            self.diagonal_products + other.diagonal_products,
            self.diagonal_sums + other.diagonal_sums,
        )


def gram_bytes(block_rows: int, n_layers: int, width: int) -> int:
    """Gram blocks of all layers, and two blocks of rows with the temporaries of centering."""
    return BYTES * (n_layers * block_rows**2 + 6 * block_rows * width)


def feature_bytes(block_rows: int, width: int) -> int:
    """Two covariances (one is a temporary) of two groups together `width` wide, and their rows."""
    return BYTES * (2 * width**2 + 6 * block_rows * width)


def gram_sums(
    layers: Sequence[CenteredLayer], first: tuple[int, int], second: tuple[int, int], memory_bytes: int
) -> CkaSums:
    """Sums over the pairs of a row of one range with a row of another, by square blocks of Gram matrices.

    Parameters
    ----------
    layers
        All layers.
    first, second
        The ranges (start, stop): the same, or apart; pairs of the latter count twice, once for each order.
    memory_bytes
        Bound of the arrays held at once.

    Returns
    -------
    CkaSums
        Points are in the sums over the diagonal where the ranges are the same.
    """
    rows = np.arange(1, MAX_BLOCK_ROWS + 1)
    width = max(layer.width for layer in layers)
    fits = BYTES * (len(layers) * rows**2 + 6 * rows * width) <= memory_bytes
    longest = max(stop - start for start, stop in (first, second))
    block_rows = min(longest, max(int(np.count_nonzero(fits)), MIN_BLOCK_ROWS))
    n = len(layers)
    products, diagonal_products, diagonal_sums = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    for start, stop in _blocks(first, block_rows):
        for other_start, other_stop in _blocks(second, block_rows):
            if first == second and other_start < start:
                continue
            is_diagonal = other_start == start
            grams = np.empty((n, stop - start, other_stop - other_start))
            for gram, layer in zip(grams, layers, strict=True):
                left = layer.rows(start, stop)
                right = left if is_diagonal else layer.rows(other_start, other_stop)
                np.matmul(left, right.T, out=gram)
            flat = grams.reshape(n, -1)
            products += (flat @ flat.T) * (1.0 if is_diagonal else 2.0)
            if is_diagonal:
                squared = np.diagonal(grams, axis1=1, axis2=2)
                diagonal_products += squared @ squared.T
                diagonal_sums += squared.sum(axis=1)
    return CkaSums(products, diagonal_products, diagonal_sums)


def _blocks(span: tuple[int, int], block_rows: int) -> list[tuple[int, int]]:
    start, stop = span
    return [(start + a, start + b) for a, b in row_blocks(stop - start, block_rows)]


def feature_sums(
    layers: Sequence[CenteredLayer],
    group: Sequence[int],
    other: Sequence[int],
    n_points: int,
    memory_bytes: int,
) -> CkaSums:
    """Sums over all rows of the pairs of a layer of one group with a layer of another, by their covariance.

    Parameters
    ----------
    layers
        All layers.
    group, other
        Which ones: the same, or apart and in ascending order.
    n_points
        Rows of all layers.
    memory_bytes
        Bound of the arrays held at once, where one covariance leaves room for rows.
    """
    same = list(group) == list(other)
    widths = [sum(layers[layer].width for layer in part) for part in (group, other)]
    room = (memory_bytes - BYTES * 2 * widths[0] * widths[1]) // (BYTES * 6 * max(widths))
    block_rows = max(min(n_points, MAX_BLOCK_ROWS, room), min(n_points, MIN_BLOCK_ROWS))
    n = len(layers)
    products, diagonal_products, diagonal_sums = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    covariance = np.zeros(widths)
    for start, stop in row_blocks(n_points, block_rows):
        left, squared = _side_by_side(layers, group, start, stop)
        right, other_squared = (left, squared) if same else _side_by_side(layers, other, start, stop)
        covariance += left.T @ right
        diagonal_products[np.ix_(group, other)] += squared @ other_squared.T
        if same:
            diagonal_sums[list(group)] += squared.sum(axis=1)
    np.square(covariance, out=covariance)
    row = 0
    for a in group:
        column = 0
        for b in other:
            block = covariance[row : row + layers[a].width, column : column + layers[b].width]
            products[a, b] = block.sum()
            column += layers[b].width
        row += layers[a].width
    return CkaSums(products, diagonal_products, diagonal_sums)


def _side_by_side(
    layers: Sequence[CenteredLayer], group: Sequence[int], start: int, stop: int
) -> tuple[Floats, Floats]:
    """Rows of some layers beside each other, and the squared norms of each layer's: (layers, rows)."""
    blocks = [layers[layer].rows(start, stop) for layer in group]
    return np.hstack(blocks), np.stack([np.einsum("ij,ij->i", block, block) for block in blocks])


def groups_of(widths: Sequence[int], panel: int) -> list[list[int]]:
    """Consecutive layers, together at most `panel` wide, or one alone."""
    groups: list[list[int]] = []
    used = panel
    for layer, width in enumerate(widths):
        if used + width > panel:
            groups.append([])
            used = 0
        groups[-1].append(layer)
        used += width
    return groups


def mirrored(upper: Floats) -> npt.NDArray[np.float64]:
    """A symmetric matrix from its upper triangle."""
    return np.asarray(np.triu(upper) + np.triu(upper, 1).T)
