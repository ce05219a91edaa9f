"""ESM-2 protein language models (Lin et al. 2023): pre-norm blocks, rotary positions.

Hidden states are those of fair-esm and of ``EsmModel(..., output_hidden_states=True)``: the residual stream,
and the final norm at the last layer. The embedding is scaled by 1 - 0.15 * 0.8 where the model was trained
with token dropout, as both do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import EsmConfig, EsmForMaskedLM, EsmModel
from transformers.models.esm.modeling_esm import EsmSelfAttention

from hpcgeom.errors import InputError
from hpcgeom.models import attention
from hpcgeom.models.layout import BlockLayout, Head, SitePath
from hpcgeom.models.limits import Limits
from hpcgeom.models.linears import linear_gelu
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.rotary import rotate, rotated
from hpcgeom.models.skeletons import Skeleton, build_model, read_config, table_of_keys

LAYOUT = BlockLayout(
    blocks="encoder.layer",
    sites={
        "ln_1": SitePath("attention.LayerNorm"),
        "q": SitePath("attention.self.query"),
        "k": SitePath("attention.self.key"),
        "v": SitePath("attention.self.value"),
        "z": SitePath("attention.output.dense", "input"),
        "attn_out": SitePath("attention.output.dense"),
        "resid_mid": SitePath("LayerNorm", "input"),
        "ln_2": SitePath("LayerNorm"),
        "mlp_pre": SitePath("intermediate.dense"),
        "mlp_act": SitePath("output.dense", "input"),
        "mlp_out": SitePath("output.dense"),
    },
    final_norm="encoder.emb_layer_norm_after",
    embeddings={"token_embed": SitePath("embeddings.word_embeddings")},
    attention=SitePath("attention.self", item=1),
)

# one table of frequencies for all blocks; older files hold a copy in every block, newer ones a star
_FREQUENCIES = r"encoder\.layer\.{}\.attention\.self\.rotary_embeddings\.inv_freq$"
RENAMES = (
    (_FREQUENCIES.format(r"(0|\*)"), "rotary_embeddings.inv_freq"),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
)
UNUSED = (
    _FREQUENCIES.format(r"\d+"),
    r"(^|\.)pooler\.",
    r"(^|\.)contact_head\.",
    r"(^|\.)embeddings\.position_ids$",
    r"(^|\.)embeddings\.position_embeddings\.weight$",
)
OPTIONAL = (r"(^|\.)rotary_embeddings\.inv_freq$",)


class Intermediate(torch.nn.Module):
    """First half of the MLP of a block, its GELU in one pass.

    transformers spells the formula out, in five passes over the widest activations of the model, which take
    a seventh of its whole time. In float32 the two differ by at most 2e-6; in bfloat16 this one is nearer to
    the formula, as it rounds once.
    """

    def __init__(self, dense: torch.nn.Linear) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, D) to (B, T, mlp_width)."""
        return linear_gelu(self.dense, hidden)


class SelfAttention(EsmSelfAttention):  # type: ignore[misc]
    """Attention of a block; queries and keys are rotated in one pass, where compiled loops do the rest."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, T, D) to (B, T, D), and to maps where the eager attention is asked for."""
        is_compiled = attention.is_for_loops(hidden_states) and encoder_hidden_states is None
        if self.config._attn_implementation != attention.NAME or not is_compiled:
            return super().forward(  # type: ignore[no-any-return]
                hidden_states, attention_mask, encoder_hidden_states, encoder_attention_mask,
                position_embeddings, **more,
            )  # fmt: skip
        assert position_embeddings is not None  # `_config` takes rotary positions only
        width = self.attention_head_size
        query, key, value = (
            layer(hidden_states).unflatten(-1, (-1, width)) for layer in (self.query, self.key, self.value)
        )
        query = rotated(query, *position_embeddings, scale=width**-0.5)
        key = rotated(key, *position_embeddings)
        query, key, value = (tokens.transpose(1, 2) for tokens in (query, key, value))
        output, _ = attention.attention_forward(
            self, query, key, value, attention_mask, scaling=self.scaling, **more
        )
        return output.flatten(-2), None


def limits(request: ModelRequest) -> Limits:
    """Vocabulary of the config.json of `request`; rotary positions have no end."""
    return Limits(int(_config(request).vocab_size))


def build(request: ModelRequest) -> Skeleton:
    """EsmModel, or EsmForMaskedLM where logits are read; without pooler and contact head.

    Raises
    ------
    InputError
        config.json is missing, belongs to another architecture, or to an older ESM.
    """
    config = _config(request)
    if attention.is_for_loops():
        rotate()  # compiled now, so that no batch waits for it

    def construct() -> torch.nn.Module:
        model = EsmForMaskedLM(config) if request.needs_head else EsmModel(config, add_pooling_layer=False)
        base = model.esm if request.needs_head else model
        base.contact_head = torch.nn.Identity()
        for block in base.encoder.layer:
            block.intermediate = Intermediate(block.intermediate.dense)
            block.attention.self.__class__ = SelfAttention
        return model  # type: ignore[no-any-return]

    heads = config.num_attention_heads
    layout = replace(LAYOUT, n_heads=heads, n_kv_heads=heads)
    if request.needs_head:
        layout = layout.below("esm", Head("lm_head"))
    keys = table_of_keys(request, "esm", ("lm_head", "classifier"), RENAMES, UNUSED, OPTIONAL)
    return Skeleton(build_model(request, construct), layout, keys)


def _config(request: ModelRequest) -> Any:
    config = read_config(request, {"esm": EsmConfig})
    if config.position_embedding_type != "rotary" or config.emb_layer_norm_before:
        raise InputError(
            f"config.json of '{request.name}' is not that of an ESM-2 model (position_embedding_type "
            f"'{config.position_embedding_type}', emb_layer_norm_before {config.emb_layer_norm_before}): "
            "expected 'rotary' and false, name an ESM-2 model"
        )
    return config
