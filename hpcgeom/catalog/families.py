"""The families that can be run: what their configuration calls things, and the sites they have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.errors import InputError


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, as far as it can be known without loading it.

    Attributes
    ----------
    model_types
        Values of ``model_type`` in config.json that this family reads.
    sites
        Places in a block that can be read.
    absent_sites
        Site to the reason why the architecture has none.
    """

    name: str
    model_types: tuple[str, ...]
    sites: tuple[str, ...]
    absent_sites: Mapping[str, str]


_POST_NORM = "its blocks are post-norm: there is no norm before the attention"

FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        name="bert",
        model_types=("bert",),
        sites=("resid", "hidden_states", "attn_out", "resid_mid", "mlp_out"),
        absent_sites={"ln_1": _POST_NORM},
    ),
}


_DEFAULTS: Mapping[str, int] = {"type_vocab_size": 2}
"""What transformers takes where a configuration does not say."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of one model, read from its config.json."""

    n_layers: int
    width: int
    n_heads: int
    mlp_width: int
    vocab_size: int
    max_positions: int
    n_parameters: int

    def forward_flops(self, n_tokens: int, length: int) -> float:
        """Multiply-adds times two of a forward pass over `n_tokens` tokens in sequences of `length`."""
        dense = self.n_layers * (4 * self.width**2 + 2 * self.width * self.mlp_width)
        attention = self.n_layers * 2 * self.width * length
        return 2.0 * n_tokens * (dense + attention)


def read_facts(folder: Path, family: str) -> ModelFacts:
    """Read the sizes of the model in `folder`.

    Raises
    ------
    InputError
        config.json is missing or unreadable, lacks a key, or is of another architecture.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist: a model folder holds config.json and *.safetensors"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({error}): download the model again") from error
    if not isinstance(config, dict):
        raise InputError(
            f"{path} holds a {type(config).__name__}, expected a mapping: download the model again"
        )
    known = FAMILIES[family]
    found = config.get("model_type")
    if found not in known.model_types:
        raise InputError(
            f"{path} has model_type '{found}', but family '{family}' reads "
            f"{' or '.join(known.model_types)}: name the right family in the manifest"
        )
    return _bert_facts(config, path)


def _bert_facts(config: Mapping[str, Any], path: Path) -> ModelFacts:
    """Sizes as BertModel without its pooler has them."""
    layers, width, heads, mlp, vocabulary, positions, types = (
        _positive(config, key, path)
        for key in (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
            "max_position_embeddings",
            "type_vocab_size",
        )
    )
    attention = 4 * (width * width + width)
    norms = 4 * width
    block = attention + (width * mlp + mlp) + (mlp * width + width) + norms
    embedding = (vocabulary + positions + types + 2) * width
    return ModelFacts(layers, width, heads, mlp, vocabulary, positions, embedding + layers * block)


def _positive(config: Mapping[str, Any], key: str, path: Path) -> int:
    found = config.get(key, _DEFAULTS.get(key))
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise InputError(
            f"{path} has {key} {json.dumps(found)}, expected a number above 0: download the model again"
        )
    return found
