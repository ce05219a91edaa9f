"""Attention of a CPU by compiled loops, under a name that models of transformers are told.

For float32 PyTorch's fused attention asks MKL for products of a few rows, which take twice as long as the
loops of ``attention_loops`` where the processor has AVX-512. All else stays PyTorch's: other devices and
dtypes, gradients, and masks that are neither causal nor of whole keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hpcgeom.models.attention_loops import attend, n_tiles
from hpcgeom.models.team import in_team, is_there

NAME = "hpcgeom"
"""The ``attn_implementation`` of models that are built here."""

_IS_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX512"
_UNKNOWN = ("position_bias", "softcap", "cache")
"""What PyTorch's, too, is asked for by transformers, and is not done here."""


def prepare() -> None:
    """Compile the loops, or read them from numba's cache, so that no batch waits for it."""
    if is_for_loops():
        attend()


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it: (B, H, T, D), (B, G, S, D) and (B, G, S, D) to (B, T, H, D)."""
    asked = getattr(module, "is_causal", True) if is_causal is None else is_causal
    is_plain = dropout == 0.0 and all(more.get(name) is None for name in _UNKNOWN)
    if is_plain and is_for_loops(query, key, value):
        form = _form_of(attention_mask, query, key, bool(asked))
        if form is not None:
            scale = query.shape[-1] ** -0.5 if scaling is None else scaling
            return attention(query, key, value, *form, scale), None
    return sdpa_attention_forward(  # type: ignore[no-any-return]
        module, query, key, value, attention_mask,
        dropout=dropout, scaling=scaling, is_causal=is_causal, **more,
    )  # fmt: skip


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    is_seen: torch.Tensor,
    is_causal: bool,
    scale: float,
) -> torch.Tensor:
    """Attention by compiled loops, with as many threads as torch has.

    Parameters
    ----------
    query, key, value
        float32 (B, H, T, D), (B, G, S, D) and (B, G, S, D), H a multiple of G.
    is_seen
        bool (B, S): which keys count.
    is_causal
        Whether each query sees the keys up to its own place only.
    scale
        Of the scores.

    Returns
    -------
    torch.Tensor
        float32 (B, T, H, D); zero where a query sees no key.
    """
    batch, n_heads, n_queries, width = query.shape
    output = torch.empty(batch, n_queries, n_heads, width)
    tokens = [each_one.transpose(1, 2).numpy() for each_one in (query, key, value)]
    keys = is_seen.contiguous().numpy()
    loops, arguments = attend(), (*tokens, keys, is_causal, np.float32(scale), output.numpy())
    in_team(lambda first, last: loops(*arguments, first, last), n_tiles(batch, n_heads, n_queries))
    return output


def is_for_loops(*tensors: torch.Tensor) -> bool:
    """Whether compiled loops take these tensors, and are faster on this processor."""

    def is_ours(tensor: torch.Tensor) -> bool:
        is_kept = torch.is_grad_enabled() and tensor.requires_grad
        return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and not is_kept

    return _IS_FASTER and is_there() and all(is_ours(tensor) for tensor in tensors)


def _form_of(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, is_causal: bool
) -> tuple[torch.Tensor, bool] | None:
    """Which keys are seen at all, (B, S), and whether only those up to a query; None for other masks."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    is_square = n_queries == n_keys
    if mask is None:
        is_seen = torch.ones(len(key), n_keys, dtype=torch.bool)
        return (is_seen, is_causal and n_queries > 1) if is_square or not is_causal else None
    if mask.dtype != torch.bool or mask.shape != (len(key), 1, n_queries, n_keys):
        return None
    is_seen = mask[:, 0, -1]  # by the last query, who sees all that any other does
    if torch.equal(mask, is_seen[:, None, None].expand_as(mask)):
        return is_seen, False
    before = torch.ones(n_queries, n_keys, dtype=torch.bool).tril()
    return (is_seen, True) if is_square and torch.equal(mask, is_seen[:, None, None] & before) else None


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
