"""Which sequences share a forward pass: fixed by prepare, so that every attempt computes the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def form_batches(
    n_tokens: npt.NDArray[np.int64], unit_rows: int, tokens_per_batch: int, *, equal_lengths: bool = False
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Cut every unit's rows, sorted by token count (ties by row), into batches.

    Parameters
    ----------
    n_tokens
        (N,) tokens of each sample, special tokens included.
    unit_rows
        Rows of a unit; batches never cross units.
    tokens_per_batch
        Most padded tokens (sequences times longest) in a batch. A longer sequence is a batch of its own.
    equal_lengths
        Whether a batch holds sequences of one length only: for models that cannot tell padding from tokens.

    Returns
    -------
    unit, batch
        (N,) int32 each: the unit of a row, and its batch within that unit.
    """
    rows = np.arange(len(n_tokens))
    unit = (rows // unit_rows).astype(np.int32)
    batch = np.empty(len(n_tokens), dtype=np.int32)
    for start in range(0, len(n_tokens), unit_rows):
        lengths = n_tokens[start : start + unit_rows]
        order = np.argsort(lengths, kind="stable")
        batch[start + order] = _cut(lengths[order], tokens_per_batch, equal_lengths)
    return unit, batch


def _cut(
    ascending_lengths: npt.NDArray[np.int64], tokens_per_batch: int, equal_lengths: bool
) -> npt.NDArray[np.int32]:
    batch = np.empty(len(ascending_lengths), dtype=np.int32)
    number, size = 0, 0
    for position, length in enumerate(ascending_lengths):
        # Lengths ascend, so the newest sequence is the longest and sets the padded length.
        is_full = (size + 1) * int(length) > tokens_per_batch
        is_other = equal_lengths and length != ascending_lengths[position - 1]
        if size and (is_full or is_other):
            number, size = number + 1, 0
        batch[position] = number
        size += 1
    return batch


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
