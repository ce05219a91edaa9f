"""One layer minus its mean, read by blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcgeom.geometry.rows import Floats, ReadRows, read_block, row_blocks

_BYTES = 8  # of a float64


@dataclass(frozen=True, slots=True)
class CenteredLayer:
    """Reads rows of one layer minus the layer's mean, times a power of two that brings them near 1.

    Attributes
    ----------
    read_rows, layer
        Where the rows come from.
    origin, mean
        Shape (D,), float64: the first row, and the mean of the rows minus it. Two steps keep all digits
        where the layer lies far from zero.
    exponent
        Rows are multiplied by 2**-exponent, so that squares of squares neither overflow nor vanish.
    is_constant
        All rows are equal, bit by bit.
    """

    read_rows: ReadRows
    layer: int
    origin: Floats
    mean: Floats
    exponent: int
    is_constant: bool

    @property
    def width(self) -> int:
        """D, the number of features."""
        return self.origin.size

    def rows(self, start: int, stop: int) -> Floats:
        """Shape (stop - start, D), float64.

        Raises
        ------
        InputError
            Numbers that are not finite, or another shape than asked for.
        """
        values = read_block(self.read_rows, self.layer, start, stop, self.width)
        values -= self.origin
        values -= self.mean
        return np.asarray(np.ldexp(values, -self.exponent))


def survey(read_rows: ReadRows, layer: int, n_points: int, memory_bytes: int) -> CenteredLayer:
    """Read a layer once, for its mean and its size.

    Parameters
    ----------
    read_rows
        ``read_rows(layer, start, stop)``: rows start..stop-1, floating point.
    layer, n_points
        Which one, and its rows, at least one.
    memory_bytes
        Bound of the rows held at once, for blocks of one row or more.

    Raises
    ------
    InputError
        Numbers that are not finite, or another shape than asked for.
    """
    origin = read_block(read_rows, layer, 0, 1)[0]
    total = np.zeros(origin.size)
    largest = 0.0
    block_rows = max(1, min(4096, memory_bytes // (_BYTES * 6 * origin.size)))
    for start, stop in row_blocks(n_points, block_rows):
        values = read_block(read_rows, layer, start, stop, origin.size) - origin
        largest = max(largest, float(np.abs(values).max()))
        total += values.sum(axis=0)
    return CenteredLayer(
        read_rows=read_rows,
        layer=layer,
        origin=origin,
        mean=total / n_points,
        exponent=int(np.frexp(largest)[1]),
        is_constant=largest == 0.0,
    )
