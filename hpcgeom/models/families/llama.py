"""Llama (Touvron et al. 2023) and what shares its architecture (Llama 3, Mistral).

Causal pre-norm blocks with RMSNorm, rotary positions, grouped-query attention and a gated MLP: `mlp_pre` is
the gate before its activation, `mlp_act` the activated gate times the other branch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
)

from hpcgeom.errors import InputError
from hpcgeom.models.layout import BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys

LAYOUT = BlockLayout(
    blocks="layers",
    sites={
        "ln_1": SitePath("input_layernorm"),
        "q": SitePath("self_attn.q_proj"),
        "k": SitePath("self_attn.k_proj"),
        "v": SitePath("self_attn.v_proj"),
        "z": SitePath("self_attn.o_proj", "input"),
        "attn_out": SitePath("self_attn.o_proj"),
        "resid_mid": SitePath("post_attention_layernorm", "input"),
        "ln_2": SitePath("post_attention_layernorm"),
        "mlp_pre": SitePath("mlp.gate_proj"),
        "mlp_act": SitePath("mlp.down_proj", "input"),
        "mlp_out": SitePath("mlp.down_proj"),
    },
    final_norm="norm",
    embeddings={"token_embed": SitePath("embed_tokens")},
    attention=SitePath("self_attn", item=1),
)

CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig}
MODELS = {"llama": (LlamaModel, LlamaForCausalLM), "mistral": (MistralModel, MistralForCausalLM)}
UNUSED = (r"(^|\.)rotary_emb\.inv_freq$",)
STATELESS_ROPE = frozenset({"default", "linear", "llama3", "yarn"})


def limits(request: ModelRequest) -> Limits:
    """Vocabulary and positions of the config.json of `request`."""
    config = _config(request)
    return Limits(int(config.vocab_size), int(config.max_position_embeddings))


def build(request: ModelRequest) -> Skeleton:
    """LlamaModel or MistralModel, or the same for causal language modeling where logits are read.

    Raises
    ------
    InputError
        config.json is missing, belongs to another architecture, or has a rotary embedding whose values
        depend on earlier batches.
    """
    config = _config(request)

    def construct() -> torch.nn.Module:
        base, with_head = MODELS[config.model_type]
        return (with_head if request.needs_head else base)(config)  # type: ignore[no-any-return]

    layout = replace(LAYOUT, n_heads=config.num_attention_heads, n_kv_heads=config.num_key_value_heads)
    if request.needs_head:
        layout = layout.below("model", Head("lm_head"))
    keys = table_of_keys(request, "model", ("lm_head", "score"), (), UNUSED)
    return Skeleton(build_model(request, construct), layout, keys, arguments={"use_cache": False})


def _config(request: ModelRequest) -> Any:
    config = read_config(request, CONFIGS)
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind not in STATELESS_ROPE:
        raise InputError(
            f"config.json of '{request.name}': rope_type is '{kind}', with which the numbers of a batch "
            f"depend on the batches before it: expected one of {', '.join(sorted(STATELESS_ROPE))}: "
            "name another model"
        )
    return config
