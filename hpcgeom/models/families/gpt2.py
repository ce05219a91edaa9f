"""GPT-2 (Radford et al. 2019): causal pre-norm blocks, learned positions, one product for q, k and v."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model

from hpcgeom.models.layout import BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys

LAYOUT = BlockLayout(
    blocks="h",
    sites={
        "ln_1": SitePath("ln_1"),
        "q": SitePath("attn.c_attn", part=(0, 3)),
        "k": SitePath("attn.c_attn", part=(1, 3)),
        "v": SitePath("attn.c_attn", part=(2, 3)),
        "z": SitePath("attn.c_proj", "input"),
        "attn_out": SitePath("attn.c_proj"),
        "resid_mid": SitePath("ln_2", "input"),
        "ln_2": SitePath("ln_2"),
        "mlp_pre": SitePath("mlp.c_fc"),
        "mlp_act": SitePath("mlp.c_proj", "input"),
        "mlp_out": SitePath("mlp.c_proj"),
    },
    final_norm="ln_f",
    embeddings={"token_embed": SitePath("wte"), "pos_embed": SitePath("wpe")},
    attention=SitePath("attn", item=1),
)

UNUSED = (r"(^|\.)attn\.(bias|masked_bias)$",)


def limits(request: ModelRequest) -> Limits:
    """Vocabulary and positions of the config.json of `request`."""
    config = _config(request)
    return Limits(int(config.vocab_size), int(config.n_positions))


def build(request: ModelRequest) -> Skeleton:
    """GPT2Model, or GPT2LMHeadModel where logits are read.

    Raises
    ------
    InputError
        config.json is missing or belongs to another architecture.
    """
    config = _config(request)

    def construct() -> torch.nn.Module:
        return GPT2LMHeadModel(config) if request.needs_head else GPT2Model(config)

    layout = replace(LAYOUT, n_heads=config.n_head, n_kv_heads=config.n_head)
    if request.needs_head:
        layout = layout.below("transformer", Head("lm_head"))
    keys = table_of_keys(request, "transformer", ("lm_head", "score", "multiple_choice_head"), (), UNUSED)
    return Skeleton(build_model(request, construct), layout, keys, arguments={"use_cache": False})


def _config(request: ModelRequest) -> Any:
    return read_config(request, {"gpt2": GPT2Config}, {"add_cross_attention": False})
