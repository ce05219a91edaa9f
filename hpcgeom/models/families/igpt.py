"""Image GPT (Chen et al. 2020) and its BERT-trained twin: GPT-2's blocks with another norm, over colors.

The twin's config.json has ``"bert": true`` (as the converter writes it): its attention is not causal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling, ImageGPTModel

from hpcgeom.errors import InputError
from hpcgeom.models.families.gpt2 import LAYOUT as GPT2_LAYOUT
from hpcgeom.models.families.gpt2 import UNUSED
from hpcgeom.models.layout import Head
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys


def limits(request: ModelRequest) -> Limits:
    """Colors (and the start token) and pixels of the config.json of `request`."""
    config = _config(request)
    return Limits(int(config.vocab_size), int(config.n_positions))


def build(request: ModelRequest) -> Skeleton:
    """ImageGPTModel, or ImageGPTForCausalImageModeling where logits are read.

    Raises
    ------
    InputError
        config.json is missing or belongs to another architecture.
    """
    config = _config(request)

    def construct() -> torch.nn.Module:
        base = ImageGPTModel(config)
        if not request.needs_head:
            return base  # type: ignore[no-any-return]
        model = ImageGPTForCausalImageModeling(config)
        model.transformer = base  # its own would be drawn twice: other random numbers than without a head
        return model  # type: ignore[no-any-return]

    layout = replace(GPT2_LAYOUT, n_heads=config.n_head, n_kv_heads=config.n_head)
    if request.needs_head:
        layout = layout.below("transformer", Head("lm_head"))
    keys = table_of_keys(request, "transformer", ("lm_head", "score"), (), UNUSED)
    model = build_model(request, construct)
    if getattr(config, "bert", False):
        for block in layout.blocks_of(model):
            block.attn.bias.fill_(True)  # the causal mask, whatever the configuration says
    return Skeleton(model, layout, keys, arguments={"use_cache": False})


def _config(request: ModelRequest) -> Any:
    # the code of this architecture computes attention in one way only
    fixed = {"attn_implementation": "eager", "add_cross_attention": False}
    config = read_config(request, {"imagegpt": ImageGPTConfig}, fixed)
    if not isinstance(getattr(config, "bert", False), bool):
        raise InputError(
            f"config.json of '{request.name}': bert is {config.bert!r}: expected true or false: correct it"
        )
    return config
