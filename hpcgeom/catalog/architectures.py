"""How each family of models turns its configuration into sizes: the keys it uses, and what they count.

Keys, and what an absent one means, are those of transformers' configuration classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hpcgeom.catalog.settings import Settings
from hpcgeom.catalog.sizes import ModelFacts

_MISTRAL_KV_HEADS = 8
_ESM_OFFSET = 2
"""Positions of ESM start after the padding token's id, which is 1."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one family is read.

    Attributes
    ----------
    model_types
        Values of ``model_type`` in config.json.
    read
        Sizes from the settings; raises InputError for those that are wrong.
    """

    model_types: tuple[str, ...]
    read: Callable[[Settings], ModelFacts]


@dataclass(frozen=True, slots=True)
class _Block:
    """The matrices of one block."""

    width: int
    n_heads: int
    head_dim: int
    mlp_width: int
    n_kv_heads: int
    is_gated_mlp: bool = False

    @property
    def queries(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def qkv(self) -> int:
        return self.queries + 2 * self.n_kv_heads * self.head_dim

    @property
    def n_weights(self) -> int:
        """Entries of the matrices, without biases."""
        mlp = (3 if self.is_gated_mlp else 2) * self.width * self.mlp_width
        return self.width * (self.qkv + self.queries) + mlp

    @property
    def n_biases(self) -> int:
        """Where each of the six matrices of an MLP without gate and its attention has one."""
        return self.qkv + self.mlp_width + 2 * self.width

    def facts(
        self,
        settings: Settings,
        layers_key: str,
        *,
        n_more: int,
        n_around: int,
        vocab_size: int,
        max_positions: int,
        n_head_parameters: int,
        n_outputs: int,
        n_image_tokens: int = 0,
        n_patch_values: int = 0,
    ) -> ModelFacts:
        """Sizes of a chain of such blocks with `n_more` biases and norms each, and `n_around` outside."""
        n_layers, n_block = settings.positive(layers_key), self.n_weights + n_more
        return ModelFacts(
            n_layers=n_layers,
            width=self.width,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            mlp_width=self.mlp_width,
            vocab_size=vocab_size,
            max_positions=max_positions,
            n_parameters=n_around + n_layers * n_block,
            n_block_parameters=n_block,
            n_head_parameters=n_head_parameters,
            is_gated_mlp=self.is_gated_mlp,
            n_image_tokens=n_image_tokens,
            n_patch_values=n_patch_values,
            n_outputs=n_outputs,
        )


def _encoder_block(settings: Settings) -> _Block:
    """A block in the words of BERT."""
    width, n_heads = (
        settings.multiple("hidden_size", "num_attention_heads"),
        settings.positive("num_attention_heads"),
    )
    return _Block(width, n_heads, width // n_heads, settings.positive("intermediate_size"), n_heads)


def _masked_head(settings: Settings, width: int, vocab_size: int, n_untied: int) -> int:
    """A dense layer, a norm, and scores with a bias; `n_untied` more where the table of tokens is no part."""
    is_tied = settings.flag("tie_word_embeddings", default=True)
    return width * width + 3 * width + vocab_size + (0 if is_tied else n_untied)


def _bert(settings: Settings) -> ModelFacts:
    settings.must_be("position_embedding_type", "absolute", "absolute", "name a model with learned positions")
    settings.must_be("is_decoder", False, False, "name an encoder")
    block = _encoder_block(settings)
    vocab_size, positions = settings.positive("vocab_size"), settings.positive("max_position_embeddings")
    types = settings.positive("type_vocab_size", 2)
    n_untied = vocab_size * (block.width + 1)  # a matrix, and transformers' second bias
    return block.facts(
        settings,
        "num_hidden_layers",
        n_more=block.n_biases + 4 * block.width,
        n_around=(vocab_size + positions + types + 2) * block.width,
        vocab_size=vocab_size,
        max_positions=positions,
        n_head_parameters=_masked_head(settings, block.width, vocab_size, n_untied),
        n_outputs=vocab_size,
    )


def _esm2(settings: Settings) -> ModelFacts:
    advice = "name an ESM-2 model"
    settings.must_be("is_folding_model", False, False, advice)
    settings.must_be("position_embedding_type", "rotary", "absolute", advice)
    settings.must_be("emb_layer_norm_before", False, False, advice)
    settings.must_be("is_decoder", False, False, advice)
    block = _encoder_block(settings)
    _check_rotary(settings, block.head_dim)
    vocab_size, positions = settings.positive("vocab_size"), settings.positive("max_position_embeddings")
    if positions <= _ESM_OFFSET:
        settings.refuse("max_position_embeddings", f"a number above {_ESM_OFFSET}")
    n_untied = vocab_size * block.width
    return block.facts(
        settings,
        "num_hidden_layers",
        n_more=block.n_biases + 4 * block.width,
        n_around=(vocab_size + 2) * block.width,
        vocab_size=vocab_size,
        max_positions=positions - _ESM_OFFSET,
        n_head_parameters=_masked_head(settings, block.width, vocab_size, n_untied),
        n_outputs=vocab_size,
    )


def _gpt_block(settings: Settings) -> _Block:
    """A block in the words of GPT-2."""
    width, n_heads = settings.multiple("n_embd", "n_head"), settings.positive("n_head")
    return _Block(width, n_heads, width // n_heads, settings.optional("n_inner") or 4 * width, n_heads)


def _gpt2(settings: Settings) -> ModelFacts:
    block = _gpt_block(settings)
    vocab_size, positions = settings.positive("vocab_size"), settings.positive("n_positions")
    is_tied = settings.flag("tie_word_embeddings", default=True)
    return block.facts(
        settings,
        "n_layer",
        n_more=block.n_biases + 4 * block.width,
        n_around=(vocab_size + positions + 2) * block.width,
        vocab_size=vocab_size,
        max_positions=positions,
        n_head_parameters=0 if is_tied else vocab_size * block.width,
        n_outputs=vocab_size,
    )


def _igpt(settings: Settings) -> ModelFacts:
    block = _gpt_block(settings)
    vocab_size, positions = settings.positive("vocab_size"), settings.positive("n_positions")
    is_tied = settings.flag("tie_word_embeddings", default=False)
    # The start of an image is read and never predicted; a shared table has a row for it all the same.
    n_outputs = vocab_size if is_tied else vocab_size - 1
    return block.facts(
        settings,
        "n_layer",
        n_more=block.n_biases + 2 * block.width,  # norms without bias
        n_around=(vocab_size + positions + 1) * block.width,
        vocab_size=vocab_size,
        max_positions=positions,
        n_head_parameters=0 if is_tied else n_outputs * block.width,
        n_outputs=n_outputs,
        n_image_tokens=positions,
    )


def _llama(settings: Settings) -> ModelFacts:
    is_mistral = settings.values.get("model_type") == "mistral"
    block = _llama_block(settings, is_mistral=is_mistral)
    _check_rotary(settings, block.head_dim)
    vocab_size, width = settings.positive("vocab_size"), block.width
    n_biases = 0
    if not is_mistral and settings.flag("attention_bias", default=False):
        n_biases += block.qkv + width
    if not is_mistral and settings.flag("mlp_bias", default=False):
        n_biases += 2 * block.mlp_width + width
    is_tied = settings.flag("tie_word_embeddings", default=False)
    return block.facts(
        settings,
        "num_hidden_layers",
        n_more=n_biases + 2 * width,
        n_around=(vocab_size + 1) * width,
        vocab_size=vocab_size,
        max_positions=settings.positive("max_position_embeddings"),
        n_head_parameters=0 if is_tied else vocab_size * width,
        n_outputs=vocab_size,
    )


def _llama_block(settings: Settings, *, is_mistral: bool) -> _Block:
    n_heads, head_dim = settings.positive("num_attention_heads"), settings.optional("head_dim")
    # transformers' Mistral takes any width with heads of a size of their own, its Llama does not.
    is_free = is_mistral and head_dim is not None
    width = (
        settings.positive("hidden_size")
        if is_free
        else settings.multiple("hidden_size", "num_attention_heads")
    )
    if is_mistral:
        n_kv_heads = settings.positive("num_key_value_heads", _MISTRAL_KV_HEADS)
    else:
        n_kv_heads = settings.optional("num_key_value_heads") or n_heads
    if n_heads % n_kv_heads:
        settings.refuse("num_key_value_heads", f"a number that divides num_attention_heads ({n_heads})")
    mlp_width = settings.positive("intermediate_size")
    return _Block(width, n_heads, head_dim or width // n_heads, mlp_width, n_kv_heads, is_gated_mlp=True)


def _vit(settings: Settings) -> ModelFacts:
    block = _encoder_block(settings)
    block = replace(block, head_dim=settings.optional("head_dim") or block.head_dim)
    patches = settings.multiple("image_size", "patch_size") // settings.positive("patch_size")
    n_tokens = patches**2 + 1  # a class token
    n_values = settings.positive("num_channels", 3) * settings.positive("patch_size") ** 2
    n_qkv_biases = block.qkv if settings.flag("qkv_bias", default=True) else 0
    n_classes = settings.n_classes()
    return block.facts(
        settings,
        "num_hidden_layers",
        n_more=block.n_biases - block.qkv + n_qkv_biases + 4 * block.width,
        n_around=(1 + n_tokens + n_values + 1 + 2) * block.width,
        vocab_size=0,
        max_positions=n_tokens,
        n_head_parameters=n_classes * (block.width + 1),
        n_outputs=n_classes,
        n_image_tokens=n_tokens,
        n_patch_values=n_values,
    )


def _check_rotary(settings: Settings, head_dim: int) -> None:
    if head_dim % 2:
        key = "hidden_size" if settings.optional("head_dim") is None else "head_dim"
        settings.refuse(key, f"heads of an even size for rotary positions, not of {head_dim}")


ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture(("bert",), _bert),
    "esm2": Architecture(("esm",), _esm2),
    "gpt2": Architecture(("gpt2",), _gpt2),
    "igpt": Architecture(("imagegpt",), _igpt),
    "llama": Architecture(("llama", "mistral"), _llama),
    "vit": Architecture(("vit",), _vit),
}
"""Family to how it is read."""
