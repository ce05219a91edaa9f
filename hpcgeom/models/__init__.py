"""Models: weights, replay of blocks, hooks, pooling and strategies.

Importing this package imports neither torch nor transformers; the first use of a name below does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcgeom.models.checkpoint import weights_digest
    from hpcgeom.models.failures import is_out_of_memory
    from hpcgeom.models.families import model_limits
    from hpcgeom.models.hub import fetch
    from hpcgeom.models.replicate import Replicate
    from hpcgeom.models.request import ModelRequest, ModelShapes, Reading, TokenBatch
    from hpcgeom.models.sinks import NonFiniteActivation
    from hpcgeom.models.tokens import Encoding, Tokenizer, pad

_HOMES = {
    "ModelRequest": "request",
    "ModelShapes": "request",
    "Reading": "request",
    "TokenBatch": "request",
    "Encoding": "tokens",
    "Tokenizer": "tokens",
    "pad": "tokens",
    "fetch": "hub",
    "weights_digest": "checkpoint",
    "model_limits": "families",
    "NonFiniteActivation": "sinks",
    "Replicate": "replicate",
    "is_out_of_memory": "failures",
}

__all__ = [
    "Encoding",
    "ModelRequest",
    "ModelShapes",
    "NonFiniteActivation",
    "Reading",
    "Replicate",
    "TokenBatch",
    "Tokenizer",
    "fetch",
    "is_out_of_memory",
    "model_limits",
    "pad",
    "weights_digest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
