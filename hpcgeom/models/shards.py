"""Weights into safetensors: one file, or shards below 5 GB with an index, of which one is held at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from hpcgeom.models.checkpoint import INDEX_FILE, SINGLE_FILE

MAX_SHARD_BYTES = 4_900_000_000
"""Most bytes of tensors in one file: with its header it stays below 5 GB."""

METADATA = {"format": "pt"}
"""What readers of transformers look for in the header of a file."""

Tensor = TypeVar("Tensor")


def plan_shards(n_bytes: Mapping[str, int], max_bytes: int = MAX_SHARD_BYTES) -> dict[str, list[str]]:
    """Which tensors go into which file, in the order given.

    Parameters
    ----------
    n_bytes
        Size of each tensor, by its name.
    max_bytes
        Most bytes of tensors in a file; one larger tensor has a file of its own.

    Returns
    -------
    dict
        File name to the names of its tensors: ``model.safetensors``, or
        ``model-00001-of-00003.safetensors`` and so on.
    """
    parts: list[list[str]] = [[]]
    n_filled = 0
    for name, size in n_bytes.items():
        if parts[-1] and n_filled + size > max_bytes:
            parts.append([])
            n_filled = 0
        parts[-1].append(name)
        n_filled += size
    if len(parts) == 1:
        return {SINGLE_FILE: parts[0]}
    n_files = len(parts)
    return {f"model-{i:05d}-of-{n_files:05d}.safetensors": part for i, part in enumerate(parts, 1)}


def write_shards(
    folder: Path,
    n_bytes: Mapping[str, int],
    read: Callable[[str], Tensor],
    save: Callable[[dict[str, Tensor], Path], None],
    max_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write tensors as `plan_shards` lays them out, and the index where there are several files.

    Parameters
    ----------
    folder
        Where the files go; it exists.
    n_bytes
        Size of each tensor, by its name.
    read
        The tensor of a name, asked for when its file is written.
    save
        Writes one file.
    """
    shards = plan_shards(n_bytes, max_bytes)
    for file, names in shards.items():
        save({name: read(name) for name in names}, folder / file)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(n_bytes.values())},
            "weight_map": {name: file for file, names in shards.items() for name in names},
        }
        (folder / INDEX_FILE).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
