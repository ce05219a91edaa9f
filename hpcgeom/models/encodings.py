"""What a sample becomes before it enters a model, and how encodings are put into one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.models.request import TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """The tokens of one sample, or of one window of it.

    Attributes
    ----------
    ids
        int64 (T,), special tokens included; zeros for images.
    special
        bool (T,): True at tokens that are not of the sample itself.
    n_unknown
        Ordinary tokens that the vocabulary does not know.
    pixels
        float32 (C, H, W) for models that read images.
    """

    ids: npt.NDArray[np.int64]
    special: npt.NDArray[np.bool_]
    n_unknown: int = 0
    pixels: npt.NDArray[np.float32] | None = None

    @property
    def n_ordinary(self) -> int:
        """Tokens that come from the sample itself."""
        return int((~self.special).sum())


def pad(encodings: Sequence[Encoding], pad_id: int, side: Literal["left", "right"] = "right") -> TokenBatch:
    """A batch padded to the longest of its own samples.

    Parameters
    ----------
    encodings
        At least one.
    pad_id
        Id at padding.
    side
        Where padding goes.

    Raises
    ------
    InputError
        There is no sample, or one without a token (see `TokenBatch`).
    """
    shape = (len(encodings), max((len(encoding.ids) for encoding in encodings), default=0))
    input_ids = np.full(shape, pad_id, np.int64)
    attention_mask = np.zeros(shape, np.int64)
    special_mask = np.zeros(shape, bool)
    for row, encoding in enumerate(encodings):
        n_tokens = len(encoding.ids)
        place = slice(0, n_tokens) if side == "right" else slice(shape[1] - n_tokens, shape[1])
        input_ids[row, place] = encoding.ids
        attention_mask[row, place] = 1
        special_mask[row, place] = encoding.special
    pixels = [encoding.pixels for encoding in encodings if encoding.pixels is not None]
    return TokenBatch(input_ids, attention_mask, special_mask, np.stack(pixels) if pixels else None)


def windows_of(encoding: Encoding, max_length: int) -> list[Encoding]:
    """Consecutive windows of an encoding, each with the special tokens at its ends.

    Windows do not overlap, and every ordinary token is in one of them.

    Parameters
    ----------
    encoding
        Whose special tokens stand before and after all others.
    max_length
        Most tokens of a window, special ones included; more than there are special tokens.
    """
    if len(encoding.ids) <= max_length:
        return [encoding]
    ordinary = np.flatnonzero(~encoding.special)
    first, last = int(ordinary[0]), int(ordinary[-1]) + 1
    head, body, tail = encoding.ids[:first], encoding.ids[first:last], encoding.ids[last:]
    step = max_length - len(head) - len(tail)
    windows = []
    for start in range(0, len(body), step):
        ids = np.concatenate([head, body[start : start + step], tail])
        special = np.ones(len(ids), bool)
        special[len(head) : len(ids) - len(tail)] = False
        windows.append(Encoding(ids, special))
    return windows
