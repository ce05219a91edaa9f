"""Rotary positions (Su et al. 2021) of queries and keys on a CPU, in one pass where PyTorch takes five."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit, types

from hpcgeom.models.team import in_team

Array = np.ndarray[Any, Any]


def rotated(tokens: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """tokens * scale, rotated: the bits are those of transformers' ``apply_rotary_pos_emb``.

    Parameters
    ----------
    tokens
        float32 (B, T, H, D), on the CPU.
    cos, sin
        float32 (B, T, D) or (1, T, D), of the angles; feature f turns with f + D / 2.
    scale
        Factor before the rotation.

    Returns
    -------
    torch.Tensor
        float32 (B, T, H, D).
    """
    output = torch.empty(tokens.shape)
    arrays = [tensor.expand(len(tokens), -1, -1).numpy() for tensor in (cos, sin)]
    loops, arguments = rotate(), (tokens.numpy(), *arrays, np.float32(scale), output.numpy())
    in_team(lambda first, last: loops(*arguments, first, last), tokens.shape[0] * tokens.shape[1])
    return output


@cache
def rotate() -> Callable[..., None]:
    """The loops, compiled, or read from numba's cache, at the first call, as `attend` is."""
    tokens, angles = types.Array(types.float32, 4, "A"), types.Array(types.float32, 3, "A", readonly=True)
    signature = types.void(tokens, angles, angles, types.float32, tokens, types.int64, types.int64)
    return njit(signature, nogil=True, cache=True)(_rotate_tokens)  # type: ignore[no-any-return]


def _rotate_tokens(
    token_BTHD: Array, cos_BTD: Array, sin_BTD: Array, scale: float, output_BTHD: Array, first: int, last: int
) -> None:
    """Tokens `first` to `last` of all sequences, one after the other."""
    _, n_tokens, n_heads, width = token_BTHD.shape
    half = width // 2
    for place in range(first, last):
        b, t = place // n_tokens, place % n_tokens
        cos_D, sin_D = cos_BTD[b, t], sin_BTD[b, t]
        for h in range(n_heads):
            token_D, output_D = token_BTHD[b, t, h], output_BTHD[b, t, h]
            for f in range(half):
                low, high = token_D[f] * scale, token_D[half + f] * scale
                output_D[f] = low * cos_D[f] - high * sin_D[f]
                output_D[half + f] = high * cos_D[half + f] + low * sin_D[half + f]
