"""Compiled exact distances of one row to eight others.

All exact distances come from here, so a pair has one distance, whoever asks. Nothing may use fastmath: the
sum over features is sequential, ascending and not fused. Eight rows are done side by side, a vector of eight
sums: blocks of eight features are read from each, and turned, so that a vector holds one feature of all. LLVM
does not find this by itself, and the plain loop takes four times as long.
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

LANES = 8
"""Rows measured side by side, and features in a block."""
SMALLEST_SAFE_SUM = 2.0**-900
"""Below, squares may have underflowed."""
LARGEST_SAFE_SUM = 2.0**1000
"""Above, squares may have overflowed."""

_INT32, _INT64, _FLOAT64 = ir.IntType(32), ir.IntType(64), ir.DoubleType()
_SUMS = ir.VectorType(_FLOAT64, LANES)
_PLACES = ir.VectorType(_INT32, LANES)


@intrinsic  # type: ignore[untyped-decorator]
def _add_blocks(_: Any, query: Any, base: Any, rows: Any, sums: Any) -> Any:
    """Add squared differences of all whole blocks to eight sums; how many features that were.

    `query` (D,) and `sums` (8,) are float64, `base` (B, D) float32 or float64, `rows` (8,) int64, all
    contiguous.
    """
    if any(array.layout != "C" for array in (query, base, rows, sums)):
        raise TypeError("distances are measured of contiguous rows")  # while compiling: no user's input
    return types.int64(query, base, rows, sums), _emit_blocks


def _emit_blocks(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    query, base, rows, sums = (
        context.make_array(kind)(context, builder, argument)
        for kind, argument in zip(signature.args, arguments, strict=True)
    )
    value = context.get_data_type(signature.args[1].dtype)
    n_features = builder.extract_value(base.shape, 1)
    n_blocks = builder.udiv(n_features, _INT64(LANES))
    starts = [
        builder.gep(
            base.data, [builder.mul(builder.load(builder.gep(rows.data, [_INT64(lane)])), n_features)]
        )
        for lane in range(LANES)
    ]
    places = builder.bitcast(sums.data, _SUMS.as_pointer())
    total = cgutils.alloca_once(builder, _SUMS)
    builder.store(builder.load(places, align=8), total)
    with cgutils.for_range(builder, n_blocks) as loop:
        first = builder.mul(loop.index, _INT64(LANES))
        sum_L = builder.load(total)
        for f, value_L in enumerate(_turned(builder, _block(builder, starts, first, value))):
            query_L = _repeated(builder, builder.gep(query.data, [builder.add(first, _INT64(f))]))
            wide_L = value_L if value == _FLOAT64 else builder.fpext(value_L, _SUMS)
            difference_L = builder.fsub(query_L, wide_L)
            sum_L = builder.fadd(sum_L, builder.fmul(difference_L, difference_L))
        builder.store(sum_L, total)
    builder.store(builder.load(total), places, align=8)
    return builder.mul(n_blocks, _INT64(LANES))


def _block(builder: Any, starts: list[Any], first: Any, value: Any) -> list[Any]:
    """Eight features of each of eight rows."""
    pointer = ir.VectorType(value, LANES).as_pointer()
    at = [builder.bitcast(builder.gep(start, [first]), pointer) for start in starts]
    return [builder.load(place, align=4) for place in at]


def _turned(builder: Any, vectors: list[Any]) -> list[Any]:
    """Eight vectors transposed: halves are exchanged at distances of one, two and four."""
    for width in (1, 2, 4):
        low = _PLACES([c if not c & width else LANES + (c ^ width) for c in range(LANES)])
        high = _PLACES([c | width if not c & width else LANES + c for c in range(LANES)])
        pairs = [(vectors[r & ~width], vectors[r | width]) for r in range(LANES)]
        vectors = [builder.shuffle_vector(*pair, high if r & width else low) for r, pair in enumerate(pairs)]
    return vectors


def _repeated(builder: Any, place: Any) -> Any:
    """One float64, eight times."""
    nothing = ir.Constant(_SUMS, ir.Undefined)
    one = builder.insert_element(nothing, builder.load(place), _INT32(0))
    return builder.shuffle_vector(one, nothing, _PLACES([0] * LANES))


@njit(nogil=True, cache=True)
def squared_distances(query_D: Array, base_BD: Array, row_L: Array, squared_L: Array) -> None:
    """Sequential float64 sums of squared differences of one float64 query to eight rows."""
    squared_L[:] = 0.0
    for f in range(_add_blocks(query_D, base_BD, row_L, squared_L), query_D.shape[0]):
        for lane in range(LANES):
            difference = query_D[f] - np.float64(base_BD[row_L[lane], f])
            squared_L[lane] += difference * difference


@njit(nogil=True, cache=True)
def _rescaled_distance(query_D: Array, row_D: Array) -> float:
    """The same, of differences divided by a power of two: for squares outside the range of float64."""
    largest = 0.0
    for f in range(query_D.shape[0]):
        largest = max(largest, abs(query_D[f] - np.float64(row_D[f])))
    if largest == 0.0:
        return 0.0
    exponent = math.frexp(largest)[1]
    total = 0.0
    for f in range(query_D.shape[0]):
        scaled = math.ldexp(query_D[f] - np.float64(row_D[f]), -exponent)
        total += scaled * scaled
    return math.ldexp(math.sqrt(total), exponent)


@njit(nogil=True, cache=True)
def distances(query_D: Array, base_BD: Array, row_L: Array, n: int, distance_L: Array) -> None:
    """Exact distances of one query to the first n of eight rows of the base."""
    for lane in range(n, LANES):
        row_L[lane] = row_L[0]
    squared_distances(query_D, base_BD, row_L, distance_L)
    for lane in range(n):
        squared = distance_L[lane]
        if SMALLEST_SAFE_SUM <= squared <= LARGEST_SAFE_SUM:
            distance_L[lane] = math.sqrt(squared)
        else:
            distance_L[lane] = _rescaled_distance(query_D, base_BD[row_L[lane]])
