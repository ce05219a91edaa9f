"""Which files of a repository are fetched, and what makes it unfit before anything large is.

Fetched are, at the top of the repository only: the safetensors that are read and their index, ``*.json``,
``*.txt``, and the two SentencePiece vocabularies by their exact names. Those are protocol buffers, and the
tokenizers of Llama and T5 have nothing else where tokenizer.json is missing; any other ``*.model`` may be a
pickle. Pickles (``*.bin``, ``*.pt``), other engines' weights (``*.h5``, ``*.msgpack``, ``onnx/``) and code
(``*.py``) are never fetched.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils import filter_repo_objects

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models.checkpoint import (
    INDEX_FILE,
    SINGLE_FILE,
    open_safetensors,
    read_json,
    stored_tensors,
    weight_files,
)

CONFIG_FILE = "config.json"
SMALL_FILES = ("*.json", "*.txt", "tokenizer.model", "spiece.model")
IN_FOLDERS = ("*/*",)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx")
_SHOWN = 4

Siblings = Mapping[str, Any]
"""Name to what the hub says of a file at the top of a repository: ``size``, ``blob_id``, ``lfs``."""


def refuse_other_formats(names: Siblings, at: str) -> None:
    """Refuse a repository that is not a model in the format of transformers.

    Raises
    ------
    InputError
        It has no config.json.
    """
    if CONFIG_FILE in names:
        return
    hint = "name the repository of the model itself, or a local folder that save_pretrained wrote"
    if "adapter_config.json" in names:
        hint = (
            "it is an adapter: merge it into its base model, save that with save_pretrained, name the folder"
        )
    raise InputError(f"model {at} has no {CONFIG_FILE} at the top of its repository: {hint}")


def refuse_foreign_code(config_file: Path, at: str) -> None:
    """Refuse a configuration whose architecture is code in the repository.

    Raises
    ------
    InputError
        It has ``auto_map`` and a ``model_type`` that the installed transformers does not know; or it is
        not a JSON object.
    """
    from transformers import CONFIG_MAPPING

    config = read_json(config_file)
    kind = config.get("model_type")
    if "auto_map" in config and kind not in CONFIG_MAPPING:
        raise InputError(
            f"model {at} has the architecture '{kind}', which is code inside its repository (auto_map in "
            f"{CONFIG_FILE}): such code is never run, and there is no trust_remote_code: take a newer "
            "transformers if it knows the architecture, or family: module with a factory from a package that "
            "you have installed and read"
        )


def choose_weights(source: str, commit: str, names: Siblings, at: str) -> list[str]:
    """The safetensors to fetch: those that `weight_files` reads, and no second copy of the model.

    Raises
    ------
    InputError
        There are none, or it is not clear which; or the index names a shard that the repository lacks.
    """
    if SINGLE_FILE in names:
        return [SINGLE_FILE]
    if INDEX_FILE in names:
        index = hf_hub_download(source, INDEX_FILE, revision=commit)
        weight_map = read_json(Path(index)).get("weight_map")
        shards = sorted({str(shard) for shard in weight_map.values()}) if isinstance(weight_map, dict) else []
        missing = [shard for shard in shards if shard not in names]
        if missing:
            raise InputError(
                f"model {at}: its repository lacks {len(missing)} of {len(shards)} shards named in "
                f"{INDEX_FILE}: {shortened(missing, _SHOWN)}: take another revision, or tell its owner"
            )
        return shards
    found = sorted(name for name in names if name.endswith(".safetensors"))
    if len(found) == 1:
        return found
    if found:
        raise InputError(
            f"model {at} holds {len(found)} safetensors files ({shortened(found, _SHOWN)}) and no "
            f"{INDEX_FILE}: download the one that you mean, and name its path as source"
        )
    raise InputError(_no_safetensors(source, names, at))


def _no_safetensors(source: str, names: Siblings, at: str) -> str:
    others = sorted(name for name in names if name.endswith(_PICKLES))
    only = f"has its weights only as {shortened(others, _SHOWN)}" if others else "has no weights"
    return (
        f"model {at} {only}; only safetensors are read, because a pickle can run any code: see whether "
        f"https://huggingface.co/{source}/discussions has a pull request with safetensors (and then set "
        "revision: refs/pr/<its number>), or load it once where you trust it, save it with save_pretrained "
        "of transformers, and name that folder as source"
    )


def wanted_files(names: Siblings, patterns: Sequence[str], at: str) -> Siblings:
    """The files that match.

    Raises
    ------
    InputError
        None does.
    """
    wanted = {name: names[name] for name in filter_repo_objects(list(names), allow_patterns=list(patterns))}
    if not wanted:
        raise InputError(
            f"model {at} has no configuration and no tokenizer at the top of its repository: expected some "
            f"of {', '.join(SMALL_FILES)}: name another repository"
        )
    return wanted


def refuse_small_disk(source: str, commit: str, wanted: Siblings, at: str) -> None:
    """Refuse to begin a download that the disk of the cache cannot hold.

    Raises
    ------
    ResourceError
        Says how many bytes are needed and left, and where.
    """
    cache = Path(constants.HF_HUB_CACHE)
    root = cache / f"models--{source.replace('/', '--')}"
    n_bytes = sum(
        file.size or 0
        for name, file in wanted.items()
        if not (root / "blobs" / _blob(file)).exists() and not (root / "snapshots" / commit / name).exists()
    )
    disk = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    n_free = shutil.disk_usage(disk).free
    if n_bytes > n_free:
        raise ResourceError(
            f"model {at} needs {n_bytes / 1e9:.2f} GB in {cache}, which has {n_free / 1e9:.2f} GB left: free "
            "some, or set HF_HOME to a folder on another disk"
        )


def _blob(file: Any) -> str:
    """The name of a file's content in the cache."""
    return (file.lfs.sha256 if file.lfs else file.blob_id) or "unknown"


def as_patterns(names: Sequence[str]) -> list[str]:
    """Patterns that match just these names."""
    return [glob.escape(name) for name in names]


def check_weights(folder: Path, at: str) -> None:
    """Check that all weights of a snapshot are there and whole.

    Raises
    ------
    InputError
        A shard is missing, cut off, or only a pointer to one; or it lacks a tensor of the index.
    """
    for file in weight_files(folder):
        try:
            with open_safetensors(file):
                pass
        except InputError as error:
            raise InputError(
                f"model {at} is damaged in the cache: {error}. For that, delete {file.resolve()} and run the "
                "same command again"
            ) from error
    stored_tensors(folder)
