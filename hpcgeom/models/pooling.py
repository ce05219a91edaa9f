"""How the tokens of a sequence become one point."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hpcgeom.catalog.sites import TOKENS_POOLING, is_pooling, pooling_words, token_position
from hpcgeom.errors import InputError
from hpcgeom.models.request import TokenBatch

_OVER_ORDINARY = frozenset({"mean", "max", "std", TOKENS_POOLING})


@dataclass(frozen=True, slots=True, eq=False)
class BatchMasks:
    """Which positions of a batch count; made once per batch, used at every layer.

    Attributes
    ----------
    real
        bool (B, T): tokens, special ones included; False at padding.
    ordinary
        bool (B, T): tokens that are not special.
    first, last
        int64 (B,): positions of the first and the last real token, whichever side is padded.
    """

    real: torch.Tensor
    ordinary: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor

    @classmethod
    def of(cls, batch: TokenBatch, device: torch.device | str = "cpu") -> BatchMasks:
        """The masks of `batch` on `device`."""
        real = torch.from_numpy(batch.attention_mask).to(device) == 1
        ordinary = real & ~torch.from_numpy(batch.special_mask).to(device)
        n_tokens = real.shape[1]
        ones = real.to(torch.int8)
        return cls(real, ordinary, ones.argmax(dim=1), n_tokens - 1 - ones.flip(1).argmax(dim=1))

    def n_points(self, pooling: str) -> int:
        """How many points a pooling makes of the batch."""
        return int(self.ordinary.sum()) if pooling == TOKENS_POOLING else len(self.real)

    def on(self, device: torch.device) -> BatchMasks:
        """The same masks on `device`: parts of a model may be on several."""
        if self.real.device == device:
            return self
        return BatchMasks(*(getattr(self, name).to(device) for name in self.__slots__))


def check_poolable(masks: BatchMasks, poolings: frozenset[str]) -> None:
    """Refuse rows that a pooling would average over nothing.

    Raises
    ------
    InputError
        A pooling is unknown, a row has no ordinary token and a pooling is over these, or a row is too short
        for a ``token:<i>``.
    """
    if unknown := sorted(name for name in poolings if not is_pooling(name)):
        raise InputError(
            f"unknown pooling '{unknown[0]}': expected one of {pooling_words()}: choose one of them"
        )
    for name in sorted(poolings & _OVER_ORDINARY):
        empty = torch.nonzero(~masks.ordinary.any(dim=1))
        if len(empty):
            raise InputError(
                f"row {int(empty[0])} of a token batch has special tokens only, so pooling '{name}' has "
                "nothing to pool: drop the sample or use mean_all"
            )
    n_real = masks.last - masks.first + 1
    for name in sorted(poolings):
        position = token_position(name)
        needed = 0 if position is None else position + 1 if position >= 0 else -position
        short = torch.nonzero(n_real < needed)
        if len(short):
            row = int(short[0])
            raise InputError(
                f"row {row} of a token batch has {int(n_real[row])} tokens, so pooling '{name}' has no token "
                "to read: drop the sample or read a position that all samples have"
            )


def pool(
    hidden: torch.Tensor, masks: BatchMasks, pooling: str, out: torch.Tensor | None = None
) -> torch.Tensor:
    """One point per sequence (or per token), in float32 whatever the dtype of the model.

    Parameters
    ----------
    hidden
        (B, T, D), any floating dtype; values at padding are never used, not even multiplied by zero.
    masks
        Of the same batch, on the same device.
    pooling
        ``mean`` (special tokens and padding out), ``mean_all`` (padding out), ``max`` and ``std`` (over the
        tokens of ``mean``; the standard deviation divides by their number), ``first``, ``last`` or
        ``token:<i>`` (real token, special ones included), or ``tokens``.
    out
        Where the points go: float32, contiguous, of their shape; None for new memory.

    Returns
    -------
    torch.Tensor
        float32 (B, D); for ``tokens`` (n_points, D): the tokens of ``mean`` of one row after the other.

    Raises
    ------
    InputError
        The pooling is unknown.
    """
    if (positions := _positions(masks, pooling)) is not None:
        return _chosen(hidden, positions, out)
    points = _over_tokens(hidden, masks, pooling)
    return points if out is None else out.copy_(points)


def _positions(masks: BatchMasks, pooling: str) -> torch.Tensor | None:
    """Positions of the tokens that are points themselves, rows of a batch one after the other."""
    if pooling == TOKENS_POOLING:
        return torch.nonzero(masks.ordinary.flatten())[:, 0]
    if pooling in ("first", "last"):
        position = masks.first if pooling == "first" else masks.last
    elif (place := token_position(pooling)) is not None:
        position = masks.first + place if place >= 0 else masks.last + 1 + place
    else:
        return None
    n_rows, n_tokens = masks.real.shape
    return torch.arange(n_rows, device=position.device) * n_tokens + position


def _chosen(hidden: torch.Tensor, positions: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    tokens = hidden.flatten(0, 1)
    # a row at a time: on a CPU hidden[arange, position] takes three times as long
    if out is not None and tokens.dtype == torch.float32:
        return torch.index_select(tokens, 0, positions, out=out)
    points = tokens.index_select(0, positions).float()
    return points if out is None else out.copy_(points)


def _over_tokens(hidden: torch.Tensor, masks: BatchMasks, pooling: str) -> torch.Tensor:
    if pooling == "std":
        return _standard_deviation(hidden, masks.ordinary)
    if pooling in ("mean", "mean_all"):
        used = masks.ordinary if pooling == "mean" else masks.real
        # the sum is taken in float32 from values of the model's dtype: no float32 copy of all tokens
        total = hidden.masked_fill(~used[:, :, None], 0).sum(dim=1, dtype=torch.float32)
        return total / used.sum(dim=1, keepdim=True)
    if pooling == "max":
        return hidden.masked_fill(~masks.ordinary[:, :, None], -torch.inf).amax(dim=1).float()
    raise InputError(f"unknown pooling '{pooling}': expected one of {pooling_words()}: choose one of them")


def _standard_deviation(hidden: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    # in two passes: squares of activations with a large mean would leave no digits
    ignored, n_used = ~used[:, :, None], used.sum(dim=1, keepdim=True)
    mean = hidden.masked_fill(ignored, 0).sum(dim=1, dtype=torch.float32) / n_used
    deviation = (hidden.float() - mean[:, None, :]).masked_fill_(ignored, 0)
    return (deviation.square_().sum(dim=1) / n_used).sqrt()
