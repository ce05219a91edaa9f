"""Models that are known without looking anywhere: enough of their config.json to build them exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcgeom.catalog.facts import facts_of
from hpcgeom.catalog.sizes import ModelFacts
from hpcgeom.errors import InputError


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One published model.

    Attributes
    ----------
    name
        Its hub id; a name of our own where the hub has none.
    family
        Its row in the catalog of families.
    config
        Keys of its config.json that determine architecture and forward pass.
    published
        Parameters, as its authors round them.
    license
        As its page on the hub says; empty where there is none.
    is_gated
        Whether a login and an accepted license are needed; None where that has changed over time.
    has_weights
        Whether weights were released at all.
    unpublished
        Keys of `config` that nobody has published: the user gives them.
    note
        What else to know.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    published: str
    license: str
    is_gated: bool | None = False
    has_weights: bool = True
    unpublished: tuple[str, ...] = ()
    note: str = ""

    def complete_config(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The configuration with what was never published, from which the model can be built.

        Parameters
        ----------
        given
            Values of the keys `unpublished`, no others.

        Raises
        ------
        InputError
            One of these is not given, or another one is.
        """
        given = given or {}
        if missing := [key for key in self.unpublished if key not in given]:
            raise InputError(
                f"'{self.name}' was published without {' and '.join(missing)}: give a value of your own"
            )
        if others := [key for key in given if key not in self.unpublished]:
            raise InputError(
                f"'{self.name}' has {', '.join(others)} in the catalog already: leave it out, or name a "
                "folder with a config.json of your own"
            )
        return {**self.config, **given}

    def facts(self, given: Mapping[str, Any] | None = None) -> ModelFacts:
        """Its sizes; parameters and errors as for `complete_config`."""
        return facts_of(self.complete_config(given), self.family, f"the catalog's '{self.name}'")


def known(source: str) -> KnownModel | None:
    """The model of a hub id, or of one of its older short names (``gpt2``); None if it is not known here."""
    return KNOWN.get(_SHORT_NAMES.get(source, source))


def known_facts(source: str, given: Mapping[str, Any] | None = None) -> ModelFacts | None:
    """Sizes of the model of a hub id, or None if it is not known here.

    Parameters
    ----------
    given
        Values that were never published; see `KnownModel.complete_config`.

    Raises
    ------
    InputError
        As `KnownModel.complete_config`.
    """
    model = known(source)
    return None if model is None else model.facts(given)


def _esm2(layers: int, published: str, width: int, heads: int = 20) -> KnownModel:
    config = {
        "model_type": "esm",
        "vocab_size": 33,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 1026,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": True,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "mask_token_id": 32,
    }
    return KnownModel(f"facebook/esm2_t{layers}_{published}_UR50D", "esm2", config, published, "MIT")


def _igpt(layers: int, width: int, heads: int | None, positions: int = 1024) -> dict[str, Any]:
    return {
        "model_type": "imagegpt",
        "vocab_size": 513,
        "n_positions": positions,
        "n_embd": width,
        "n_layer": layers,
        **({} if heads is None else {"n_head": heads}),
        "activation_function": "quick_gelu",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
    }


def _llama(
    layers: int,
    width: int,
    mlp_width: int,
    heads: int,
    *,
    kv_heads: int | None = None,
    positions: int = 4096,
    model_type: str = "llama",
    vocab_size: int = 32000,
    rope_theta: float = 10000.0,
    **more: Any,
) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": mlp_width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or heads,
        "max_position_embeddings": positions,
        "rope_theta": rope_theta,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        **more,
    }


def _llama2(size: str, config: dict[str, Any]) -> KnownModel:
    return KnownModel(
        f"meta-llama/Llama-2-{size.lower()}-hf", "llama", config, size, "Llama 2 Community", is_gated=True
    )


def _gpt2(suffix: str, published: str, layers: int, width: int, heads: int) -> KnownModel:
    config = {
        "model_type": "gpt2",
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
    }
    return KnownModel(f"openai-community/gpt2{suffix}", "gpt2", config, published, "MIT")


def _bert(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": 30522,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def _vit(layers: int, width: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        **more,
    }


_APACHE = "Apache 2.0"
_MODELS = (
    _esm2(6, "8M", 320),
    _esm2(12, "35M", 480),
    _esm2(30, "150M", 640),
    _esm2(33, "650M", 1280),
    _esm2(36, "3B", 2560, heads=40),
    _esm2(48, "15B", 5120, heads=40),
    KnownModel("openai/imagegpt-small", "igpt", _igpt(24, 512, 8), "76M", _APACHE),
    KnownModel("openai/imagegpt-medium", "igpt", _igpt(36, 1024, 8), "455M", _APACHE),
    KnownModel("openai/imagegpt-large", "igpt", _igpt(48, 1536, 16), "1362M", _APACHE),
    KnownModel(
        "igpt-xl",
        "igpt",
        _igpt(60, 3072, None, positions=64 * 64),
        "6801M",
        "",
        has_weights=False,
        unpublished=("n_head",),
        note="its number of heads was never published: give n_head; images of 64 x 64 pixels",
    ),
    _llama2("7B", _llama(32, 4096, 11008, 32)),
    _llama2("13B", _llama(40, 5120, 13824, 40)),
    _llama2("70B", _llama(80, 8192, 28672, 64, kv_heads=8)),
    KnownModel(
        "meta-llama/Meta-Llama-3-8B",
        "llama",
        _llama(32, 4096, 14336, 32, kv_heads=8, positions=8192, vocab_size=128256, rope_theta=500000.0),
        "8B",
        "Llama 3 Community",
        is_gated=True,
    ),
    KnownModel(
        "mistralai/Mistral-7B-v0.1",
        "llama",
        _llama(32, 4096, 14336, 32, kv_heads=8, positions=32768, model_type="mistral", sliding_window=4096),
        "7B",
        _APACHE,
        is_gated=None,
        note="tokens see the 4096 before them; a login has been needed at times",
    ),
    _gpt2("", "124M", 12, 768, 12),
    _gpt2("-medium", "355M", 24, 1024, 16),
    _gpt2("-large", "774M", 36, 1280, 20),
    _gpt2("-xl", "1558M", 48, 1600, 25),
    KnownModel("google-bert/bert-base-uncased", "bert", _bert(12, 768, 12), "110M", _APACHE),
    KnownModel("google-bert/bert-large-uncased", "bert", _bert(24, 1024, 16), "340M", _APACHE),
    KnownModel("sentence-transformers/all-MiniLM-L6-v2", "bert", _bert(6, 384, 12), "22.7M", _APACHE),
    KnownModel("google/vit-base-patch16-224", "vit", _vit(12, 768, 12, num_labels=1000), "86M", _APACHE),
    KnownModel("google/vit-large-patch16-224", "vit", _vit(24, 1024, 16, num_labels=1000), "307M", _APACHE),
    KnownModel(
        "google/vit-base-patch16-224-in21k",
        "vit",
        _vit(12, 768, 12),
        "86M",
        _APACHE,
        note="its file has no classifier: logits would be of random weights",
    ),
)

KNOWN: Mapping[str, KnownModel] = {model.name: model for model in _MODELS}
"""Known models by hub id."""

_SHORT_NAMES: Mapping[str, str] = {
    name.partition("/")[2]: name for name in KNOWN if name.startswith(("openai-community/", "google-bert/"))
}
