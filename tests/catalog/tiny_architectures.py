"""Small models of every family as transformers builds them, with sizes that are all different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    EsmConfig,
    EsmForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    ImageGPTConfig,
    ImageGPTForCausalImageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from hpcgeom.catalog.facts import facts_of
from hpcgeom.catalog.sizes import ModelFacts

MODELS = {
    "bert": (BertConfig, BertForMaskedLM),
    "esm": (EsmConfig, EsmForMaskedLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "imagegpt": (ImageGPTConfig, ImageGPTForCausalImageModeling),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "vit": (ViTConfig, ViTForImageClassification),
}
FAMILY_OF = {"esm": "esm2", "imagegpt": "igpt", "mistral": "llama"}

_ENCODER = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
_NO_SPECIAL = {"bos_token_id": None, "eos_token_id": None}
_GPT = {"n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 18, "vocab_size": 50, **_NO_SPECIAL}
_LLAMA = {**_ENCODER, "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 34}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "bert": {**_ENCODER, "vocab_size": 50, "max_position_embeddings": 34},
    "esm": {
        **_ENCODER,
        "vocab_size": 33,
        "max_position_embeddings": 34,
        "position_embedding_type": "rotary",
        "pad_token_id": 1,
        "mask_token_id": 32,
    },
    "gpt2": _GPT,
    "imagegpt": {**_GPT, "n_inner": 40},
    "llama": _LLAMA,
    "mistral": {**_LLAMA, "head_dim": 8},
    "vit": {**_ENCODER, "image_size": 20, "patch_size": 5, "num_labels": 7},
}


def config_of(model_type: str, **changes: Any) -> dict[str, Any]:
    """What a small config.json holds; a change to None takes the key out."""
    found = {"model_type": model_type, **CONFIGS[model_type], **changes}
    return {key: value for key, value in found.items() if value is not None or key not in changes}


def build(config: Mapping[str, Any], device: str = "meta") -> torch.nn.Module:
    """The model with its head, without reading any weights."""
    config_class, model_class = MODELS[config["model_type"]]
    with torch.device(device):
        model = model_class(config_class.from_dict({**config, "attn_implementation": "eager"}))
    return model.eval()


def facts(config: Mapping[str, Any]) -> ModelFacts:
    """Our facts of the same configuration."""
    model_type = config["model_type"]
    return facts_of(config, FAMILY_OF.get(model_type, model_type), "config.json")


def count(model: torch.nn.Module) -> int:
    """Parameters that are run: the contact head of ESM is one of its own."""
    return sum(p.numel() for name, p in model.named_parameters() if "contact_head" not in name)
