"""Original ESM-2 checkpoints (``esm2_t6_8M_UR50D.pt`` and so on) into folders as transformers writes them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ProblemsError, ResourceError
from hpcgeom.models import esm_names
from hpcgeom.models.converted import default_cache, folder_beside, is_complete, publish
from hpcgeom.models.esm_names import Esm2Sizes
from hpcgeom.models.shards import METADATA, write_shards
from hpcgeom.models.torch_files import read_torch_file

MADE_BY = "hpcgeom convert_esm 1"
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_SIZES = {"encoder_layers": "n_layers", "encoder_embed_dim": "width", "encoder_attention_heads": "n_heads"}
_OLDER = {
    "roberta_large": "ESM-1b or ESM-1v",
    "protein_bert_base": "ESM-1",
    "msa_transformer": "an MSA Transformer",
}
_OLDER_TENSORS = ("embed_positions", "emb_layer_norm_before", "msa_position_embedding")
_ONLY = "only ESM-2 is read here: name a file such as esm2_t33_650M_UR50D.pt"
_SHOWN = 6
_AGAIN = "fetch it again, or name another file"

Tensors = Mapping[str, torch.Tensor]


def convert_esm(source: Path, cache: Path | None = None) -> Path:
    """Bring an original ESM-2 checkpoint into the form in which transformers reads it.

    The folder holds config.json, the weights of EsmForMaskedLM as safetensors in the types of the file, and
    the tokenizer's files. The contact head is left out; the record in the folder (``conversion.json``) says
    so. A file is converted once: the folder is called by its SHA-256.

    Parameters
    ----------
    source
        The ``.pt`` file, of which only tensors, plain values and ``argparse.Namespace`` are read.
    cache
        Where the folder is put; None is ``converted`` in ``$HPCGEOM_CACHE``, ``$XDG_CACHE_HOME/hpcgeom`` or
        ``~/.cache/hpcgeom``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        The file is missing, cut off, damaged, not of torch, names code, or holds another model than ESM-2; or
        the cache cannot be written to.
    ProblemsError
        Settings are missing or wrong, or tensors are missing, unknown, twice, or of another shape or type;
        all of it at once.
    ResourceError
        The disk is too small, or full.
    """
    if not source.is_file():
        raise InputError(
            f"weights {source}: there is no such file: expected an ESM-2 checkpoint (.pt): correct the path"
        )
    before = _state_of(source)
    with source.open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    folder = (default_cache() if cache is None else cache) / sha256
    if is_complete(folder, MADE_BY):
        return folder
    sizes, tensors, left_out = read_esm2(source)
    with folder_beside(folder, sum(tensor.nbytes for tensor in tensors.values())) as beside:
        _write(beside, sizes, tensors)
        if _state_of(source) != before:
            raise InputError(f"{source} was changed while it was read: run the same command again")
        publish(beside, folder, MADE_BY, {"left_out": left_out, "sha256": sha256, "source": source.name})
    return folder


def read_esm2(source: Path) -> tuple[Esm2Sizes, dict[str, torch.Tensor], list[str]]:
    """Read and check a checkpoint.

    Returns
    -------
    tuple
        Its sizes; its tensors by the names of EsmForMaskedLM, still in the file where that can be; and the
        names in the file of those that are left out.

    Raises
    ------
    InputError, ProblemsError
        As `convert_esm`.
    """
    content = read_torch_file(source, [argparse.Namespace])
    settings, raw = _parts(source, content)
    sizes = _sizes(source, settings)
    tensors: dict[str, torch.Tensor] = {}
    left_out, twice = [], []
    for key, value in raw.items():
        name = esm_names.without_prefix(str(key))
        if name.startswith(esm_names.LEFT_OUT):
            left_out.append(str(key))
        elif name in tensors:
            twice.append(name)
        else:
            tensors[name] = value
    problems = [f"has twice, with and without prefix: {shortened(twice, _SHOWN)}: {_AGAIN}"] if twice else []
    problems += _problems(tensors, esm_names.shapes_of(sizes))
    problems = problems or _copies_that_differ(tensors, sizes)
    if problems:
        raise ProblemsError([f"{source} {problem}" for problem in problems])
    renamed = {
        esm_names.name_in_transformers(name): value
        for name, value in tensors.items()
        if name != esm_names.TIED
    }
    return sizes, dict(sorted(renamed.items())), sorted(left_out)


def _parts(source: Path, content: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The settings of the model, and its tensors."""
    settings = _fields(_fields(_fields(content).get("cfg")).get("model"))
    tensors = _fields(content).get("model")
    if isinstance(tensors, Mapping) and settings:
        return settings, tensors
    older = _fields(_fields(content).get("args")).get("arch")
    if older is not None:
        raise InputError(
            f"{source} is {_OLDER.get(str(older), 'another model')} (architecture '{older}'): {_ONLY}"
        )
    if isinstance(tensors, Mapping) and tensors and all(esm_names.LEFT_OUT in str(key) for key in tensors):
        raise InputError(
            f"{source} holds a contact regression only: name the model's own file, "
            f"{source.name.replace('-contact-regression', '')}"
        )
    keys = shortened([str(key) for key in _fields(content)], _SHOWN) or type(content).__name__
    raise InputError(
        f"{source} is not an ESM-2 checkpoint: expected `cfg` with the settings of `model`, and `model` with "
        f"its tensors; found {keys}: {_ONLY}"
    )


def _fields(value: Any) -> Mapping[str, Any]:
    """The entries of a mapping, or the attributes of a Namespace; none of anything else."""
    if isinstance(value, argparse.Namespace):
        return vars(value)
    return value if isinstance(value, Mapping) else {}


def _sizes(source: Path, settings: Mapping[str, Any]) -> Esm2Sizes:
    problems: list[str] = []
    numbers: dict[str, int] = {}
    for key, name in _SIZES.items():
        value = settings.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            numbers[name] = value
        else:
            problems.append(f"`{key}` is {value!r}, expected a whole number above 0")
    token_dropout = settings.get("token_dropout")
    if not isinstance(token_dropout, bool):
        problems.append(f"`token_dropout` is {token_dropout!r}, expected True or False")
    if not problems and numbers["width"] % (2 * numbers["n_heads"]):
        problems.append(
            f"`encoder_embed_dim` is {numbers['width']}, expected a multiple of twice the "
            f"{numbers['n_heads']} heads"
        )
    if problems:
        hint = f"this is not the configuration of an ESM-2 model: {_ONLY}"
        raise ProblemsError([f"{source}, cfg of model: {problem}: {hint}" for problem in problems])
    return Esm2Sizes(numbers["n_layers"], numbers["width"], numbers["n_heads"], bool(token_dropout))


def _problems(tensors: Mapping[str, Any], shapes: Mapping[str, esm_names.Shape]) -> list[str]:
    missing = [name for name in shapes if name not in tensors]
    unknown = [name for name in tensors if name not in shapes]
    problems = []
    if missing:
        problems.append(
            f"lacks {len(missing)} tensors of an ESM-2 model of its settings: {shortened(missing, _SHOWN)}: "
            f"{_AGAIN}"
        )
    if unknown:
        is_older = any(name.startswith(_OLDER_TENSORS) for name in unknown)
        hint = f"it is an older ESM; {_ONLY}" if is_older else _AGAIN
        problems.append(
            f"has {len(unknown)} tensors that an ESM-2 model has not: {shortened(unknown, _SHOWN)}: {hint}"
        )
    misfits = [
        misfit
        for name, shape in shapes.items()
        if name in tensors and (misfit := _misfit(name, tensors[name], shape))
    ]
    if misfits:
        problems.append(f"has tensors that do not fit its settings: {shortened(misfits, _SHOWN)}: {_AGAIN}")
    return problems


def _misfit(name: str, value: Any, shape: esm_names.Shape) -> str | None:
    if not isinstance(value, torch.Tensor):
        return f"{name} is {type(value).__name__}, expected a tensor"
    if value.layout != torch.strided or value.is_meta or value.dtype not in _FLOATS:
        return f"{name} is {value.layout} {value.dtype} on {value.device}, expected floating-point numbers"
    found = tuple(value.shape)
    return None if found == shape else f"{name} has shape {found}, expected {shape}"


def _copies_that_differ(tensors: Tensors, sizes: Esm2Sizes) -> list[str]:
    """What is stored several times in the file and once in the model must be the same everywhere."""
    pairs = [(esm_names.TIED, esm_names.EMBEDDING)]
    first = esm_names.FREQUENCIES.format(0)
    pairs += [(esm_names.FREQUENCIES.format(layer), first) for layer in range(1, sizes.n_layers)]
    return [
        f"has a {name} that differs from {other}: expected the same numbers, which the model holds once: "
        f"{_AGAIN}"
        for name, other in pairs
        if not _have_same_bits(tensors[name], tensors[other])
    ]


def _have_same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype:
        return False
    return bool(torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)))


def _write(folder: Path, sizes: Esm2Sizes, tensors: Tensors) -> None:
    def save(part: dict[str, torch.Tensor], file: Path) -> None:
        try:
            save_file(_apart(part), file, METADATA)
        except SafetensorError as error:
            raise ResourceError(
                f"{file} cannot be written ({error}): free some space, then run again"
            ) from error

    write_shards(folder, {name: tensor.nbytes for name, tensor in tensors.items()}, tensors.__getitem__, save)
    dtypes = {str(t.dtype).removeprefix("torch.") for n, t in tensors.items() if not n.endswith("inv_freq")}
    config = esm_names.config_of(sizes, dtypes.pop() if len(dtypes) == 1 else None)
    for name, content in {"config.json": config, **esm_names.tokenizer_files()}.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True) + "\n"
        (folder / name).write_text(text)


def _apart(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The same tensors, each alone in its storage, as the format wants them; most are already."""
    apart: dict[str, torch.Tensor] = {}
    taken: set[int] = set()
    for name, value in tensors.items():
        tensor = value.detach().contiguous()
        storage = tensor.untyped_storage()
        if storage.nbytes() != tensor.nbytes or storage.data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        apart[name] = tensor
    return apart


def _state_of(source: Path) -> tuple[int, int, int]:
    state: os.stat_result = source.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns
