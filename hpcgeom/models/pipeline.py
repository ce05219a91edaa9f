"""The strategy `pipeline`: one process a device, each with a contiguous run of blocks.

Batches flow from process to process. All go through the same batches in the same order, and each reads the
samples itself, so that nothing but hidden states travels; masks and tables of positions are made by each, by
the model's own forward up to its first block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hpcgeom import faults, freed_memory, trace
from hpcgeom.errors import InputError
from hpcgeom.models.blocks import first_block_arguments
from hpcgeom.models.chain import advance, leave
from hpcgeom.models.cut import cut
from hpcgeom.models.details import Details, check_one_row
from hpcgeom.models.failures import MemoryRanOut, explaining_forward
from hpcgeom.models.families import build_with_readings, family
from hpcgeom.models.hooks import Sink, SiteHooks, hook_blocks, hook_embeddings, hook_modules
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.limits import Limits, check_batch, probe_batch
from hpcgeom.models.links import Inbox, Outbox
from hpcgeom.models.parts import Part, own_readings
from hpcgeom.models.peers import Peers
from hpcgeom.models.pipelined_details import read_together
from hpcgeom.models.pooling import BatchMasks, check_poolable
from hpcgeom.models.readings import SiteReading, layers_by_site
from hpcgeom.models.request import ModelRequest, ModelShapes, TokenBatch
from hpcgeom.models.reused_memory import ReusedMemory
from hpcgeom.models.rounds import Round
from hpcgeom.models.shapes import shapes_of, widths_of
from hpcgeom.models.sinks import Pooled, PooledSink
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.steps import readings_by_step
from hpcgeom.models.weights import fill, place_weights, torch_dtype


@dataclass(frozen=True)
class Pipeline:
    """A part of a model per device, each in a process of its own."""

    def open_model(
        self, request: ModelRequest, peers: Peers, device: str = "cpu", threads: int = 1
    ) -> PipelinedModel:
        """Build the model of `request`; load the weights of this process's blocks and of what is no block.

        All processes open the same models in the same order.

        Parameters
        ----------
        request
            What is asked for.
        peers
            All processes, and which one this is.
        device
            ``cpu`` or a torch device such as ``cuda:0``.
        threads
            CPU threads of torch, set for the whole process.

        Raises
        ------
        InputError
            The request, the configuration or the weights are wrong, the model is no chain of blocks, or it
            has fewer blocks than there are processes.
        OtherFailed
            Another process has failed.
        """
        torch.set_num_threads(threads)
        freed_memory.keep_it()
        limits = family(request.family).limits(request)
        skeleton, readings = build_with_readings(request)
        layout = _layout_of(skeleton, request)
        blocks = layout.blocks_of(skeleton.model)
        steps = readings_by_step(readings, layout.blocks, len(blocks), request.name)
        n_run = len(blocks) if request.details else max(1, len(steps) - 2)
        own = _cut_of(blocks, n_run, layout.final_norm_of(skeleton.model), peers.n_processes)[peers.index]
        unused = _load(skeleton, layout, own, request, device)
        peers.introduce(f"blocks {own.start} to {own.stop - 1}")
        here = own_readings(readings, own, n_run, layout, len(blocks), request.name)
        part = Part(own, n_run, here)
        return PipelinedModel(request, skeleton, limits, readings, part, unused, peers, device, threads)


@dataclass(slots=True, eq=False)
class PipelinedModel:
    """This process's part of a model that several run; each calls the same methods with the same batches."""

    request: ModelRequest
    skeleton: Skeleton
    limits: Limits
    readings: Mapping[str, SiteReading]
    part: Part
    unused_keys: tuple[str, ...]
    peers: Peers
    device: str
    threads: int
    _hooks: SiteHooks = field(default_factory=SiteHooks, init=False)
    _inbox: Inbox | None = field(default=None, init=False)
    _outbox: Outbox | None = field(default=None, init=False)
    _n_batches: int = field(default=0, init=False)
    _round: Round | None = field(default=None, init=False)
    _memory: ReusedMemory = field(default_factory=ReusedMemory, init=False)

    def __post_init__(self) -> None:
        model, layout = self.skeleton.model, self.layout
        layers = layers_by_site(self.part.readings)
        hook_embeddings(self._hooks, model, layout, layers)
        hook_blocks(self._hooks, model, layout, layers)
        modules = {site: reading for site, reading in self.part.readings.items() if reading.modules}
        hook_modules(self._hooks, model, modules)
        device = torch.device(self.device)
        through_host = device.type == "cuda" and _share_devices(self.peers, device)
        if not self.peers.is_first:
            self._inbox = Inbox(self.peers, device, self._look, through_host=through_host)
        if not self.peers.is_last:
            self._outbox = Outbox(self.peers, device, self._look, through_host=through_host)

    @property
    def layout(self) -> BlockLayout:
        """Where things are in the model."""
        assert self.skeleton.layout is not None  # open_model refuses models without blocks
        return self.skeleton.layout

    def layers_of(self, site: str) -> tuple[int, ...]:
        """Layers of `site` that this process gives; none where they are all read by others."""
        reading = self.part.readings.get(site)
        return () if reading is None else reading.layers

    def describe(self, probe: TokenBatch | None = None) -> ModelShapes:
        """Layers and widths of all that is read, by this process or by others; see `ReplicatedModel`."""
        batch = probe_batch(self.limits) if probe is None else probe.rows(2)
        own = widths_of(self.part.readings, self._extract(batch, check_finite=False))
        widths: dict[str, int] = {}
        for each in self.peers.board.exchange("widths", own):
            widths |= each
        with torch.inference_mode():
            hidden, _ = first_block_arguments(
                self.skeleton.model, self.layout, self.skeleton.inputs_of(batch, self.device)
            )
        width = int(hidden.shape[-1])
        return shapes_of(self.skeleton, self.readings, widths, width, self.unused_keys)

    def run(self, batches: Iterable[TokenBatch], scratch: Path | None = None) -> Iterator[Pooled]:
        """What this process reads of some batches.

        Yields
        ------
        dict
            One for each batch, in order: (site, pooling) to float32 (n_layers, B, D), layers as `layers_of`
            says; sites of which it has no layer are left out.

        Raises
        ------
        InputError
            A sequence is longer than the model's positions, an id is not in its vocabulary, or a row has no
            token to pool.
        NonFiniteActivation
            A value is NaN or infinite; carries the number of the batch.
        MemoryRanOut
            On a batch, in this process or in another; raised by all of them, which then may begin again with
            the first batch that has not come.
        OtherFailed
            Another process has failed.
        """
        del scratch  # a batch is yielded when it is found
        self._round = Round(self.peers, self.device, self._is_ready)
        try:
            yield from self._round.run(batches, lambda batch: self._extract(batch, check_finite=True))
        except MemoryRanOut:
            self._begin_again()
            raise
        finally:
            self._round = None

    def details(self, batch: TokenBatch) -> Details:
        """What is kept whole of one sample; see `hpcgeom.models.details.read_details`.

        Returns
        -------
        dict
            All of it in the first process, nothing in the others.

        Raises
        ------
        InputError
            As `run`; or the batch has several rows or padding.
        """
        check_batch(batch, self.limits, self.request.name)
        inputs = self.skeleton.inputs_of(batch, self.device)
        check_one_row(inputs, self.request.name)
        with torch.inference_mode(), explaining_forward(self.request.name, *batch.input_ids.shape):
            return read_together(self, inputs)

    def walk(
        self,
        inputs: Mapping[str, Any],
        layers: Mapping[str, Collection[int]],
        readings: Mapping[str, SiteReading],
        sink: Sink,
    ) -> None:
        """Take one batch through the blocks of all processes, with hooks that are only for it.

        Parameters
        ----------
        inputs
            Keywords of the model's forward.
        layers
            Layers that hooks read in this process, by site.
        readings
            What is read in this process without hooks.
        sink
            What takes it, and the hidden states of all layers of this process, as site `resid`.
        """
        hooks = SiteHooks()
        hook_embeddings(hooks, self.skeleton.model, self.layout, layers)
        hook_blocks(hooks, self.skeleton.model, self.layout, layers)
        try:
            with hooks.collecting(sink):
                self._hand_on(self._run_blocks(inputs, readings, sink))
        finally:
            hooks.remove()

    def close(self) -> None:
        """Take all hooks off the model, and wait until all that was computed has reached the next process."""
        self._hooks.remove()
        if self._outbox is not None:
            self._outbox.close()
        if self._inbox is not None:
            self._inbox.close()

    def _extract(self, batch: TokenBatch, check_finite: bool) -> Pooled:
        check_batch(batch, self.limits, self.request.name)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        masks = BatchMasks.of(batch, self.device)
        check_poolable(masks, frozenset(p for reading in self.readings.values() for p in reading.poolings))
        sink = PooledSink(self.part.readings, masks, self.request.dtype, self._memory)
        with torch.inference_mode(), explaining_forward(self.request.name, *batch.input_ids.shape):
            inputs = self.skeleton.inputs_of(batch, self.device)
            with self._hooks.collecting(sink):
                hidden = self._run_blocks(inputs, self.part.readings, sink)
            found = sink.finish(check_finite)  # first, so that the process where it happened tells of a NaN
            self._hand_on(hidden)
            return found

    def _begin_again(self) -> None:
        """Go on with a number that no batch has had; what is still under way is dropped where it arrives."""
        self._n_batches = max(self.peers.board.exchange("batches", self._n_batches))
        if self._inbox is not None:
            self._inbox.begin_at(self._n_batches)

    def _is_ready(self, timeout_s: float) -> bool:
        """Whether the next batch has come, and can be handed on, within some time for each."""
        return all(link.is_ready(timeout_s) for link in (self._inbox, self._outbox) if link is not None)

    def _look(self) -> None:
        """While another process is waited for: whether all are well, and go on."""
        if self._round is None:
            self.peers.check()
        else:
            self._round.look()

    def _run_blocks(
        self, inputs: Mapping[str, Any], readings: Mapping[str, SiteReading], sink: Sink
    ) -> torch.Tensor:
        """Run this process's blocks on what the process before sends; gives what is to be handed on."""
        model, layout, part, number = self.skeleton.model, self.layout, self.part, self._n_batches
        hidden, call = first_block_arguments(model, layout, inputs)
        if self._inbox is not None:
            hidden = self._inbox.get(number, like=hidden)
        with trace.span("compute", batch=number):
            faults.reached("pipeline-batch", process=self.peers.index, shape=tuple(hidden.shape))
            for index in part.blocks:
                self.peers.check()
                hidden = advance(model, layout, index, call, hidden, sink)
            if part.is_last:
                leave(model, layout, part.n_run, hidden, readings, sink)
        return hidden

    def _hand_on(self, hidden: torch.Tensor) -> None:
        if self._outbox is not None:
            self._outbox.put(self._n_batches, hidden)
        self._n_batches += 1


def _layout_of(skeleton: Skeleton, request: ModelRequest) -> BlockLayout:
    if request.family == "module" or skeleton.layout is None:
        raise InputError(
            f"model '{request.name}' of family '{request.family}' cannot be run by `pipeline`, whose "
            "processes each build a part of a model: use the strategy replicate or dispatch"
        )
    return skeleton.layout


def _cut_of(blocks: Any, n_run: int, final_norm: torch.nn.Module | None, n_processes: int) -> list[range]:
    at_end = n_parameters(final_norm) if n_run == len(blocks) and final_norm is not None else 0
    return cut([n_parameters(block) for block in blocks[:n_run]], n_processes, at_end)


def n_parameters(module: torch.nn.Module) -> int:
    """How many parameters a module has: what a token costs there is proportional to it."""
    return sum(parameter.numel() for parameter in module.parameters())


def _load(
    skeleton: Skeleton, layout: BlockLayout, own: range, request: ModelRequest, device: str
) -> tuple[str, ...]:
    """Load what is no block, and the blocks in `own`; the others get no values. Gives unused keys."""
    blocks = layout.blocks_of(skeleton.model)
    others = [index for index in range(len(blocks)) if index not in own]
    unused: tuple[str, ...] = ()
    if skeleton.keys is not None and request.folder is not None:
        without = tuple(f"{layout.blocks}.{index}." for index in others)
        placement = place_weights(skeleton.model, request.folder, skeleton.keys, torch_dtype(request.dtype))
        names = [name for name in placement.stored if not name.startswith(without)]
        fill(skeleton.model, placement, names, device)
        unused = placement.report.unused
    for index in others:
        blocks[index].to("meta")  # its buffers, and random weights, which are drawn for all blocks at once
    for module in skeleton.model.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if not tensor.is_meta:
                tensor.data = tensor.data.to(device)
    return unused


def _share_devices(peers: Peers, device: torch.device) -> bool:
    """Whether two processes run on one GPU, which NCCL does not allow."""
    gpu = str(torch.cuda.get_device_properties(device).uuid)
    gpus = peers.board.exchange("gpu", gpu)
    return len(set(gpus)) < len(gpus)
