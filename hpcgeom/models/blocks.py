"""How the blocks of a model are run one at a time.

The model's own forward runs up to its first block, whose arguments are kept and replayed for every block,
so that no family's forward is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hpcgeom.errors import InputError
from hpcgeom.models.layout import BlockLayout


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

    @property
    def n_bytes(self) -> int:
        """Memory of the tensors in it."""
        return sum(
            tensor.untyped_storage().nbytes() for tensor in _tensors_in((self.arguments, self.keywords))
        )


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors_in(each)


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
        raise InputError(
            f"the forward pass does not run '{layout.blocks}.0': `blocks` names another list: correct it"
        )
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
        f"'{path}' gets no hidden states as its first argument or as a keyword: not a chain of blocks: "
        "leave `blocks` out and read module:<glob>"
    )


def run_block(block: torch.nn.Module, call: BlockCall, hidden: torch.Tensor) -> torch.Tensor:
    """One block on `hidden` (B, T, D); of a tuple of outputs, the first is the new hidden states."""
    if call.hidden_keyword is None:
        output = block(hidden, *call.arguments, **call.keywords)
    else:
        output = block(*call.arguments, **{call.hidden_keyword: hidden}, **call.keywords)
    return first_tensor(output, "a block")


def replay(
    model: torch.nn.Module, layout: BlockLayout, inputs: Mapping[str, Any], n_blocks: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Run `n_blocks` blocks one after another.

    Only the hidden states of one layer, and those of the next while a block runs, are ever held, as long as
    the caller keeps none.

    Yields
    ------
    tuple
        Layer and its hidden states (B, T, D), from layer 0 to layer `n_blocks`.
    """
    blocks = layout.blocks_of(model)
    hidden, call = first_block_arguments(model, layout, inputs)
    yield 0, hidden
    for index in range(n_blocks):
        hidden = run_block(blocks[index], call, hidden)
        yield index + 1, hidden


def final_normed(model: torch.nn.Module, layout: BlockLayout, hidden: torch.Tensor) -> torch.Tensor:
    """`hidden` (B, T, D) after the norm that follows the last block; itself where there is none."""
    norm = layout.final_norm_of(model)
    return hidden if norm is None else first_tensor(norm(hidden), "the final norm")


def first_tensor(output: Any, source: str) -> torch.Tensor:
    """The tensor that `source` gives, or the first of the tuple that it gives.

    Raises
    ------
    InputError
        There is none.
    """
    return nth_tensor(output, 0, source)


def nth_tensor(output: Any, item: int, source: str) -> torch.Tensor:
    """The tensor that `source` gives (where `item` is 0), or item number `item` of the tuple that it gives.

    Raises
    ------
    InputError
        There is none.
    """
    is_several = isinstance(output, tuple | list)
    value = output[item] if is_several and len(output) > item else output
    if isinstance(value, torch.Tensor) and (is_several or item == 0):
        return value
    wanted = "that starts with one" if item == 0 else f"with one at position {item}"
    raise InputError(
        f"{source} gives {type(output).__name__}; expected a tensor, or a tuple {wanted}: read another module"
    )


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
