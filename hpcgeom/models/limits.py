"""What a model can take in, and the check that a batch keeps to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcgeom.errors import InputError
from hpcgeom.models.request import TokenBatch

_PROBE_ROWS, _PROBE_TOKENS = 2, 5  # two different numbers: a module that swaps axes is found


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model can take in, known without building it.

    Attributes
    ----------
    vocab_size
        Rows of its embedding: ids are smaller. None if unknown.
    max_tokens
        Positions it has, special tokens included. None if it has no limit, or an unknown one.
    image_shape
        (C, H, W) of the images that it reads; all of them have `max_tokens` tokens. None for token ids.
    """

    vocab_size: int | None = None
    max_tokens: int | None = None
    image_shape: tuple[int, int, int] | None = None


def check_batch(batch: TokenBatch, limits: Limits, name: str) -> None:
    """Make sure that a batch fits a model.

    Raises
    ------
    InputError
        The batch is padded beyond the model's positions, or an id is outside its vocabulary.
    """
    n_tokens = batch.input_ids.shape[1]
    if limits.image_shape is not None:
        _check_images(batch, limits, name)
    if limits.max_tokens is not None and n_tokens > limits.max_tokens:
        lengths = batch.attention_mask.sum(axis=1)
        row = int(lengths.argmax())
        raise InputError(
            f"row {row} of a batch has {lengths[row]} tokens (batch padded to {n_tokens}), but model "
            f"'{name}' has "
            f"{limits.max_tokens} positions: lower max_length to {limits.max_tokens} and truncate"
        )
    highest = np.inf if limits.vocab_size is None else limits.vocab_size - 1
    outside = np.argwhere((batch.input_ids < 0) | (batch.input_ids > highest))
    if len(outside):
        row, position = outside[0]
        raise InputError(
            f"row {row} of a batch has token id {batch.input_ids[row, position]} at position {position}, "
            f"but model '{name}' knows ids 0 to {highest}: these are tokens of another model: encode the "
            "samples for this one"
        )


def _check_images(batch: TokenBatch, limits: Limits, name: str) -> None:
    found = None if batch.pixel_values is None else batch.pixel_values.shape[1:]
    if found != limits.image_shape or batch.input_ids.shape[1] != limits.max_tokens:
        raise InputError(
            f"model '{name}' reads images of shape {limits.image_shape} as {limits.max_tokens} tokens; found "
            f"{found or 'no images'} and {batch.input_ids.shape[1]} tokens: encode them for this model"
        )


def probe_batch(limits: Limits) -> TokenBatch:
    """A few tokens with id 0, or two black images, to find shapes with."""
    if limits.image_shape is not None:
        shape = (_PROBE_ROWS, limits.max_tokens or 1)
        pixels = np.zeros((_PROBE_ROWS, *limits.image_shape), np.float32)
        return TokenBatch(np.zeros(shape, np.int64), np.ones(shape, np.int64), np.zeros(shape, bool), pixels)
    shape = (_PROBE_ROWS, min(_PROBE_TOKENS, limits.max_tokens or _PROBE_TOKENS))
    return TokenBatch(np.zeros(shape, np.int64), np.ones(shape, np.int64), np.zeros(shape, bool))
