"""BERT encoders (Devlin et al. 2019): post-norm blocks, learned positions, read through BertModel.

Hidden states are those of ``BertModel(..., output_hidden_states=True)``: layer 0 is the embedding after its
norm, layer l the output of block l after its norm.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import BertConfig, BertModel

from hpcgeom.errors import InputError
from hpcgeom.models.blocks import BlockLayout, SitePath
from hpcgeom.models.checkpoint import read_json
from hpcgeom.models.families import Skeleton
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import RANDOM_WEIGHTS, ModelRequest
from hpcgeom.models.weights import KeyTable, torch_dtype

MODEL_TYPE = "bert"

LAYOUT = BlockLayout(
    blocks="encoder.layer",
    sites={
        "attn_out": SitePath("attention.output.dense"),
        "resid_mid": SitePath("attention.output.LayerNorm"),
        "mlp_out": SitePath("output.dense"),
    },
    post_norm=True,
)

KEYS = KeyTable(
    prefixes=("bert.",),
    renames=((r"\.gamma$", ".weight"), (r"\.beta$", ".bias")),
    unused=(
        r"^pooler\.",
        r"^cls\.",
        r"^classifier\.",
        r"^qa_outputs\.",
        r"^embeddings\.(position_ids|token_type_ids)$",
    ),
)


def limits(request: ModelRequest) -> Limits:
    """Vocabulary and positions of the config.json of `request`."""
    config = _config(request)
    return Limits(int(config.vocab_size), int(config.max_position_embeddings))


def build(request: ModelRequest) -> Skeleton:
    """BertModel without pooler, with sdpa attention; on the meta device, or with random weights.

    Raises
    ------
    InputError
        config.json is missing or belongs to another architecture.
    """
    config, dtype = _config(request), torch_dtype(request.dtype)
    if request.weights == RANDOM_WEIGHTS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            model = _construct(config, request)
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
    else:
        # buffers are not in the files: they must be made for real
        with init_empty_weights(include_buffers=False):
            model = _construct(config, request)
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                setattr(module, name, torch.nn.Parameter(parameter.to(dtype), requires_grad=False))
    model.eval().requires_grad_(False)
    keys = None if request.weights == RANDOM_WEIGHTS else KEYS
    return Skeleton(model, LAYOUT, keys, arguments={"use_cache": False})


def _config(request: ModelRequest) -> BertConfig:
    if request.folder is None:
        raise InputError(
            f"model '{request.name}' of family 'bert' has no source: give the folder of its config.json"
        )
    file = request.folder / "config.json"
    raw = read_json(file)
    if raw.get("model_type") != MODEL_TYPE:
        raise InputError(
            f"model '{request.name}' is of family 'bert', but {file} says model_type "
            f"'{raw.get('model_type')}': "
            f"expected '{MODEL_TYPE}': name the right family or the right source"
        )
    if raw.get("position_embedding_type", "absolute") != "absolute":
        raise InputError(
            f"{file}: position_embedding_type is '{raw['position_embedding_type']}': only 'absolute' is "
            "supported"
        )
    try:
        return BertConfig.from_dict(_read_settings(raw))
    except (TypeError, ValueError) as error:
        raise InputError(f"{file} is not a valid BERT configuration: {error}") from error


def _construct(config: BertConfig, request: ModelRequest) -> BertModel:
    try:
        return BertModel(config, add_pooling_layer=False)
    except ValueError as error:
        raise InputError(
            f"config.json in {request.folder} is not a valid BERT configuration: {error}"
        ) from error


def _read_settings(raw: dict[str, Any]) -> dict[str, Any]:
    """Settings of the file, with those that must hold here."""
    # a chunked feed-forward runs hooks several times per block, and a given dtype would win over ours
    kept = {key: value for key, value in raw.items() if key not in ("torch_dtype", "dtype")}
    return {**kept, "chunk_size_feed_forward": 0, "attn_implementation": "sdpa"}
