"""Vectors of sixteen float32 in compiled loops: what LLVM does not find by itself.

A *strip* is an array (rows, 32): one row of two vectors for each key or feature, one column for each query.
Vectors take a processor with AVX-512 to be fast; elsewhere they are halved, and right. Products are fused
with the sum, in ascending order, so that bits are those of one order on every processor.
"""

from __future__ import annotations

import itertools
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
STRIP = 2 * LANES
"""Columns of a strip."""
ROWS_AT_ONCE = 8
"""Rows of a product that are summed side by side: with two vectors each, half of the registers."""

_INT8, _INT32, _INT64, _FLOAT32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR, _INTEGERS = ir.VectorType(_FLOAT32, LANES), ir.VectorType(_INT32, LANES)
_HALVES = range(STRIP // LANES)

LOG2_OF_E = 1.4426950408889634
LEAST_EXPONENT = -125.0
"""Below, a power of two is zero here; that of float32 would be less than 3e-38."""
_POWER = (
    1.5353361563595128e-4, 1.3398874519558596e-3, 9.618437359773852e-3, 5.550332470792474e-2,
    2.4022647913597944e-1, 6.931472028552769e-1, 1.0,
)  # fmt: skip
"""2^r for |r| <= 1/2 to 2e-9 of the value, highest power first: least squares, weights evening errors out."""
_ROUNDER = 1.5 * 2.0**23 + 127.0
"""A number plus this one has no digit behind the point, and ends in the exponent of its power of two."""


@intrinsic  # type: ignore[untyped-decorator]
def multiply(_: Any, left: Any, right: Any, strip: Any, n_rows: Any, depth: Any, adds: Any) -> Any:
    """Rows of `strip` become those of left @ right, or grow by them if `adds`.

    `left` (n_rows, depth) may have any strides, `right` (>= depth, 32) is contiguous, and `strip`, too, with
    room for `n_rows` rounded up to a multiple of 8: what comes there is of no use.
    """
    _check_strips(right, strip)
    return types.void(left, right, strip, types.int64, types.int64, types.boolean), _emit_multiply


def _emit_multiply(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    left, right, strip = _arrays(context, builder, signature, arguments)
    n_rows, depth, adds = arguments[3:]
    row_bytes, column_bytes = (builder.extract_value(left.strides, axis) for axis in (0, 1))
    start = builder.bitcast(left.data, _INT8.as_pointer())
    last = builder.sub(n_rows, _INT64(1))
    sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in _HALVES] for _ in range(ROWS_AT_ONCE)]
    n_blocks = builder.udiv(builder.add(last, _INT64(ROWS_AT_ONCE)), _INT64(ROWS_AT_ONCE))
    with cgutils.for_range(builder, n_blocks) as block:
        rows = [
            builder.add(builder.mul(block.index, _INT64(ROWS_AT_ONCE)), _INT64(r))
            for r in range(ROWS_AT_ONCE)
        ]
        inside = [builder.select(builder.icmp_signed("<", row, last), row, last) for row in rows]
        lefts = [builder.gep(start, [builder.mul(row, row_bytes)]) for row in inside]
        places = [[_place(builder, strip, row, half) for half in _HALVES] for row in rows]
        for place in itertools.chain(*sums):
            builder.store(_constant(0.0), place)
        with cgutils.for_range(builder, depth) as step:
            at = builder.mul(step.index, column_bytes)
            factors = [_load(builder, right, step.index, half) for half in _HALVES]
            for row, left_row in enumerate(lefts):
                place = builder.bitcast(builder.gep(left_row, [at]), _FLOAT32.as_pointer())
                value = _repeated(builder, builder.load(place, align=4))
                for half, factor in enumerate(factors):
                    total = builder.load(sums[row][half])
                    builder.store(_fused(builder, value, factor, total), sums[row][half])
        with builder.if_then(adds):
            for total, place in zip(itertools.chain(*sums), itertools.chain(*places), strict=True):
                builder.store(builder.fadd(builder.load(place, align=4), builder.load(total)), total)
        for total, place in zip(itertools.chain(*sums), itertools.chain(*places), strict=True):
            builder.store(builder.load(total), place, align=4)
    return context.get_dummy_value()


@intrinsic  # type: ignore[untyped-decorator]
def exponentiate(
    _: Any, strip: Any, n_rows: Any, largest: Any, total: Any, output: Any, n_output: Any
) -> Any:
    """Scores become 2^(score - largest), in the running softmax of the columns: they are times log2(e).

    `strip` (>= n_rows, 32) holds scores, `largest` and `total` (1, 32) the largest score so far, finite, and
    the sum of exponentials, `output` (>= n_output, 32) what was summed with them; all are brought up to date.
    A score of minus infinity becomes zero, NaN stays.
    """
    _check_strips(strip, largest, total, output)
    return types.void(strip, types.int64, largest, total, output, types.int64), _emit_exponentiate


def _emit_exponentiate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    strip, largest, total, output = _arrays(context, builder, signature, arguments)
    n_rows, n_output, first = arguments[1], arguments[5], _INT64(0)
    for half in _HALVES:
        before = _load(builder, largest, first, half)
        most = cgutils.alloca_once_value(builder, before)
        with cgutils.for_range(builder, n_rows) as row:
            score, so_far = _load(builder, strip, row.index, half), builder.load(most)
            is_more = builder.fcmp_ordered(">", score, so_far)
            builder.store(builder.select(is_more, score, so_far), most)
        now = builder.load(most)
        builder.store(now, _place(builder, largest, first, half), align=4)
        share = _power_of_two(builder, builder.fsub(before, now))
        sums = cgutils.alloca_once_value(builder, _constant(0.0))
        with cgutils.for_range(builder, n_rows) as row:
            value = _power_of_two(builder, builder.fsub(_load(builder, strip, row.index, half), now))
            builder.store(value, _place(builder, strip, row.index, half), align=4)
            builder.store(builder.fadd(builder.load(sums), value), sums)
        scaled = builder.fmul(share, _load(builder, total, first, half))
        builder.store(builder.fadd(scaled, builder.load(sums)), _place(builder, total, first, half), align=4)
        with cgutils.for_range(builder, n_output) as row:
            scaled = builder.fmul(share, _load(builder, output, row.index, half))
            builder.store(scaled, _place(builder, output, row.index, half), align=4)
    return context.get_dummy_value()


def _power_of_two(builder: Any, exponent: Any) -> Any:
    """2^x = 2^n 2^r with n the integer nearest to x, to 1e-7 of the value."""
    is_zero = builder.fcmp_ordered("<", exponent, _constant(LEAST_EXPONENT))
    within = builder.select(is_zero, _constant(LEAST_EXPONENT), exponent)
    rounded = builder.fadd(within, _constant(_ROUNDER))
    r = builder.fsub(within, builder.fsub(rounded, _constant(_ROUNDER)))
    series = _constant(_POWER[0])
    for coefficient in _POWER[1:]:
        series = _fused(builder, series, r, _constant(coefficient))
    bits = builder.shl(builder.bitcast(rounded, _INTEGERS), ir.Constant(_INTEGERS, [23] * LANES))
    power = builder.fmul(series, builder.bitcast(bits, _VECTOR))
    return builder.select(is_zero, _constant(0.0), power)


def _check_strips(*strips: Any) -> None:
    if any(strip.layout != "C" for strip in strips):
        raise TypeError("strips are contiguous")  # while compiling: no user's input


def _arrays(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    return [
        context.make_array(kind)(context, builder, argument)
        for kind, argument in zip(signature.args, arguments, strict=True)
        if isinstance(kind, types.Array)
    ]


def _place(builder: Any, strip: Any, row: Any, half: int) -> Any:
    index = builder.add(builder.mul(row, _INT64(STRIP)), _INT64(LANES * half))
    return builder.bitcast(builder.gep(strip.data, [index]), _VECTOR.as_pointer())


def _load(builder: Any, strip: Any, row: Any, half: int) -> Any:
    return builder.load(_place(builder, strip, row, half), align=4)


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * LANES)


def _repeated(builder: Any, value: Any) -> Any:
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(nothing, value, _INT32(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_INTEGERS, [0] * LANES))


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return builder.call(
        cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [a, b, c]
    )
