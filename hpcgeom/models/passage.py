"""One set of batches on its way through the blocks of a model: all of them through a block, then the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcgeom import faults, trace
from hpcgeom.models.blocks import BlockCall, first_block_arguments
from hpcgeom.models.chain import advance, leave
from hpcgeom.models.failures import explaining_forward, of_batch
from hpcgeom.models.hidden_states import HiddenStates
from hpcgeom.models.hooks import SiteHooks
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.pooled_parts import PooledInFiles, PooledInMemory, PooledParts
from hpcgeom.models.pooling import BatchMasks, check_poolable
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.request import ModelRequest, TokenBatch
from hpcgeom.models.reused_memory import ReusedMemory
from hpcgeom.models.scratch import Scratch, SetDigest
from hpcgeom.models.sinks import Pooled, PooledSink
from hpcgeom.models.skeletons import Skeleton

CALLS_BYTES = 256 * 2**20
"""Memory for what blocks are called with: masks and tables of all batches. Beyond it they are made again for
every block, from the embeddings on."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What all passages through one model have in common.

    Attributes
    ----------
    readings
        What is read at each step, see `hpcgeom.models.steps`.
    hooks
        On all places in the model that are read.
    """

    request: ModelRequest
    skeleton: Skeleton
    layout: BlockLayout
    readings: Sequence[Mapping[str, SiteReading]]
    hooks: SiteHooks
    device: torch.device
    threads: int

    @property
    def poolings(self) -> frozenset[str]:
        """All poolings that are asked for."""
        return frozenset(name for reading in self.request.readings for name in reading.poolings)


@dataclass(frozen=True, slots=True, eq=False)
class _Traveler:
    """What is known of a batch beside its hidden states.

    Attributes
    ----------
    batch
        What its call is made of again for every block; None where `call` is kept.
    call
        What blocks are called with beside hidden states.
    """

    masks: BatchMasks
    batch: TokenBatch | None
    call: BlockCall | None


class Passage:
    """A set of batches that goes through the blocks together.

    Parameters
    ----------
    scratch
        Folder for what exceeds the memory, and for going on after a kill; None for neither.
    host_memory_bytes
        How much of the hidden states is kept in the host's memory.
    check_finite
        Whether activations that are not finite are an error.

    Attributes
    ----------
    width
        Features of the hidden states, once a batch has entered.
    """

    def __init__(
        self, route: Route, scratch: Path | None, host_memory_bytes: int, check_finite: bool = True
    ) -> None:
        self._route, self._check_finite = route, check_finite
        self._travelers: list[_Traveler] = []
        self._calls_bytes = 0
        self._memory = ReusedMemory()
        self.width = 0
        self.hidden = HiddenStates(scratch, host_memory_bytes, route.device)
        self._pooled: PooledParts
        self._scratch: Scratch | None = None
        if scratch is None:
            self._pooled = PooledInMemory(route.readings)
        else:
            self._pooled = files = PooledInFiles(route.readings, scratch, self._memory)
            self._scratch = Scratch(scratch, self.hidden, files)

    def __len__(self) -> int:
        return len(self._travelers)

    def go(self, batches: Iterable[TokenBatch]) -> None:
        """Take all batches to the end.

        Raises
        ------
        InputError, NonFiniteActivation, ResourceError
            See `hpcgeom.models.stream.StreamedModel.run`.
        """
        digest = SetDigest(self._route.request, self._route.device, self._route.threads)
        for batch in batches:
            digest.add(batch)
            self._enter(batch)
        if not self._travelers:
            return
        n_steps = len(self._route.readings)
        n_done = 1 if self._scratch is None else max(1, self._scratch.resume(digest.hex))
        for step in range(n_done, n_steps - 1):
            self._through(step - 1)
            if self._scratch is not None:
                self._scratch.save_if_due(step + 1)
        if n_done < n_steps:
            self._leave()
            if self._scratch is not None:
                self._scratch.save_all(n_steps)

    def of(self, number: int) -> Pooled:
        """What was pooled of a batch, after `go`."""
        found = self._pooled.of(number)
        keys = [(each.site, pooling) for each in self._route.request.readings for pooling in each.poolings]
        return {key: found[key] for key in keys}

    def close(self) -> None:
        """Free the memory and close files; scratch stays until it is forgotten."""
        self.hidden.close()
        self._pooled.close()

    def _enter(self, batch: TokenBatch) -> None:
        """Run the model up to its first block."""
        number, masks = len(self._travelers), BatchMasks.of(batch, self._route.device)
        check_poolable(masks, self._route.poolings)
        self._pooled.add(len(masks.real), int(masks.ordinary.sum()))
        sink = self._sink(0, masks)
        with torch.inference_mode(), self._explaining(number, masks), self._route.hooks.collecting(sink):
            hidden, call = self._first_call(batch)
        keeps_call = self._calls_bytes + call.n_bytes <= CALLS_BYTES
        self._calls_bytes += call.n_bytes if keeps_call else 0
        self._travelers.append(_Traveler(masks, *((None, call) if keeps_call else (batch, None))))
        self.width = int(hidden.shape[-1])
        self.hidden.add(hidden)
        self._settle(0, number, sink)

    def _through(self, index: int) -> None:
        """Run block `index` on all batches."""
        route, step = self._route, index + 1
        running: tuple[int, PooledSink] | None = None
        for number, hidden in self.hidden.each():
            traveler = self._travelers[number]
            sink = self._sink(step, traveler.masks)
            with torch.inference_mode(), self._explaining(number, traveler.masks):
                call = traveler.call or self._first_call_of(traveler)
                with trace.span("compute", block=index, batch=number), route.hooks.collecting(sink):
                    after = advance(route.skeleton.model, route.layout, index, call, hidden, sink)
            self.hidden.replace(number, after)
            sink.send()
            if running is not None:  # a device computes on while what it gave before is looked at
                self._settle(step, *running)
            running = (number, sink)
        if running is not None:
            self._settle(step, *running)
        self.hidden.advance()
        faults.reached("stream-block", block=index)

    def _leave(self) -> None:
        """Read what is behind the last block."""
        step = len(self._route.readings) - 1
        if not self._route.readings[step]:
            return
        for number, hidden in self.hidden.each():
            masks = self._travelers[number].masks
            sink = self._sink(step, masks)
            with torch.inference_mode(), self._explaining(number, masks), self._route.hooks.collecting(sink):
                readings = self._route.readings[step]
                leave(self._route.skeleton.model, self._route.layout, step - 1, hidden, readings, sink)
            self._settle(step, number, sink)

    def _sink(self, step: int, masks: BatchMasks) -> PooledSink:
        return PooledSink(self._route.readings[step], masks, self._route.request.dtype, self._memory)

    def _settle(self, step: int, number: int, sink: PooledSink) -> None:
        with of_batch(number):
            self._pooled.put(step, number, sink.finish(self._check_finite))

    def _first_call(self, batch: TokenBatch) -> tuple[torch.Tensor, BlockCall]:
        skeleton = self._route.skeleton
        inputs = skeleton.inputs_of(batch, self._route.device)
        return first_block_arguments(skeleton.model, self._route.layout, inputs)

    def _first_call_of(self, traveler: _Traveler) -> BlockCall:
        assert traveler.batch is not None
        return self._first_call(traveler.batch)[1]

    @contextmanager
    def _explaining(self, number: int, masks: BatchMasks) -> Iterator[None]:
        with of_batch(number), explaining_forward(self._route.request.name, *masks.real.shape):
            yield
