"""Sizes of a model from its config.json alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcgeom.catalog.architectures import ARCHITECTURES
from hpcgeom.catalog.settings import DOWNLOAD_AGAIN, Settings
from hpcgeom.catalog.sizes import ModelFacts
from hpcgeom.errors import InputError

__all__ = ["ModelFacts", "facts_of", "read_config", "read_facts"]


def read_facts(folder: Path, family: str) -> ModelFacts:
    """Read the sizes of the model in `folder`.

    Raises
    ------
    InputError
        config.json is missing or unreadable, or is not one that `family` reads (see `facts_of`).
    """
    return facts_of(read_config(folder), family, str(folder / "config.json"))


def read_config(folder: Path) -> dict[str, Any]:
    """What the config.json in `folder` says.

    Raises
    ------
    InputError
        It is missing, unreadable, or no mapping.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist: a model folder holds config.json and *.safetensors: name such a folder"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({error}): download the model again") from error
    if not isinstance(config, dict):
        raise InputError(
            f"{path} holds a {type(config).__name__}, expected a mapping: download the model again"
        )
    return config


def facts_of(config: Mapping[str, Any], family: str, where: str) -> ModelFacts:
    """Work out the sizes of the model that `config` describes.

    Parameters
    ----------
    config
        What config.json holds.
    family
        One of the families of the catalog.
    where
        What to call the configuration in messages.

    Raises
    ------
    InputError
        It is of another family, lacks a size, or has sizes that do not fit together.
    """
    check_model_type(config, family, where)
    return ARCHITECTURES[family].read(Settings(config, where))


def check_model_type(config: Mapping[str, Any], family: str, where: str) -> None:
    """Make sure that `config` is of an architecture that `family` reads; parameters as in `facts_of`.

    Raises
    ------
    InputError
        It is of another, or does not say.
    """
    if family not in ARCHITECTURES:
        raise InputError(
            f"unknown family '{family}': expected one of {', '.join(ARCHITECTURES)}: choose one of them"
        )
    reads, found = ARCHITECTURES[family].model_types, config.get("model_type")
    if found in reads:
        return
    but = f"but family '{family}' reads {' or '.join(reads)}"
    if found is None:
        raise InputError(
            f"{where} has no model_type, {but}: {DOWNLOAD_AGAIN}, or name a folder of transformers"
        )
    fits = [name for name, other in ARCHITECTURES.items() if found in other.model_types]
    todo = (
        f"name family '{fits[0]}' in the manifest"
        if fits
        else f"no family reads it ({', '.join(ARCHITECTURES)} exist): run it as family 'module'"
    )
    raise InputError(f"{where} has model_type {json.dumps(found, default=str)}, {but}: {todo}")
