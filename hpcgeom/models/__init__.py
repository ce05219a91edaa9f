"""Models: weights, replay of blocks, hooks, pooling and strategies.

Importing this package imports neither torch nor transformers; the first use of a name below does.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "ModelRequest": "request",
    "ModelShapes": "request",
    "Reading": "request",
    "SiteShape": "request",
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

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
