"""Models: weights, replay of blocks, hooks, pooling and strategies.

Importing this package imports neither torch nor transformers; the first use of a name below does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcgeom.models.checkpoint import weights_digest
    from hpcgeom.models.devices import chosen_device, gemm_flops_per_s
    from hpcgeom.models.encoders import Content, Encoder, InputSettings, encoder_of
    from hpcgeom.models.encodings import Encoding, pad
    from hpcgeom.models.failures import is_out_of_memory
    from hpcgeom.models.families import check_model, model_limits, n_blocks_of
    from hpcgeom.models.hub import fetch
    from hpcgeom.models.peers import Peers, meet
    from hpcgeom.models.pieces import Pieces, Splits
    from hpcgeom.models.pipeline import Pipeline
    from hpcgeom.models.replicate import Replicate
    from hpcgeom.models.request import ModelRequest, ModelShapes, Reading, TokenBatch
    from hpcgeom.models.reused_memory import ReusedMemory
    from hpcgeom.models.sinks import NonFiniteActivation
    from hpcgeom.models.strategies import OpenModel, open_model
    from hpcgeom.models.tokens import Tokenizer
    from hpcgeom.models.weights import check_weights
    from hpcgeom.models.windows import Window, merge_windows

_HOMES = {
    "ModelRequest": "request",
    "ModelShapes": "request",
    "Reading": "request",
    "TokenBatch": "request",
    "Content": "encoders",
    "Encoder": "encoders",
    "chosen_device": "devices",
    "gemm_flops_per_s": "devices",
    "encoder_of": "encoders",
    "InputSettings": "encoders",
    "Encoding": "encodings",
    "pad": "encodings",
    "Tokenizer": "tokens",
    "Window": "windows",
    "merge_windows": "windows",
    "check_weights": "weights",
    "check_model": "families",
    "fetch": "hub",
    "weights_digest": "checkpoint",
    "model_limits": "families",
    "n_blocks_of": "families",
    "NonFiniteActivation": "sinks",
    "Peers": "peers",
    "meet": "peers",
    "Pipeline": "pipeline",
    "Pieces": "pieces",
    "Splits": "pieces",
    "Replicate": "replicate",
    "ReusedMemory": "reused_memory",
    "OpenModel": "strategies",
    "open_model": "strategies",
    "is_out_of_memory": "failures",
}

__all__ = [
    "Content",
    "Encoder",
    "Encoding",
    "InputSettings",
    "ModelRequest",
    "ModelShapes",
    "NonFiniteActivation",
    "OpenModel",
    "Peers",
    "Pieces",
    "Pipeline",
    "Reading",
    "Replicate",
    "ReusedMemory",
    "Splits",
    "TokenBatch",
    "Tokenizer",
    "Window",
    "check_model",
    "check_weights",
    "chosen_device",
    "encoder_of",
    "fetch",
    "gemm_flops_per_s",
    "is_out_of_memory",
    "meet",
    "merge_windows",
    "model_limits",
    "n_blocks_of",
    "open_model",
    "pad",
    "weights_digest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
