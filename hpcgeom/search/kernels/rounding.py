"""Rows rounded to half precision, in NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.search.rows import RowSource, read_rows
from hpcgeom.search.scan import Centering
from hpcgeom.search.threads import in_blocks
from hpcgeom.search.tiles import norms, round_rows

LARGEST_EXPONENT_OF_FLOAT16 = 15
"""Rows in float16 are scaled so that their largest magnitude is below two to this power."""
LARGEST_SHIFT = 126
"""The power of two that undoes the scaling must be a normal float32."""


@dataclass(frozen=True, slots=True)
class RoundedRows:
    """Rows as a kernel multiplies them.

    Attributes
    ----------
    values
        (B, D) float32, float16, or int16 with the bits of bfloat16.
    factors
        (B,) float32, the powers of two by which `values` in float16 are to be multiplied; None elsewhere.
    norms
        (B,) float64, of the rounded rows, in the scale of the centering.
    """

    values: npt.NDArray[Any]
    factors: npt.NDArray[np.float32] | None
    norms: npt.NDArray[np.float64]


def rounded_rows(
    source: RowSource, start: int, stop: int, centering: Centering, dtype: str, threads: int
) -> RoundedRows:
    """Read, center, scale and round rows to ``float32``, ``bfloat16`` or ``float16``."""
    n_rows, n_features = stop - start, source.shape[1]
    if dtype == "float32":
        rounded_BD = np.empty((n_rows, n_features), np.float32)
        return RoundedRows(rounded_BD, None, round_rows(source, start, stop, centering, rounded_BD, threads))
    stored_BD, norm_B = read_rows(source, start, stop), np.empty(n_rows)
    value_BD = np.empty((n_rows, n_features), np.float16 if dtype == "float16" else np.int16)
    factor_B = np.empty(n_rows, np.float32) if dtype == "float16" else None

    def work(block: slice) -> None:
        centered_BD = centering.apply(stored_BD[block])
        if factor_B is None:
            value_BD[block] = bfloat16_bits(centered_BD.astype(np.float32))
            norm_B[block] = norms(bfloat16_values(value_BD[block]).astype(np.float64))
            return
        value_BD[block], shift_B = scaled_float16(centered_BD)
        factor_B[block] = np.ldexp(np.float32(1.0), -shift_B)
        norm_B[block] = np.ldexp(norms(value_BD[block].astype(np.float64)), -shift_B)

    in_blocks(work, n_rows, threads)
    return RoundedRows(value_BD, factor_B, norm_B)


def bfloat16_bits(rows_BD: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Finite float32 values rounded to the nearest bfloat16, ties to even, as bits."""
    bits_BD = np.ascontiguousarray(rows_BD).view(np.uint32)
    rounded_BD = (bits_BD + (0x7FFF + ((bits_BD >> 16) & 1))) >> 16
    return rounded_BD.astype(np.uint16).view(np.int16)


def bfloat16_values(bits_BD: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The values that bits of bfloat16 mean."""
    return (bits_BD.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def scaled_float16(rows_BD: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int32]]:
    """Rows multiplied by two to the power of a shift each, and rounded to float16; and the shifts.

    float16 has no values below 2^-24: unscaled, most rows would vanish where one far away sets the scale.
    """
    _, exponent_B = np.frexp(np.abs(rows_BD).max(axis=1))
    shift_B = np.minimum(LARGEST_EXPONENT_OF_FLOAT16 - exponent_B, LARGEST_SHIFT).astype(np.int32)
    return np.ldexp(rows_BD, shift_B[:, None]).astype(np.float16), shift_B
