"""Which sequences share a forward pass: fixed by prepare, so that every attempt computes the same bits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

MAX_PADDING = 0.05
"""Largest share of a unit's computed positions that may be padding."""


def form_batches(
    n_tokens: npt.NDArray[np.int64],
    unit_rows: int,
    tokens_per_batch: int,
    *,
    rows: npt.NDArray[np.int64] | None = None,
    equal_lengths: bool = False,
    n_base: int | None = None,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Cut every unit's sequences, sorted by token count (ties by position), into batches.

    Where batches as large as allowed would pad more than `MAX_PADDING` of a unit (short sequences, few rows),
    its batches are also cut where one would pad more than that by itself.

    Parameters
    ----------
    n_tokens
        (S,) tokens of each sequence, special tokens included.
    unit_rows
        Rows of a unit; batches never cross units.
    tokens_per_batch
        Most padded tokens (sequences times longest) in a batch. A longer sequence is a batch of its own.
    rows
        (S,) sample row of each sequence, ascending: a sample in windows has several. One each when None.
    equal_lengths
        Whether a batch holds sequences of one length only: for models that cannot tell padding from tokens.
    n_base
        Rows from here on are queries; a batch holds none of them or nothing else, so that those of the other
        rows are what they would be without queries.

    Returns
    -------
    unit, batch
        (S,) int32 each: the unit of a sequence, and its batch within that unit.
    """
    rows = np.arange(len(n_tokens)) if rows is None else rows
    unit = (rows // unit_rows).astype(np.int32)
    batch = np.empty(len(n_tokens), dtype=np.int32)
    edges = np.searchsorted(unit, np.arange(int(unit.max(initial=-1)) + 2))
    for start, stop in pairwise(edges.tolist()):
        first_query = stop if n_base is None else int(np.searchsorted(rows[start:stop], n_base)) + start
        n_batches = 0
        for low, high in ((start, first_query), (first_query, stop)):
            lengths = n_tokens[low:high]
            order = np.argsort(lengths, kind="stable")
            batch[low + order] = n_batches + _form(lengths[order], tokens_per_batch, equal_lengths)
            n_batches = int(batch[low:high].max(initial=-1)) + 1
    return unit, batch


def _form(
    ascending_lengths: npt.NDArray[np.int64], tokens_per_batch: int, equal_lengths: bool
) -> npt.NDArray[np.int32]:
    if equal_lengths:
        return _cut(ascending_lengths, tokens_per_batch, 0.0)
    batch = _cut(ascending_lengths, tokens_per_batch, 1.0)
    if padding_share(ascending_lengths, np.zeros_like(batch), batch) > MAX_PADDING:
        return _cut(ascending_lengths, tokens_per_batch, MAX_PADDING)
    return batch


def _cut(
    ascending_lengths: npt.NDArray[np.int64], tokens_per_batch: int, max_padding: float
) -> npt.NDArray[np.int32]:
    batch = np.empty(len(ascending_lengths), dtype=np.int32)
    number = size = real = 0
    for position, length in enumerate(ascending_lengths.tolist()):
        # Lengths ascend, so the newest sequence is the longest and sets the padded length.
        padded = (size + 1) * length
        if size and (padded > tokens_per_batch or real + length < (1.0 - max_padding) * padded):
            number, size, real = number + 1, 0, 0
        batch[position] = number
        size, real = size + 1, real + length
    return batch


def largest_batch(n_tokens: npt.ArrayLike, tokens_per_batch: int) -> tuple[int, int]:
    """Upper bounds of the sequences, and of the padded tokens, of any batch that `form_batches` may cut."""
    ascending = np.sort(np.asarray(n_tokens))
    fits = np.arange(1, len(ascending) + 1) * ascending <= tokens_per_batch
    return max(1, int(np.count_nonzero(fits))), max(tokens_per_batch, int(ascending[-1]))


def padding_share(
    n_tokens: npt.NDArray[np.int64], unit: npt.NDArray[np.int32], batch: npt.NDArray[np.int32]
) -> float:
    """Share of computed positions that are padding, in [0, 1)."""
    padded = 0
    groups = unit.astype(np.int64) * (int(batch.max(initial=0)) + 1) + batch
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, edges):
        padded += len(members) * int(n_tokens[members].max(initial=0))
    return 1.0 - float(n_tokens.sum()) / padded if padded else 0.0
