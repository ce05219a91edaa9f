"""Compiled attention: softmax(query key^T scale) value, 32 queries at a time.

Scores are held for 32 queries and a block of keys, and the softmax runs along with the blocks (Milakov and
Gimelshein 2018; Dao et al. 2022), so that a tile stays in the cache of its core. Every tile has its own sums
in one order: bits depend neither on the number of threads nor on what is in the batch beside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types

from hpcgeom.models.vectors import LOG2_OF_E, ROWS_AT_ONCE, STRIP, exponentiate, multiply

Array = np.ndarray[Any, Any]

BLOCK_KEYS = 64
"""Keys whose scores are held at a time: 8 KiB of them."""
_LOWEST = np.finfo(np.float32).min

_TOKENS = types.Array(types.float32, 4, "A")
_KEYS = types.Array(types.boolean, 2, "C")


def n_tiles(n_sequences: int, n_heads: int, n_queries: int) -> int:
    """How many tiles there are, in the order of sequences, heads and queries."""
    return n_sequences * n_heads * -(-n_queries // STRIP)


@cache
def attend() -> Callable[..., None]:
    """The compiled function `_attend`; compiled, or read from numba's cache, at the first call."""
    signature = types.void(
        _TOKENS, _TOKENS, _TOKENS, _KEYS, types.boolean, types.float32, _TOKENS, types.int64, types.int64
    )
    return njit(signature, nogil=True, cache=True)(_attend)  # type: ignore[no-any-return]


def _attend(
    query_BTHD: Array,
    key_BSGD: Array,
    value_BSGD: Array,
    is_seen_BS: Array,
    is_causal: bool,
    scale: float,
    output_BTHD: Array,
    first: int,
    last: int,
) -> None:
    """Tiles `first` to `last`; heads of keys and values may be fewer, each for as many of the queries'."""
    _, n_queries, n_heads, width = query_BTHD.shape
    n_keys, heads_per_key = key_BSGD.shape[1], n_heads // key_BSGD.shape[2]
    factor = np.float32(scale * LOG2_OF_E)
    tiles_per_head = -(-n_queries // STRIP)
    query_DL = np.empty((width, STRIP), np.float32)
    score_SL = np.empty((BLOCK_KEYS + ROWS_AT_ONCE, STRIP), np.float32)
    output_DL = np.empty((width + ROWS_AT_ONCE, STRIP), np.float32)
    largest_1L, total_1L = np.empty((1, STRIP), np.float32), np.empty((1, STRIP), np.float32)
    for tile in range(first, last):
        start = tile % tiles_per_head * STRIP
        h, b = tile // tiles_per_head % n_heads, tile // tiles_per_head // n_heads
        query_TD = query_BTHD[b, :, h]
        key_SD, value_SD = key_BSGD[b, :, h // heads_per_key], value_BSGD[b, :, h // heads_per_key]
        for lane in range(STRIP):
            t = min(start + lane, n_queries - 1)
            for f in range(width):
                query_DL[f, lane] = query_TD[t, f] * factor
        largest_1L[:], total_1L[:], output_DL[:] = _LOWEST, 0.0, 0.0
        end = min(n_keys, start + STRIP) if is_causal else n_keys
        while end > 0 and not is_seen_BS[b, end - 1]:  # padding
            end -= 1
        are_hidden = is_causal or not is_seen_BS[b, :end].all()
        for low in range(0, end, BLOCK_KEYS):
            n = min(BLOCK_KEYS, end - low)
            multiply(key_SD[low : low + n], query_DL, score_SL, n, width, False)
            if are_hidden:
                _hide(score_SL, is_seen_BS[b, low : low + n], low - start if is_causal else -n)
            exponentiate(score_SL, n, largest_1L, total_1L, output_DL, width)
            multiply(value_SD[low : low + n].T, score_SL, output_DL, width, n, True)
        for lane in range(min(STRIP, n_queries - start)):
            total = total_1L[0, lane]
            share = np.float32(0.0) if total == 0.0 else np.float32(1.0) / total  # zero where none is seen
            for f in range(width):
                output_BTHD[b, start + lane, h, f] = output_DL[f, lane] * share


@njit(nogil=True, cache=True)
def _hide(score_SL: Array, is_seen_S: Array, place: int) -> None:
    """Minus infinity for keys that are not seen, and for queries before their key: `place` + s of key s."""
    for s in range(len(is_seen_S)):
        n_before = max(0, place + s) if is_seen_S[s] else STRIP
        score_SL[s, :n_before] = -np.inf
