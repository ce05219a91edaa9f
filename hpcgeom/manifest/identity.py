"""What a manifest asks for as canonical JSON: its digest, and the difference between two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from hpcgeom.manifest.fields import Key, key_text
from hpcgeom.manifest.sections import Manifest

MEANS = ("kernel", "unit_work")
"""Settings of `neighbors` that change no number."""
_ABSENT = object()


def canonical(manifest: Manifest) -> dict[str, Any]:
    """Science settings of a manifest, ready for JSON.

    Parameters
    ----------
    manifest
        A checked manifest.

    Returns
    -------
    dict
        Everything as written with all defaults filled in, the labels that are measured by name, the k of
        overlaps one by one, and paths unresolved. Without the strategies and the means of the search, which
        change no number, and without what does not exist for points that exist already. It is itself a valid
        manifest.
    """
    settings: dict[str, Any] = manifest.model_dump(mode="json")
    for model in settings["models"]:
        model.pop("strategy", None)
    for name in MEANS:
        del settings["neighbors"][name]
    settings["geometry"]["labels"] = list(manifest.labels)
    settings["geometry"]["overlap_k"] = list(manifest.overlap_ks)
    if manifest.is_arrays:
        del settings["representations"]
        del settings["extract"]["tokens_per_batch"]
    return settings


def manifest_digest(manifest: Manifest) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no whitespace, floats by repr) in 64 hex digits."""
    return hashlib.sha256(_json(canonical(manifest)).encode("ascii")).hexdigest()


def difference(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Say what differs between two canonical settings.

    Parameters
    ----------
    old, new
        What `canonical` returned, or the same read back from JSON.

    Returns
    -------
    list of str
        Lines such as ``neighbors.k: 64 -> 128``, empty if and only if both are equal. Models are compared
        by name.
    """
    return list(_differences(_by_name(old), _by_name(new), ()))


def _differences(old: Any, new: Any, key: Key) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _differences(old.get(name, _ABSENT), new.get(name, _ABSENT), (*key, name))
    elif _shown(old) != _shown(new):
        yield f"{key_text(key)}: {_shown(old)} -> {_shown(new)}"


def _by_name(settings: dict[str, Any]) -> dict[str, Any]:
    """Key the models by name, and keep their order as a setting of its own."""
    models = settings.get("models")
    if not isinstance(models, list):
        return settings
    named = {f"models[{model['name']}]": model for model in models}
    return {**settings, "models": list(model["name"] for model in models), **named}


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
