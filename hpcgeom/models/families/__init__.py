"""Families of models: one file each, found by its name.

A family is a module with two functions, `limits` and `build` (see `Family`). Adding one is adding a file.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Protocol, cast

from hpcgeom.errors import InputError
from hpcgeom.models.limits import Limits
from hpcgeom.models.readings import SiteReading, resolve_details, resolve_readings
from hpcgeom.models.request import ModelRequest
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.weights import WeightsReport, check_weights, torch_dtype


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
        raise InputError(
            f"unknown family '{name}': expected one of {', '.join(family_names())}: choose one of them"
        )
    return cast(Family, import_module(f"{__name__}.{name}"))


def build_with_readings(request: ModelRequest) -> tuple[Skeleton, dict[str, SiteReading]]:
    """The model of `request` without its weights, and what is read of it.

    Raises
    ------
    InputError
        The configuration is wrong, or a site, layer, pooling or detail does not exist.
    """
    skeleton = family(request.family).build(request)
    readings = resolve_readings(request.readings, skeleton.model, skeleton.layout, request.name)
    resolve_details(request.details, skeleton.layout, request.name)
    return skeleton, readings


def check_model(request: ModelRequest) -> WeightsReport:
    """Make sure that a model can be built and that its weights fit; only headers of files are read.

    Raises
    ------
    InputError, ProblemsError
        The configuration is wrong, a site does not exist, or tensors are missing, unknown or misshaped.
    """
    skeleton, _ = build_with_readings(request)
    if skeleton.keys is None or request.folder is None:
        return WeightsReport(())
    return check_weights(skeleton.model, request.folder, skeleton.keys, torch_dtype(request.dtype))


def n_blocks_of(request: ModelRequest) -> int | None:
    """How many blocks the model of `request` has; None for one without. Nothing is loaded."""
    skeleton = family(request.family).build(request)
    return None if skeleton.layout is None else len(skeleton.layout.blocks_of(skeleton.model))


def model_limits(request: ModelRequest) -> Limits:
    """What the model of `request` can take in, from its config.json alone."""
    return family(request.family).limits(request)
