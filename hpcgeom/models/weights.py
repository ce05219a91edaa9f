"""Weights from safetensors into a model, with nothing missing and nothing left over by accident.

transformers only logs missing keys and fills them with random numbers; here they are an error.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models.checkpoint import Stored, open_safetensors, stored_tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_FLOATING = frozenset({"F64", "F32", "F16", "BF16"})
_INTEGER = {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
            "BOOL": torch.bool}  # fmt: skip
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class KeyTable:
    """How a family's keys on disk become names of its model.

    Attributes
    ----------
    prefixes
        Stripped where a key starts with one: the name of the model inside a larger one.
    renames
        Regular expressions and replacements, applied in order after that.
    unused
        Regular expressions of keys (already renamed) that the model is run without: heads, poolers,
        buffers that are recomputed. Any other key without a place is an error.
    optional
        Regular expressions of names in the model that need not be on disk: buffers that the model has
        worked out by itself, which a file may hold other values of.
    """

    prefixes: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def renamed(self, key: str) -> str:
        """The name in the model of the tensor `key` on disk."""
        for prefix in self.prefixes:
            if key.startswith(prefix):
                key = key.removeprefix(prefix)
                break
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key

    def is_unused(self, key: str) -> bool:
        """Whether the renamed `key` is known to be unneeded."""
        return any(re.search(pattern, key) for pattern in self.unused)

    def is_optional(self, name: str) -> bool:
        """Whether `name` in the model may keep the value that it has."""
        return any(re.search(pattern, name) for pattern in self.optional)


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What loading left aside.

    Attributes
    ----------
    unused
        Names on disk, in order, of tensors that the model is run without.
    """

    unused: tuple[str, ...]


def torch_dtype(name: str) -> torch.dtype:
    """The compute type called `name`.

    Raises
    ------
    InputError
        It is none of `DTYPES`.
    """
    if name not in DTYPES:
        raise InputError(f"unknown dtype '{name}': expected one of {', '.join(DTYPES)}: choose one of them")
    return DTYPES[name]


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where on disk the tensors of a model are.

    Attributes
    ----------
    targets
        All parameters and persistent buffers of the model, by name; tied names have one tensor.
    stored
        Name in the model to the tensor on disk; of tied names, the first.
    report
        What is left aside.
    """

    targets: Mapping[str, torch.Tensor]
    stored: Mapping[str, Stored]
    report: WeightsReport


def load_weights(
    model: torch.nn.Module,
    source: Path,
    table: KeyTable,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> WeightsReport:
    """Fill all parameters and persistent buffers of `model` from safetensors.

    Parameters
    ----------
    model
        A skeleton whose parameters are on the meta device, or a real module; parameters already have
        `dtype`. Tied parameters need one key.
    source
        Folder, single or sharded, or one safetensors file.
    table
        The family's names.
    dtype
        Type the parameters must have: weights are never left in the type of the file.
    device
        Where meta tensors become real.

    Raises
    ------
    InputError
        Files are missing or damaged (see `hpcgeom.models.checkpoint`).
    ProblemsError
        Keys are missing, unknown, or stored twice, or shapes or kinds of numbers differ; all of it at once.
    """
    placement = place_weights(model, source, table, dtype)
    fill(model, placement, placement.stored, device)
    _check_nothing_is_meta(model)
    return placement.report


def place_weights(model: torch.nn.Module, source: Path, table: KeyTable, dtype: torch.dtype) -> Placement:
    """Find the tensors of a model on disk, and make sure that they fit.

    Reads only the headers of the files, and copies of one tied tensor.

    Raises
    ------
    InputError, ProblemsError
        As `load_weights`.
    """
    targets = _targets(model, dtype)
    stored, report = _placed(targets, source, table)
    return Placement(targets, stored, report)


def fill(
    model: torch.nn.Module, placement: Placement, names: Iterable[str], device: torch.device | str = "cpu"
) -> None:
    """Give some tensors of `model` their values, and those that are tied to them.

    Parameters
    ----------
    names
        Which of ``placement.stored``.
    device
        Where meta tensors become real.
    """
    by_file: dict[Path, list[str]] = defaultdict(list)
    for name in names:
        by_file[placement.stored[name].file].append(name)
    fresh: dict[str, torch.Tensor] = {}
    for file, inside in by_file.items():
        with open_safetensors(file) as handle, torch.no_grad():
            for name in inside:
                value, target = handle.get_tensor(placement.stored[name].key), placement.targets[name]
                if target.is_meta:
                    fresh[name] = torch.empty(target.shape, dtype=target.dtype, device=device).copy_(value)
                else:
                    target.copy_(value)
    model.load_state_dict(fresh, strict=False, assign=True)
    _tie_again(model, placement.targets, fresh)


def check_weights(model: torch.nn.Module, source: Path, table: KeyTable, dtype: torch.dtype) -> WeightsReport:
    """Make sure that `load_weights` would succeed; see `place_weights`."""
    return place_weights(model, source, table, dtype).report


def _targets(model: torch.nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    wrong = [name for name, p in model.named_parameters() if p.is_floating_point() and p.dtype != dtype]
    if wrong:
        raise InputError(
            f"parameter '{wrong[0]}' is {model.get_parameter(wrong[0]).dtype}, expected {dtype}: "
            "convert the model first"
        )
    return dict(model.state_dict(keep_vars=True))


def _placed(
    targets: Mapping[str, torch.Tensor], source: Path, table: KeyTable
) -> tuple[dict[str, Stored], WeightsReport]:
    """Where on disk the tensors of a model are; of tied ones, the first."""
    placed, unused, problems = _match(stored_tensors(source), targets, table)
    if problems:
        raise ProblemsError(
            [f"weights {source}: {problem}: name weights of this model" for problem in problems]
        )
    first = {id(targets[name]): name for name in reversed(list(targets)) if name in placed}
    for name in [name for name in placed if first[id(targets[name])] != name]:
        copy, original = placed.pop(name), placed[first[id(targets[name])]]
        _check_same(copy, original, source)
        unused.append(copy.key)
    return placed, WeightsReport(tuple(sorted(unused)))


def _check_same(copy: Stored, original: Stored, source: Path) -> None:
    """Refuse two tensors for one tied parameter: one of them would be dropped."""
    with open_safetensors(copy.file) as one, open_safetensors(original.file) as other:
        values, kept = one.get_tensor(copy.key), other.get_tensor(original.key)
        if torch.equal(values.to(kept.dtype), kept):
            return
    problem = (
        f"weights {source}: {original.key} and {copy.key} hold different numbers, but the model has one "
        "parameter for both: set `tie_word_embeddings` to false in config.json if they were trained apart"
    )
    raise ProblemsError([problem])


def _tie_again(
    model: torch.nn.Module, targets: Mapping[str, torch.Tensor], fresh: Mapping[str, torch.Tensor]
) -> None:
    """Let parameters that shared one tensor share the loaded one."""
    loaded = {id(targets[name]): name for name in fresh}
    for name, target in targets.items():
        original = loaded.get(id(target), name)
        if original != name:
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, model.get_parameter(original))


def _match(
    stored: Mapping[str, Stored], targets: Mapping[str, torch.Tensor], table: KeyTable
) -> tuple[dict[str, Stored], list[str], list[str]]:
    """Tensor on disk of each name in the model; keys left aside; problems."""
    placed: dict[str, Stored] = {}
    unused, unknown, twice = [], [], []
    for key, tensor in stored.items():
        name = table.renamed(key)
        if name in placed:
            twice.append(f"{placed[name].key} and {key}")
        elif name in targets:
            placed[name] = tensor
        elif table.is_unused(name):
            unused.append(key)
        else:
            unknown.append(key)
    tied = {id(targets[name]) for name in placed}
    missing = [
        name
        for name, target in targets.items()
        if name not in placed and id(target) not in tied and not table.is_optional(name)
    ]
    misfits = [misfit for name, t in placed.items() if (misfit := _misfit(name, t, targets[name]))]
    problems = [
        *_some(missing, "lack", "needs, so it would run with random numbers there"),
        *_some(unknown, "have", "has no place for: another architecture or size than config.json says"),
        *_some(twice, "have twice", "has one place for"),
    ]
    if misfits:
        problems.append(f"do not fit the model: {shortened(misfits, _SHOWN)}")
    return placed, unused, problems


def _misfit(name: str, stored: Stored, target: torch.Tensor) -> str | None:
    shape = tuple(target.shape)
    if stored.shape != shape:
        return f"{name} has shape {stored.shape}, expected {shape}"
    if target.is_floating_point():
        fits = stored.dtype in _FLOATING
    else:
        fits = _INTEGER.get(stored.dtype) == target.dtype
    return (
        None
        if fits
        else f"{name} is stored as {stored.dtype}, expected numbers that convert to {target.dtype}"
    )


def _some(keys: Sequence[str], verb: str, rest: str) -> list[str]:
    return [f"{verb} {len(keys)} tensors that the model {rest}: {shortened(keys, _SHOWN)}"] if keys else []


def _check_nothing_is_meta(model: torch.nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:  # a family built its skeleton wrongly
            raise AssertionError(f"'{name}' has no values after loading")
