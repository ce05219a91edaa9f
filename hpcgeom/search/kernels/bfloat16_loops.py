"""Compiled products of bfloat16 rows with sums in float32, by the instruction that AVX-512 has for them.

torch has no such product on a CPU: it rounds sums to bfloat16 as well, or multiplies in float32. VDPBF16PS
multiplies two neighboring features of sixteen rows and adds both products, which are exact in float32, to
sixteen sums: two roundings, as of any sum. It takes denormal factors for zero.

Rows lie as *pairs*, two features in 32 bits. A *strip* is 32 rows turned: a pair of each is two vectors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]

LANES = 16
STRIP = 2 * LANES
"""Rows of a strip."""
ROWS_AT_ONCE = 8
"""Rows whose sums are held side by side: with two vectors each, half of the registers."""
_SUMS_SIDE_BY_SIDE = 8
_DENORMAL = 2.0**-126
"""What is below is lost; see `bounds`."""

_INT32, _INT64, _FLOAT32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_SUMS, _PAIRS = ir.VectorType(_FLOAT32, LANES), ir.VectorType(_INT32, LANES)
_HALVES = range(STRIP // LANES)


class _Bfloat16(ir.Type):  # type: ignore[misc]
    """LLVM's type, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat16)

    def __hash__(self) -> int:
        return hash(_Bfloat16)


_FACTORS = ir.VectorType(_Bfloat16(), 2 * LANES)


@njit(nogil=True, cache=True)
def round_rows(row_BD: Array, center_D: Array, scale: float, bits_BD: Array, norm_B: Array) -> float:
    """Rows centered and scaled in float64 and rounded to bfloat16, and their norms.

    Parameters
    ----------
    row_BD
        (B, D), finite.
    center_D, scale
        As `Centering` has them.
    bits_BD
        (B, D or D + 1) uint16, for the bits; what is beyond D stays.
    norm_B
        (B,) float64, for the norms of the rounded rows.

    Returns
    -------
    float
        Largest norm of what rounding took from a row, but for what underflow may take, over the row's norm.
    """
    n_features, largest = row_BD.shape[1], 0.0
    exact_D, value_D = np.empty(n_features), np.empty(n_features, np.float32)
    word_D = value_D.view(np.uint32)
    for b in range(row_BD.shape[0]):
        norm_B[b], lost = _round_row(row_BD[b], center_D, scale, exact_D, value_D)
        largest = max(largest, lost)
        for f in range(n_features):
            bits_BD[b, f] = np.uint16(word_D[f] >> np.uint32(16))
    return largest


@njit(nogil=True, cache=True)
def round_values(row_BD: Array, center_D: Array, scale: float, value_BD: Array, norm_B: Array) -> float:
    """The same with the values (B, D) float32 that the bits mean."""
    largest, exact_D = 0.0, np.empty(row_BD.shape[1])
    for b in range(row_BD.shape[0]):
        norm_B[b], lost = _round_row(row_BD[b], center_D, scale, exact_D, value_BD[b])
        largest = max(largest, lost)
    return largest


@njit(nogil=True, cache=True)
def _round_row(
    row_D: Array, center_D: Array, scale: float, exact_D: Array, value_D: Array
) -> tuple[float, float]:
    """One row: the norm of its values, and what `round_rows` says of it."""
    n_features, word_D = len(row_D), value_D.view(np.uint32)
    for f in range(n_features):
        exact_D[f] = (np.float64(row_D[f]) - center_D[f]) * scale
        value_D[f] = np.float32(exact_D[f])
    for f in range(n_features):  # to the nearest, ties to even
        word, half, one = word_D[f], np.uint32(0x7FFF), np.uint32(1)
        word_D[f] = (word + half + ((word >> np.uint32(16)) & one)) & np.uint32(0xFFFF0000)
    norm, lost = _norms(value_D, exact_D)
    lost_by_underflow = math.sqrt(n_features) * _DENORMAL
    if lost <= lost_by_underflow:
        return norm, 0.0
    return norm, (lost - lost_by_underflow) / norm if norm > 0.0 else np.inf


@njit(nogil=True, cache=True)
def _norms(value_D: Array, exact_D: Array) -> tuple[float, float]:
    """Norms of the values and of their errors."""
    square_L, error_L = np.zeros(_SUMS_SIDE_BY_SIDE), np.zeros(_SUMS_SIDE_BY_SIDE)
    n_in_blocks = len(value_D) // _SUMS_SIDE_BY_SIDE * _SUMS_SIDE_BY_SIDE
    for first in range(0, n_in_blocks, _SUMS_SIDE_BY_SIDE):
        for lane in range(_SUMS_SIDE_BY_SIDE):
            value = np.float64(value_D[first + lane])
            error = value - exact_D[first + lane]
            square_L[lane] += value * value
            error_L[lane] += error * error
    for f in range(n_in_blocks, len(value_D)):
        value = np.float64(value_D[f])
        square_L[0] += value * value
        error_L[0] += (value - exact_D[f]) ** 2
    return math.sqrt(square_L.sum()), math.sqrt(error_L.sum())


@njit(nogil=True, cache=True)
def turn(pair_BP: Array, strip_SPL: Array) -> None:
    """Strips (S, P, 32) of rows (B, P), B at most 32 S; rows beyond them are zero."""
    n_rows, n_pairs = pair_BP.shape
    for s in range(strip_SPL.shape[0]):
        for lane in range(STRIP):
            row = STRIP * s + lane
            for p in range(n_pairs):
                strip_SPL[s, p, lane] = pair_BP[row, p] if row < n_rows else 0


@njit(nogil=True, cache=True)
def multiply(pair_AP: Array, strip_SPL: Array, are_same: bool, product_AB: Array) -> None:
    """Dot products (A, B) float32 of rows (A or more, a multiple of 8, P) and strips of the others.

    Where these are the same rows, every pair is multiplied once: bits do not depend on which comes first.
    """
    n_rows, n_columns = product_AB.shape
    edge = np.empty((ROWS_AT_ONCE, STRIP), np.float32)
    for s in range(strip_SPL.shape[0]):
        strip_PL, column = strip_SPL[s], STRIP * s
        for row in range(0, min(n_rows, column + STRIP) if are_same else n_rows, ROWS_AT_ONCE):
            if row + ROWS_AT_ONCE <= n_rows and column + STRIP <= n_columns:
                _add_up(pair_AP, row, strip_PL, product_AB, row, column)
                continue
            _add_up(pair_AP, row, strip_PL, edge, 0, 0)
            for a in range(row, min(row + ROWS_AT_ONCE, n_rows)):
                for b in range(column, min(column + STRIP, n_columns)):
                    product_AB[a, b] = edge[a - row, b - column]
    if are_same:
        _mirror(product_AB)


@njit(nogil=True, cache=True)
def _mirror(product_AA: Array) -> None:
    """Copy what is above the diagonal strips to below."""
    n_rows = len(product_AA)
    for first in range(0, n_rows, STRIP):
        for row in range(first + STRIP, n_rows):
            for column in range(first, first + STRIP):
                product_AA[row, column] = product_AA[column, row]


@intrinsic  # type: ignore[untyped-decorator]
def _add_up(_: Any, pairs: Any, row: Any, strip: Any, product: Any, to_row: Any, to_column: Any) -> Any:
    """Dot products of rows `row` to `row` + 7 and a strip, to a place of `product`; all contiguous."""
    if any(array.layout != "C" for array in (pairs, strip, product)):
        raise TypeError("rows, strips and products are contiguous")  # while compiling: no user's input
    return types.void(pairs, types.int64, strip, product, types.int64, types.int64), _emit_add_up


def _emit_add_up(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pairs, strip, product = (
        context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 2, 3)
    )
    row, to_row, to_column = (arguments[place] for place in (1, 4, 5))
    n_pairs, n_columns = builder.extract_value(pairs.shape, 1), builder.extract_value(product.shape, 1)
    starts = [
        builder.gep(pairs.data, [builder.mul(builder.add(row, _INT64(r)), n_pairs)])
        for r in range(ROWS_AT_ONCE)
    ]
    zero = ir.Constant(_SUMS, [0.0] * LANES)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in _HALVES] for _ in starts]
    with cgutils.for_range(builder, n_pairs) as step:
        at = builder.mul(step.index, _INT64(STRIP))
        factors = [builder.load(_vector(builder, strip, at, half, _PAIRS), align=4) for half in _HALVES]
        for start, totals in zip(starts, sums, strict=True):
            pair = _repeated(builder, builder.load(builder.gep(start, [step.index]), align=4))
            for factor, total in zip(factors, totals, strict=True):
                builder.store(_two_more(builder, builder.load(total), factor, pair), total)
    for r, totals in enumerate(sums):
        at = builder.add(builder.mul(builder.add(to_row, _INT64(r)), n_columns), to_column)
        for half, total in enumerate(totals):
            builder.store(builder.load(total), _vector(builder, product, at, half, _SUMS), align=4)
    return context.get_dummy_value()


def _two_more(builder: Any, total: Any, one: Any, other: Any) -> Any:
    """Sums that grow by the products of both features."""
    kind = ir.FunctionType(_SUMS, [_SUMS, _FACTORS, _FACTORS])
    add = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(add, [total, builder.bitcast(one, _FACTORS), builder.bitcast(other, _FACTORS)])


def _vector(builder: Any, array: Any, at: Any, half: int, kind: Any) -> Any:
    place = builder.gep(array.data, [builder.add(at, _INT64(LANES * half))])
    return builder.bitcast(place, kind.as_pointer())


def _repeated(builder: Any, pair: Any) -> Any:
    nothing = ir.Constant(_PAIRS, ir.Undefined)
    one = builder.insert_element(nothing, pair, _INT32(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_PAIRS, [0] * LANES))
