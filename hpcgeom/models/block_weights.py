"""Weights that follow the blocks as they run: two blocks' worth of memory, whatever the model's size.

A block's weights are there when it is called. While it runs, those of the next are read into the memory that
the block before it has left.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass

import torch

from hpcgeom import trace
from hpcgeom.models.host_memory import large_pages
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.weight_reader import FLOATS, WeightReader
from hpcgeom.models.weights import Placement

ALIGNMENT_BYTES = 512
"""Where a parameter may begin in a buffer: kernels give other last bits off their own alignment."""


@dataclass(frozen=True, slots=True, eq=False)
class _Parameter:
    """A parameter of a block, all its names, and its place in a buffer."""

    name: str
    owners: tuple[tuple[torch.nn.Module, str], ...]
    empty: torch.nn.Parameter
    offset: int

    @property
    def end(self) -> int:
        return self.offset + int(self.empty.numel()) * int(self.empty.element_size())

    def within(self, buffer: torch.Tensor) -> torch.Tensor:
        """Its part of `buffer`."""
        return buffer[self.offset : self.end].view(self.empty.dtype).view(self.empty.shape)

    def become(self, parameter: torch.nn.Parameter) -> None:
        """Let the model have `parameter` here."""
        for owner, attribute in self.owners:
            setattr(owner, attribute, parameter)


@dataclass(frozen=True, slots=True, eq=False)
class _Loading:
    """A block whose weights are in a buffer, or on their way there."""

    index: int
    buffer: torch.Tensor
    reads: list[Future[None]]


class BlockWeights:
    """The blocks of a model without memory of their own.

    Parameters
    ----------
    model
        A skeleton on the meta device. Its blocks get hooks, and keep them until `close`.
    layout
        Where its blocks are.
    placement
        Where its weights are on disk.
    device
        Where the blocks run.

    Attributes
    ----------
    n_wanted
        Blocks from this one on are not read ahead.
    """

    def __init__(
        self, model: torch.nn.Module, layout: BlockLayout, placement: Placement, device: torch.device
    ) -> None:
        blocks = layout.blocks_of(model)
        self._blocks = _parameters_of(model, layout, placement)
        names = [parameter.name for block in self._blocks for parameter in block]
        self._reader = WeightReader({name: placement.stored[name] for name in names}, device)
        n_bytes = max((block[-1].end for block in self._blocks if block), default=0)
        self._free = [_memory(n_bytes, device) for _ in range(2)]
        self._here: _Loading | None = None
        self._coming: _Loading | None = None
        self.n_wanted = len(blocks)
        self._hooks = [
            block.register_forward_pre_hook(lambda *_, index=index: self._hold(index))
            for index, block in enumerate(blocks)
        ]

    @property
    def names(self) -> frozenset[str]:
        """Names of the parameters that come and go; all others stay."""
        return frozenset(parameter.name for block in self._blocks for parameter in block)

    @property
    def n_bytes_read(self) -> int:
        """Bytes read so far."""
        return self._reader.n_bytes_read

    def _hold(self, index: int) -> None:
        """Let block `index` have its weights, and begin to read those of the next."""
        if self._here is not None and self._here.index == index:
            return
        self._leave()
        coming, self._coming = self._coming, None
        if coming is not None and coming.index != index:
            self._arrive(coming)
            self._free.append(coming.buffer)
            coming = None
        here = coming or self._begin(index)
        self._arrive(here)
        for parameter in self._blocks[index]:
            parameter.become(torch.nn.Parameter(parameter.within(here.buffer), requires_grad=False))
        self._here = here
        if index + 1 < min(self.n_wanted, len(self._blocks)):
            self._coming = self._begin(index + 1)

    def _begin(self, index: int) -> _Loading:
        buffer = self._free.pop()
        targets = {parameter.name: parameter.within(buffer) for parameter in self._blocks[index]}
        return _Loading(index, buffer, self._reader.begin(targets))

    def _arrive(self, loading: _Loading) -> None:
        try:
            with trace.span("wait", for_="weights", block=loading.index):
                self._reader.end(loading.reads)
        except BaseException:
            self._free.append(loading.buffer)
            raise

    def _leave(self) -> None:
        """Take the weights from the block that has them."""
        here, self._here = self._here, None
        if here is not None:
            for parameter in self._blocks[here.index]:
                parameter.become(parameter.empty)
            self._free.append(here.buffer)

    def close(self) -> None:
        """Take hooks and weights off the blocks, and close the files."""
        for hook in self._hooks:
            hook.remove()
        self._leave()
        self._reader.close()


def _parameters_of(
    model: torch.nn.Module, layout: BlockLayout, placement: Placement
) -> list[list[_Parameter]]:
    """The parameters of each block that can come and go: on the meta device, and of this block alone."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in placement.targets.items():
        names[id(tensor)].append(name)
    found: list[list[_Parameter]] = []
    for index in range(len(layout.blocks_of(model))):
        prefix, offset = f"{layout.blocks}.{index}.", 0
        found.append([])
        for name, stored in placement.stored.items():
            target, same = placement.targets[name], names[id(placement.targets[name])]
            is_own = all(each.startswith(prefix) for each in same)
            if is_own and target.is_meta and target.is_floating_point() and stored.dtype in FLOATS:
                owners = tuple(_owner(model, each) for each in same)
                found[-1].append(_Parameter(name, owners, target, offset))
                offset = -(-found[-1][-1].end // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return found


def _memory(n_bytes: int, device: torch.device) -> torch.Tensor:
    if device.type == "cpu":
        return large_pages(n_bytes)
    return torch.empty(n_bytes, dtype=torch.uint8, device=device)


def _owner(model: torch.nn.Module, name: str) -> tuple[torch.nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute
