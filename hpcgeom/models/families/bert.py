"""BERT encoders (Devlin et al. 2019): post-norm blocks, learned positions.

Hidden states are those of ``BertModel(..., output_hidden_states=True)``: layer 0 is the embedding after its
norm, layer l the output of block l after its norm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from hpcgeom.errors import InputError
from hpcgeom.models.layout import BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys

LAYOUT = BlockLayout(
    blocks="encoder.layer",
    sites={
        "q": SitePath("attention.self.query"),
        "k": SitePath("attention.self.key"),
        "v": SitePath("attention.self.value"),
        "z": SitePath("attention.output.dense", "input"),
        "attn_out": SitePath("attention.output.dense"),
        "resid_mid": SitePath("attention.output.LayerNorm"),
        "mlp_pre": SitePath("intermediate.dense"),
        "mlp_act": SitePath("output.dense", "input"),
        "mlp_out": SitePath("output.dense"),
    },
    post_norm=True,
    embeddings={
        "token_embed": SitePath("embeddings.word_embeddings"),
        "pos_embed": SitePath("embeddings.position_embeddings"),
    },
    attention=SitePath("attention.self", item=1),
)

RENAMES = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))
UNUSED = (r"(^|\.)pooler\.", r"(^|\.)embeddings\.(position_ids|token_type_ids)$", r"^cls\.seq_relationship\.")


def limits(request: ModelRequest) -> Limits:
    """Vocabulary and positions of the config.json of `request`."""
    config = _config(request)
    return Limits(int(config.vocab_size), int(config.max_position_embeddings))


def build(request: ModelRequest) -> Skeleton:
    """BertModel without pooler, or BertForMaskedLM where logits are read.

    Raises
    ------
    InputError
        config.json is missing or belongs to another architecture.
    """
    config = _config(request)

    def construct() -> torch.nn.Module:
        return BertForMaskedLM(config) if request.needs_head else BertModel(config, add_pooling_layer=False)

    heads = config.num_attention_heads
    layout = replace(LAYOUT, n_heads=heads, n_kv_heads=heads)
    if request.needs_head:
        layout = layout.below("bert", Head("cls"))
    keys = table_of_keys(request, "bert", ("cls", "classifier", "qa_outputs"), RENAMES, UNUSED)
    return Skeleton(build_model(request, construct), layout, keys, arguments={"use_cache": False})


def _config(request: ModelRequest) -> Any:
    # a chunked feed-forward would run hooks several times per block
    config = read_config(request, {"bert": BertConfig}, {"chunk_size_feed_forward": 0})
    kind = getattr(config, "position_embedding_type", "absolute")
    if kind != "absolute":
        raise InputError(
            f"config.json of '{request.name}': position_embedding_type is '{kind}': only 'absolute' is "
            "supported: use the family module, with a factory that makes this model"
        )
    return config
