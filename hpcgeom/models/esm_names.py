"""ESM-2 in the names of its first publication (fair-esm) and in those of transformers.

Both have the same tensors: linear maps are (out, in) in both, and the rotary frequencies of every block are
the same. The head's output matrix is the embedding, so it is stored once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]

TOKENS = ("<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>")
"""The alphabet of ESM-1b and ESM-2, in the order of its ids."""

EMBEDDING, TIED = "embed_tokens.weight", "lm_head.weight"
FREQUENCIES = "layers.{}.self_attn.rot_emb.inv_freq"
LEFT_OUT = "contact_head."
"""How the names begin of what is not converted: the regression of contacts from attention maps."""

_BLOCK = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "LayerNorm",
}
_PREFIXES = ("encoder.sentence_encoder.", "encoder.")


@dataclass(frozen=True, slots=True)
class Esm2Sizes:
    """What tells one ESM-2 model from another.

    Attributes
    ----------
    n_layers, width, n_heads
        Blocks, hidden size, attention heads.
    token_dropout
        Whether it was trained with masked tokens set to zero, for which embeddings are scaled.
    """

    n_layers: int
    width: int
    n_heads: int
    token_dropout: bool


def without_prefix(key: str) -> str:
    """The name in the published model of a tensor in a training checkpoint."""
    for prefix in _PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def shapes_of(sizes: Esm2Sizes) -> dict[str, Shape]:
    """Every tensor that must be in the file, by its published name, without the contact head."""
    width, vocabulary = sizes.width, len(TOKENS)
    shapes: dict[str, Shape] = {EMBEDDING: (vocabulary, width)}
    for layer in range(sizes.n_layers):
        for part in _BLOCK:
            n_out = 4 * width if part == "fc1" else width
            n_in = 4 * width if part == "fc2" else width
            is_norm = part.endswith("layer_norm")
            shapes[f"layers.{layer}.{part}.weight"] = (n_out,) if is_norm else (n_out, n_in)
            shapes[f"layers.{layer}.{part}.bias"] = (n_out,)
        shapes[FREQUENCIES.format(layer)] = (width // sizes.n_heads // 2,)
    shapes |= {f"emb_layer_norm_after.{kind}": (width,) for kind in ("weight", "bias")}
    shapes |= {"lm_head.dense.weight": (width, width), "lm_head.dense.bias": (width,)}
    shapes |= {f"lm_head.layer_norm.{kind}": (width,) for kind in ("weight", "bias")}
    return shapes | {TIED: (vocabulary, width), "lm_head.bias": (vocabulary,)}


def name_in_transformers(name: str) -> str:
    """The name in EsmForMaskedLM of a tensor with a published name of `shapes_of`, but for the tied one.

    The frequencies keep a name per block, as on the hub: transformers reads those of block 0.
    """
    if name == EMBEDDING:
        return "esm.embeddings.word_embeddings.weight"
    if name.startswith("emb_layer_norm_after."):
        return f"esm.encoder.{name}"
    if not name.startswith("layers."):
        return name  # of the head
    _, layer, part = name.split(".", 2)
    block = f"esm.encoder.layer.{layer}"
    if name == FREQUENCIES.format(layer):
        return f"{block}.attention.self.rotary_embeddings.inv_freq"
    part, _, kind = part.rpartition(".")
    return f"{block}.{_BLOCK[part]}.{kind}"


def config_of(sizes: Esm2Sizes, dtype: str | None) -> dict[str, Any]:
    """The config.json of an ESM-2 model, with the settings of those on the hub.

    Parameters
    ----------
    dtype
        Type of all parameters; None where they have several.
    """
    config = {
        "architectures": ["EsmForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": None,
        "emb_layer_norm_before": False,
        "esmfold_config": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": sizes.width,
        "initializer_range": 0.02,
        "intermediate_size": 4 * sizes.width,
        "is_folding_model": False,
        "layer_norm_eps": 1e-05,
        "mask_token_id": TOKENS.index("<mask>"),
        "max_position_embeddings": 1026,
        "model_type": "esm",
        "num_attention_heads": sizes.n_heads,
        "num_hidden_layers": sizes.n_layers,
        "pad_token_id": TOKENS.index("<pad>"),
        "position_embedding_type": "rotary",
        "token_dropout": sizes.token_dropout,
        "use_cache": True,
        "vocab_list": None,
        "vocab_size": len(TOKENS),
    }
    return config if dtype is None else {**config, "torch_dtype": dtype}


def tokenizer_files() -> dict[str, str | dict[str, Any]]:
    """What the tokenizer is read from: file name to text, or to what becomes JSON."""
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    return {
        "vocab.txt": "\n".join(TOKENS),
        "special_tokens_map.json": special,
        "tokenizer_config.json": {**special, "tokenizer_class": "EsmTokenizer"},
    }
