"""What the families of transformers share: reading a configuration, and building a model without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import init_empty_weights

from hpcgeom.errors import InputError
from hpcgeom.models import attention
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.linears import ask_onednn
from hpcgeom.models.request import RANDOM_WEIGHTS, ModelRequest, TokenBatch
from hpcgeom.models.weights import KeyTable, torch_dtype

RUN_SETTINGS = frozenset({
    "torch_dtype", "dtype", "attn_implementation", "_attn_implementation", "output_attentions",
    "output_hidden_states", "return_dict",
})  # fmt: skip
"""What some configurations say of how a model is run; here the request says it."""


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
        Which of ``input_ids``, ``attention_mask`` and ``pixel_values`` its forward takes.
    arguments
        What else its forward is called with.
    """

    model: torch.nn.Module
    layout: BlockLayout | None
    keys: KeyTable | None
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def inputs_of(self, batch: TokenBatch, device: torch.device | str) -> dict[str, Any]:
        """What the forward is called with for `batch`, by keyword."""
        tensors = {name: torch.from_numpy(getattr(batch, name)).to(device) for name in self.inputs}
        return {**tensors, **self.arguments}


def read_config(
    request: ModelRequest, config_classes: Mapping[str, Any], fixed: Mapping[str, Any] | None = None
) -> Any:
    """The configuration of a model, as transformers' own class.

    Parameters
    ----------
    config_classes
        ``model_type`` to configuration class: what the family reads.
    fixed
        Settings that must hold here, whatever the file says.

    Raises
    ------
    InputError
        There is no source, config.json is missing, of another architecture, or not valid.
    """
    raw, where = request.config_settings(), request.config_place
    found = str(raw.get("model_type"))
    if found not in config_classes:
        raise InputError(
            f"model '{request.name}' is of family '{request.family}', but {where} says model_type "
            f"'{found}': expected '{' or '.join(config_classes)}': name the right family or the right source"
        )
    kept = {key: value for key, value in raw.items() if key not in RUN_SETTINGS}
    settings = {**kept, "attn_implementation": attention.NAME, **(fixed or {})}
    if request.weights == RANDOM_WEIGHTS:  # of a smaller vocabulary than that of the tokens named
        n_known = settings.get("vocab_size", 0)
        named = ("bos_token_id", "eos_token_id", "pad_token_id")
        defaults = config_classes[found]()
        settings |= {
            key: None
            for key in named
            if isinstance(n_known, int)
            and 0 < n_known <= (settings.get(key, getattr(defaults, key, None)) or 0)
        }
    try:
        return config_classes[found].from_dict(settings)
    except Exception as error:  # the library's validators raise their own kinds
        raise InputError(
            f"{where} is not a valid {found} configuration: {_one_line(error)}: correct it"
        ) from error


def build_model(request: ModelRequest, construct: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Construct a model: on the meta device, or with random weights where these are asked for.

    Raises
    ------
    InputError
        The configuration asks for something that the architecture cannot be.
    """
    dtype = torch_dtype(request.dtype)
    try:
        if request.weights == RANDOM_WEIGHTS:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(request.seed)
                model = construct()
        else:
            # buffers are not in the files: they must be made for real
            with init_empty_weights(include_buffers=False):
                model = construct()
            if hasattr(model, "tie_weights"):  # each parameter of an empty model is one of its own
                model.tie_weights()  # type: ignore[operator]
    except ValueError as error:
        where = request.folder if request.config is None else f"'{request.name}'"
        raise InputError(
            f"config.json in {where} is not a valid {request.family} configuration: {_one_line(error)}: "
            "correct it"
        ) from error
    _cast_parameters(model, dtype)
    ask_onednn(model)
    attention.prepare()
    return model.eval().requires_grad_(False)


def _cast_parameters(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Give all parameters `dtype`; buffers keep theirs (rotary tables are float32), tied ones stay tied."""
    cast: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in cast:
                cast[id(parameter)] = torch.nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
            setattr(module, name, cast[id(parameter)])


def table_of_keys(
    request: ModelRequest,
    base: str,
    heads: Sequence[str],
    renames: tuple[tuple[str, str], ...] = (),
    unused: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> KeyTable | None:
    """How the keys on disk of a model of transformers become names of the model that is built.

    Checkpoints are saved from the base model or from one with a head, and either may be run.

    Parameters
    ----------
    base
        Name of the base model inside one with a head.
    heads
        Names of the modules of heads; the first is the one that is built.
    renames, unused, optional
        See `KeyTable`; patterns must not depend on whether `base` stands before the names.

    Returns
    -------
    KeyTable or None
        None for random weights: nothing is read.
    """
    if request.weights == RANDOM_WEIGHTS:
        return None
    if request.needs_head:
        own = "|".join((base, *heads))
        others = tuple(rf"^{head}\." for head in heads[1:])
        lead = (rf"^(?!({own})\.)", f"{base}.")
        return KeyTable(renames=(lead, *renames), unused=(*unused, *others), optional=optional)
    without = tuple(rf"^{head}\." for head in heads)
    return KeyTable(prefixes=(f"{base}.",), renames=renames, unused=(*unused, *without), optional=optional)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
