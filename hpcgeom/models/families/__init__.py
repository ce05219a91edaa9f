"""Families of models: one file each, found by its name.

A family is a module with two functions, `limits` and `build` (see `Family`). Adding one is adding a file.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast

import torch

from hpcgeom.errors import InputError
from hpcgeom.models.blocks import BlockLayout
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.weights import KeyTable


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """A model as its family builds it.

    Attributes
    ----------
    model
        In eval mode, without gradients. Parameters are on the meta device, or real, and have the dtype of
        the request; buffers that are not saved are real.
    layout
        Where its blocks are; None if it has none.
    keys
        How keys on disk become its names; None if its weights are already those asked for (random).
    inputs
        Which of ``input_ids`` and ``attention_mask`` its forward takes.
    arguments
        What else its forward is called with.
    """

    model: torch.nn.Module
    layout: BlockLayout | None
    keys: KeyTable | None
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Family(Protocol):
    """What each module of this package offers."""

    def limits(self, request: ModelRequest) -> Limits:
        """What the model can take in; raises InputError for a wrong config.json."""

    def build(self, request: ModelRequest) -> Skeleton:
        """The model without its weights, or with random ones where they are asked for."""


def family_names() -> tuple[str, ...]:
    """Families that exist."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__)))


def family(name: str) -> Family:
    """The family called `name`.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in family_names():
        raise InputError(f"unknown family '{name}': expected one of {', '.join(family_names())}")
    return cast(Family, import_module(f"{__name__}.{name}"))


def model_limits(request: ModelRequest) -> Limits:
    """What the model of `request` can take in, from its config.json alone."""
    return family(request.family).limits(request)
