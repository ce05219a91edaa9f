"""Where the blocks of a model are, and how they are run one at a time.

The model's own forward runs up to its first block, whose arguments are kept and replayed for every block,
so that no family's forward is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from hpcgeom.catalog.sites import FROM_LAYER_0, SITES
from hpcgeom.errors import InputError


@dataclass(frozen=True, slots=True)
class SitePath:
    """A submodule of a block, and which side of it a site is.

    Attributes
    ----------
    path
        Path relative to the block.
    side
        ``output`` of that submodule, or its first ``input``.
    """

    path: str
    side: Literal["input", "output"] = "output"


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Where things are in a model made of a chain of blocks.

    Attributes
    ----------
    blocks
        Path of the list of blocks.
    sites
        Site to its place in every block; `resid` and `hidden_states` follow from the chain itself.
    final_norm
        Path of the norm after the last block; None if there is none.
    post_norm
        Blocks end with their norm, so the last block's output needs none (Vaswani et al. 2017).
    """

    blocks: str
    sites: Mapping[str, SitePath] = field(default_factory=dict)
    final_norm: str | None = None
    post_norm: bool = False

    @property
    def site_names(self) -> tuple[str, ...]:
        """Sites that exist in this layout, in the order of the catalogue."""
        return tuple(s for s in SITES if s in self.sites or s in ("resid", "hidden_states"))

    def blocks_of(self, model: torch.nn.Module) -> torch.nn.ModuleList | torch.nn.Sequential:
        """The blocks, in order."""
        return model.get_submodule(self.blocks)

    def final_norm_of(self, model: torch.nn.Module) -> torch.nn.Module | None:
        """The norm after the last block, if there is one."""
        return None if self.final_norm is None else model.get_submodule(self.final_norm)


def n_blocks_to_run(site: str, last_layer: int, n_layers: int) -> int:
    """How many blocks must run for `site` to be read up to `last_layer` of a model of `n_layers` blocks."""
    if site == "ln_1":  # the first norm of the block after h_l
        return min(last_layer + 1, n_layers)
    return last_layer


def layer_in_block(site: str, block_index: int) -> int:
    """Layer number of `site` as read in block `block_index`: norms before a block belong to its input."""
    return block_index if site in FROM_LAYER_0 else block_index + 1


@dataclass(frozen=True, slots=True, eq=False)
class BlockCall:
    """The arguments of a block, its hidden states taken out.

    Attributes
    ----------
    arguments, keywords
        What else the model hands to each block: masks, rotary tables.
    hidden_keyword
        Name under which the hidden states are given; None if they are the first argument.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    hidden_keyword: str | None


class _Stopped(BaseException):
    """The first block was reached. Not an Exception: a model may catch those."""


def first_block_arguments(
    model: torch.nn.Module, layout: BlockLayout, inputs: Mapping[str, Any]
) -> tuple[torch.Tensor, BlockCall]:
    """Run a model up to its first block.

    Parameters
    ----------
    model
        Loaded model; blocks after the first may have no weights yet.
    layout
        Where its blocks are.
    inputs
        Keywords of the model's forward.

    Returns
    -------
    tuple
        Hidden states h_0, (B, T, D), and the rest of the block's arguments. They are apart so that h_0 can
        be freed while the rest is replayed.

    Raises
    ------
    InputError
        The forward never ran its first block, or gave it no tensor.
    """
    captured: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stop(_: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        captured.append((arguments, keywords))
        raise _Stopped

    block = layout.blocks_of(model)[0]
    handle = block.register_forward_pre_hook(stop, prepend=True, with_kwargs=True)
    try:
        model(**inputs)
    except _Stopped:
        pass
    finally:
        handle.remove()
    if not captured:
        raise InputError(f"the forward pass does not run '{layout.blocks}.0': `blocks` names another list")
    return _split_call(*captured.pop(), path=f"{layout.blocks}.0")


def _split_call(
    arguments: tuple[Any, ...], keywords: dict[str, Any], path: str
) -> tuple[torch.Tensor, BlockCall]:
    if arguments and isinstance(arguments[0], torch.Tensor):
        return arguments[0], BlockCall(arguments[1:], keywords, None)
    for name, value in keywords.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() == 3:
            rest = {other: kept for other, kept in keywords.items() if other != name}
            return value, BlockCall(arguments, rest, name)
    raise InputError(
        f"'{path}' gets no hidden states as its first argument or as a keyword: not a chain of blocks"
    )


def run_block(block: torch.nn.Module, call: BlockCall, hidden: torch.Tensor) -> torch.Tensor:
    """One block on `hidden` (B, T, D); of a tuple of outputs, the first is the new hidden states."""
    if call.hidden_keyword is None:
        output = block(hidden, *call.arguments, **call.keywords)
    else:
        output = block(*call.arguments, **{call.hidden_keyword: hidden}, **call.keywords)
    return first_tensor(output, "a block")


def first_tensor(output: Any, source: str) -> torch.Tensor:
    """The tensor that `source` gives, or the first of the tuple that it gives.

    Raises
    ------
    InputError
        There is none.
    """
    value = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f"{source} gives {type(output).__name__}; expected a tensor, or a tuple that starts with one: "
            "read another module"
        )
    return value


def check_chain(model: torch.nn.Module, layout: BlockLayout, inputs: Mapping[str, Any]) -> None:
    """Make sure that replaying the blocks gives what the model's own forward gives.

    Runs both on `inputs`, which should be one row.

    Raises
    ------
    InputError
        The model does not run each block once and in order, or does more between them than hand on the
        hidden states.
    """
    blocks = layout.blocks_of(model)
    order: list[int] = []
    own: list[torch.Tensor] = []

    def note(index: int) -> Any:
        def hook(_: torch.nn.Module, __: Any, output: Any) -> None:
            order.append(index)
            own[:] = [first_tensor(output, "a block")]

        return hook

    handles = [block.register_forward_hook(note(index)) for index, block in enumerate(blocks)]
    try:
        model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    expected = list(range(len(blocks)))
    if order != expected:
        raise InputError(
            f"the forward pass ran the blocks of '{layout.blocks}' as {order[:20]}; expected "
            f"{expected[:20]}, each once and in order: leave `blocks` out and read module:<glob>"
        )
    hidden, call = first_block_arguments(model, layout, inputs)
    for block in blocks:
        hidden = run_block(block, call, hidden)
    if not _equal_to_rounding(own[0], hidden):
        raise InputError(
            f"the blocks of '{layout.blocks}' are not a plain chain: the model does more between them than "
            "hand on "
            "the hidden states (skips, other arguments per block): leave `blocks` out and read module:<glob>"
        )


def _equal_to_rounding(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two results of one computation are equal up to what another order of sums can change."""
    if a.shape != b.shape:
        return False
    scale = float(a.float().nan_to_num(0.0, 0.0, 0.0).abs().max())
    tolerance = 16 * torch.finfo(a.dtype).eps * scale
    return bool(torch.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True))
