"""The weight files of a folder: which they are, what tensors they hold, and their digests.

Only safetensors are read: nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hpcgeom.errors import InputError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
IDENTITY_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "preprocessor_config.json",
)
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor on disk.

    Attributes
    ----------
    file
        The safetensors file.
    key
        Its name there.
    shape
        Its shape.
    dtype
        Its type as safetensors names it: ``F32``, ``BF16``, ``I64``, ...
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str


@contextmanager
def open_safetensors(file: Path) -> Iterator[Any]:
    """Open one safetensors file.

    Raises
    ------
    InputError
        It is truncated, is no safetensors file, or only a git-lfs pointer to one.
    """
    try:
        # mapping is private to the context: tensors must be copied before it ends
        with safe_open(str(file), framework="pt", device="cpu") as handle:
            yield handle
    except (SafetensorError, OSError) as error:
        with file.open("rb") as raw:
            is_pointer = raw.read(len(_LFS_POINTER)) == _LFS_POINTER
        if is_pointer:
            raise InputError(
                f"{file} is a git-lfs pointer, not weights: run `git lfs pull` in its folder"
            ) from None
        size = file.stat().st_size
        raise InputError(
            f"{file} ({size} bytes) is not a whole safetensors file: {error}; it was probably cut off in a "
            "copy: fetch it again"
        ) from error


def weight_files(source: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder, in order of name; `source` may be one such file.

    Raises
    ------
    InputError
        There is none, a shard of the index is missing, or which file is meant is not clear.
    """
    if source.is_file():
        if source.suffix == ".safetensors":
            return (source,)
        raise InputError(
            f"weights {source}: expected a .safetensors file or a folder with one: correct the model's source"
        )
    if not source.is_dir():
        raise InputError(
            f"weights {source}: there is no such file or folder: correct the model's source, or put it there"
        )
    if (source / SINGLE_FILE).is_file():
        return (source / SINGLE_FILE,)
    if (source / INDEX_FILE).is_file():
        return tuple(sorted({source / shard for shard in read_index(source).values()}))
    found = sorted(source.glob("*.safetensors"))
    if len(found) == 1:
        return (found[0],)
    raise InputError(_no_weights_message(source, found))


def _no_weights_message(folder: Path, found: list[Path]) -> str:
    if found:
        names = ", ".join(file.name for file in found[:8])
        return (
            f"{folder} holds {len(found)} safetensors files ({names}) and no {INDEX_FILE}: name one of them "
            "as the model's source, or fetch the index"
        )
    pickled = sorted(
        file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt"}
    )
    if pickled:
        return (
            f"{folder} has weights only as {', '.join(pickled[:3])}, which is a pickle and is never "
            "loaded: take a "
            "revision with model.safetensors, or save it again with save_pretrained of transformers"
        )
    return (
        f"{folder} has no weights: expected {SINGLE_FILE} or {INDEX_FILE} with its shards: fetch them, or "
        "correct the model's source"
    )


def read_index(folder: Path) -> dict[str, str]:
    """Key to shard name, from the index of a sharded checkpoint; every shard exists.

    Raises
    ------
    InputError
        The index is not valid, points outside the folder, or names a shard that is missing.
    """
    file = folder / INDEX_FILE
    try:
        weight_map = json.loads(file.read_bytes())["weight_map"]
        shards = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is not an index of shards: expected JSON with `weight_map`: {error!r}: fetch it again"
        ) from error
    for shard in shards:
        if Path(shard).name != shard:
            raise InputError(
                f"{file} names the shard '{shard}': expected a plain file name beside it: fetch it again"
            )
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(shards)} shards named in {INDEX_FILE}: "
            f"{', '.join(missing[:8])}: fetch them"
        )
    return dict(weight_map)


def stored_tensors(source: Path) -> dict[str, Stored]:
    """All tensors of the weight files, by their name on disk.

    Raises
    ------
    InputError
        As `weight_files` and `open_safetensors`; or a shard lacks a tensor that the index puts there, or
        two files hold one name.
    """
    stored: dict[str, Stored] = {}
    for file in weight_files(source):
        with open_safetensors(file) as handle:
            for key in handle.keys():  # noqa: SIM118  (the handle is no mapping)
                if key in stored:
                    raise InputError(f"tensor '{key}' is in {stored[key].file} and in {file}: remove one")
                part = handle.get_slice(key)
                stored[key] = Stored(file, key, tuple(part.get_shape()), part.get_dtype())
    if source.is_dir() and (source / INDEX_FILE).is_file() and not (source / SINGLE_FILE).is_file():
        for key, shard in read_index(source).items():
            if key not in stored or stored[key].file.name != shard:
                raise InputError(
                    f"{source / shard} lacks tensor '{key}' that {INDEX_FILE} puts there: fetch it again"
                )
    return stored


def byte_ranges(file: Path) -> dict[str, tuple[int, int]]:
    """Where in a safetensors file, which `open_safetensors` opens, the bytes of each tensor begin and end."""
    with file.open("rb") as raw:
        n_header = int.from_bytes(raw.read(8), "little")
        header = json.loads(raw.read(n_header))
    header.pop("__metadata__", None)
    first = 8 + n_header
    return {
        key: (first + entry["data_offsets"][0], first + entry["data_offsets"][1])
        for key, entry in header.items()
    }


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    InputError
        The file is missing or holds something else.
    """
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"there is no {file.name} in {file.parent}: expected the folder of a model: name another folder"
        ) from None
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}): fetch it again") from error
    if not isinstance(value, dict):
        raise InputError(f"{file}: expected a JSON object, found {type(value).__name__}: fetch it again")
    return value


def _weights_and_index(folder: Path) -> list[Path]:
    """What `weight_files` reads; a folder may hold other copies beside."""
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if (folder / INDEX_FILE).is_file():
        return [folder / INDEX_FILE, *weight_files(folder)]
    return list(folder.glob("*.safetensors"))


def weights_digest(source: Path) -> dict[str, Mapping[str, int | str]]:
    """Identity of the weights, configuration and tokenizer of a folder (or of one weight file).

    Returns
    -------
    dict
        File name to ``size`` in bytes and ``sha256`` in hexadecimal, in order of name; every safetensors
        file and each of `IDENTITY_FILES` that exists.
    """
    if source.is_file():
        files = [source]
    else:
        files = _weights_and_index(source)
        files += [source / name for name in IDENTITY_FILES if (source / name).is_file()]
    digest: dict[str, Mapping[str, int | str]] = {}
    for file in sorted(files):
        with file.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
        digest[file.name] = {"size": file.stat().st_size, "sha256": sha256}
    return digest
