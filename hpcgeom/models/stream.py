"""The strategy `stream`: one device and any model, whose weights come and go block by block.

A set of batches is carried through one block after the other, so that each weight is read once a set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from hpcgeom.errors import InputError
from hpcgeom.models.block_weights import BlockWeights
from hpcgeom.models.details import Details, read_details
from hpcgeom.models.failures import explaining_forward
from hpcgeom.models.families import build_with_readings, family
from hpcgeom.models.hooks import SiteHooks, hook_blocks, hook_embeddings, hook_modules
from hpcgeom.models.limits import Limits, check_batch, probe_batch
from hpcgeom.models.passage import Passage, Route
from hpcgeom.models.readings import SiteReading, layers_by_site
from hpcgeom.models.request import RANDOM_WEIGHTS, ModelRequest, ModelShapes, TokenBatch
from hpcgeom.models.shapes import shapes_of, widths_of
from hpcgeom.models.sinks import Pooled
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.steps import readings_by_step
from hpcgeom.models.weights import Placement, fill, place_weights, torch_dtype

HOST_MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Stream:
    """A model of any size on one device: two of its blocks are held at a time."""

    def open_model(
        self,
        request: ModelRequest,
        device: str = "cpu",
        threads: int = 1,
        host_memory_bytes: int = HOST_MEMORY_BYTES,
    ) -> StreamedModel:
        """Build the model of `request`, and load what is not in its blocks.

        Parameters
        ----------
        request
            What is asked for.
        device
            ``cpu`` or a torch device such as ``cuda:0``.
        threads
            CPU threads of torch, set for the whole process: some kernels give other last bits with another
            number.
        host_memory_bytes
            How much of the hidden states of a set may be in the host's memory; the rest is in scratch.

        Raises
        ------
        InputError
            The request, the configuration or the weights are wrong; the model has no blocks, or no weights
            in files; a module outside of the blocks is to be read.
        """
        torch.set_num_threads(threads)
        _check_streamable(request)
        limits = family(request.family).limits(request)
        skeleton, readings = build_with_readings(request)
        assert skeleton.layout is not None  # all families but `module` have blocks
        assert skeleton.keys is not None
        assert request.folder is not None
        where = torch.device(device)
        placement = place_weights(skeleton.model, request.folder, skeleton.keys, torch_dtype(request.dtype))
        weights = BlockWeights(skeleton.model, skeleton.layout, placement, where)
        _load_rest(skeleton.model, placement, weights.names, device)
        steps = readings_by_step(
            readings, skeleton.layout.blocks, len(skeleton.layout.blocks_of(skeleton.model)), request.name
        )
        weights.n_wanted = len(steps) - 2
        hooks = _hooks_of(skeleton, readings)
        route = Route(request, skeleton, skeleton.layout, steps, hooks, where, threads)
        return StreamedModel(route, readings, limits, placement.report.unused, weights, host_memory_bytes)


@dataclass(slots=True, eq=False)
class StreamedModel:
    """A model whose blocks get their weights when they run.

    Attributes
    ----------
    weights
        Those of the blocks.
    """

    _route: Route
    _readings: Mapping[str, SiteReading]
    _limits: Limits
    _unused_keys: tuple[str, ...]
    weights: BlockWeights
    _host_memory_bytes: int

    def describe(self, probe: TokenBatch | None = None) -> ModelShapes:
        """Layers and widths of all that is read, found by running a few tokens.

        Parameters
        ----------
        probe
            A batch whose first two rows are run; None runs 2 x 5 tokens with id 0.
        """
        batch = probe_batch(self._limits) if probe is None else probe.rows(2)
        passage = self._passage(None, sys.maxsize, check_finite=False)
        try:
            passage.go([batch])
            widths = widths_of(self._readings, passage.of(0))
            return shapes_of(self._route.skeleton, self._readings, widths, passage.width, self._unused_keys)
        finally:
            passage.close()

    def run(self, batches: Iterable[TokenBatch], scratch: Path | None = None) -> Iterator[Pooled]:
        """Pooled activations of each of some batches, in order.

        All batches are taken, and carried through all blocks, before the first result is there; the weights
        of each block are read once.

        Parameters
        ----------
        batches
            The set.
        scratch
            Folder of this set, which nobody else uses at the same time. A pass that was killed goes on from
            there where batches, weights and what is read are the same, and gives the same bits; what is left
            of another set is removed. It stays until `forget` is called: once the results are recorded. None
            for a pass that begins anew after a kill, with hidden states that fit the memory allowed.

        Yields
        ------
        dict
            (site, pooling) to float32 (n_layers, B, D), layers in the order of `describe`.

        Raises
        ------
        InputError
            A batch does not suit the model, or weights cannot be read.
        NonFiniteActivation
            A value is NaN or infinite; its `batch` says of which batch. The first block that gives one is
            reported.
        ResourceError
            Hidden states exceed the memory allowed and there is no scratch, or its disk is full.
        DamagedError
            Scratch does not hold what was written to it.
        """
        passage = self._passage(scratch, self._host_memory_bytes)
        try:
            passage.go(self._checked(batches))
            for number in range(len(passage)):
                yield passage.of(number)
        finally:
            passage.close()

    def details(self, batch: TokenBatch) -> Details:
        """What is kept whole of one sample; see `hpcgeom.models.details.read_details`.

        The weights are read once for each pass that this takes.
        """
        route = self._route
        batch = next(self._checked([batch]))
        with torch.inference_mode(), explaining_forward(route.request.name, *batch.input_ids.shape):
            inputs = route.skeleton.inputs_of(batch, route.device)
            return read_details(route.skeleton, inputs, route.request)

    def close(self) -> None:
        """Take all hooks off the model, free the weights of its blocks, and close their files."""
        self._route.hooks.remove()
        self.weights.close()

    def _passage(self, scratch: Path | None, memory_bytes: int, check_finite: bool = True) -> Passage:
        if torch.get_num_threads() != self._route.threads:
            torch.set_num_threads(self._route.threads)
        return Passage(self._route, scratch, memory_bytes, check_finite)

    def _checked(self, batches: Iterable[TokenBatch]) -> Iterator[TokenBatch]:
        for batch in batches:
            check_batch(batch, self._limits, self._route.request.name)
            yield batch


def _check_streamable(request: ModelRequest) -> None:
    """Refuse what is whole in memory before its first block could run."""
    if request.family == "module":
        raise InputError(
            f"model '{request.name}': a factory makes its module whole, so that there is nothing to stream: "
            "choose the strategy replicate or dispatch"
        )
    if request.weights == RANDOM_WEIGHTS:
        raise InputError(
            f"model '{request.name}': random weights are drawn for the whole model at once, and there is no "
            "file to stream them from: choose the strategy replicate, or name a folder with weights"
        )


def _hooks_of(skeleton: Skeleton, readings: Mapping[str, SiteReading]) -> SiteHooks:
    assert skeleton.layout is not None
    hooks, layers = SiteHooks(), layers_by_site(readings)
    hook_embeddings(hooks, skeleton.model, skeleton.layout, layers)
    hook_blocks(hooks, skeleton.model, skeleton.layout, layers)
    modules = {site: reading for site, reading in readings.items() if reading.modules}
    hook_modules(hooks, skeleton.model, modules)
    return hooks


def _load_rest(model: torch.nn.Module, placement: Placement, streamed: frozenset[str], device: str) -> None:
    """Load what stays: embeddings, norms, a head, buffers."""
    fill(model, placement, [name for name in placement.stored if name not in streamed], device)
    model._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta and name not in streamed:  # a family built its skeleton wrongly
            raise AssertionError(f"'{name}' has no values after loading")
