"""Vision transformers (Dosovitskiy et al. 2021): pre-norm blocks over a class token and patches.

`hidden_states` at the last layer is after the final norm, as for all families; transformers' tuple of hidden
states ends before it (that is `resid`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from hpcgeom.errors import InputError
from hpcgeom.models.layout import BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys

LAYOUT = BlockLayout(
    blocks="layers",
    sites={
        "ln_1": SitePath("layernorm_before"),
        "q": SitePath("attention.q_proj"),
        "k": SitePath("attention.k_proj"),
        "v": SitePath("attention.v_proj"),
        "z": SitePath("attention.o_proj", "input"),
        "attn_out": SitePath("attention.o_proj"),
        "resid_mid": SitePath("layernorm_after", "input"),
        "ln_2": SitePath("layernorm_after"),
        "mlp_pre": SitePath("mlp.fc1"),
        "mlp_act": SitePath("mlp.fc2", "input"),
        "mlp_out": SitePath("mlp.fc2"),
    },
    final_norm="layernorm",
    embeddings={"token_embed": SitePath("embeddings.patch_embeddings", prefix="embeddings.cls_token")},
    attention=SitePath("attention", item=1),
)

RENAMES = (
    (r"encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"attention\.attention\.query\.", "attention.q_proj."),
    (r"attention\.attention\.key\.", "attention.k_proj."),
    (r"attention\.attention\.value\.", "attention.v_proj."),
    (r"attention\.output\.dense\.", "attention.o_proj."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
UNUSED = (r"(^|\.)pooler\.", r"(^|\.)embeddings\.mask_token$", r"^decoder\.")


def limits(request: ModelRequest) -> Limits:
    """Images of the config.json of `request`: a class token and its patches."""
    config = _config(request)
    n_tokens = 1 + (config.image_size // config.patch_size) ** 2
    return Limits(None, n_tokens, (config.num_channels, config.image_size, config.image_size))


def build(request: ModelRequest) -> Skeleton:
    """ViTModel without pooler, or ViTForImageClassification where logits are read.

    Raises
    ------
    InputError
        config.json is missing or belongs to another architecture.
    """
    config = _config(request)

    def construct() -> torch.nn.Module:
        if request.needs_head:
            return ViTForImageClassification(config)  # type: ignore[no-any-return]
        return ViTModel(config, add_pooling_layer=False)  # type: ignore[no-any-return]

    heads = config.num_attention_heads
    layout = replace(LAYOUT, n_heads=heads, n_kv_heads=heads)
    if request.needs_head:
        layout = layout.below("vit", Head("classifier", "first"))
    keys = table_of_keys(request, "vit", ("classifier",), RENAMES, UNUSED)
    return Skeleton(build_model(request, construct), layout, keys, inputs=("pixel_values",))


def _config(request: ModelRequest) -> Any:
    config = read_config(request, {"vit": ViTConfig})
    sizes = (config.image_size, config.patch_size)
    if not all(isinstance(size, int) for size in sizes) or config.image_size % config.patch_size:
        raise InputError(
            f"config.json of '{request.name}': image_size {sizes[0]} and patch_size {sizes[1]}: expected "
            "square images of a whole number of patches: correct them"
        )
    return config
