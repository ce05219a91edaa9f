"""The strategy `replicate`: a whole model on one device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hpcgeom import freed_memory, trace
from hpcgeom.catalog.sites import is_module_glob
from hpcgeom.models.blocks import check_chain, first_block_arguments
from hpcgeom.models.chain import run_chain
from hpcgeom.models.details import Details, read_details
from hpcgeom.models.failures import explaining_forward, of_batch
from hpcgeom.models.families import build_with_readings, family
from hpcgeom.models.hooks import SiteHooks, hook_blocks, hook_embeddings, hook_modules
from hpcgeom.models.limits import Limits, check_batch, probe_batch
from hpcgeom.models.pooling import BatchMasks, check_poolable
from hpcgeom.models.readings import SiteReading, layers_by_site
from hpcgeom.models.request import ModelRequest, ModelShapes, TokenBatch
from hpcgeom.models.reused_memory import ReusedMemory
from hpcgeom.models.shapes import shapes_of, widths_of
from hpcgeom.models.sinks import Pooled, PooledSink
from hpcgeom.models.skeletons import Skeleton
from hpcgeom.models.weights import load_weights, torch_dtype


@dataclass(frozen=True)
class Replicate:
    """A whole model per device; the fastest where it fits."""

    def open_model(self, request: ModelRequest, device: str = "cpu", threads: int = 1) -> ReplicatedModel:
        """Build the model of `request` and load its weights.

        Parameters
        ----------
        request
            What is asked for.
        device
            ``cpu`` or a torch device such as ``cuda:0``.
        threads
            CPU threads of torch, set for the whole process: some kernels give other last bits with another
            number.

        Raises
        ------
        InputError
            The request, the configuration or the weights are wrong.
        """
        torch.set_num_threads(threads)
        freed_memory.keep_it()
        limits = family(request.family).limits(request)
        skeleton, readings = build_with_readings(request)
        unused: tuple[str, ...] = ()
        if skeleton.keys is not None and request.folder is not None:
            dtype = torch_dtype(request.dtype)
            unused = load_weights(skeleton.model, request.folder, skeleton.keys, dtype, device).unused
        skeleton.model.to(device)
        return ReplicatedModel(request, skeleton, limits, readings, unused, device, threads)


@dataclass(slots=True, eq=False)
class ReplicatedModel:
    """A loaded model that turns batches of tokens into pooled activations.

    Places in blocks are read while the blocks are replayed; globs of modules while the model's own forward
    runs. A request with both runs both.
    """

    request: ModelRequest
    skeleton: Skeleton
    limits: Limits
    readings: Mapping[str, SiteReading]
    unused_keys: tuple[str, ...]
    device: str
    threads: int
    _block_hooks: SiteHooks = field(default_factory=SiteHooks, init=False)
    _module_hooks: SiteHooks = field(default_factory=SiteHooks, init=False)
    _chain_is_checked: bool = field(default=False, init=False)
    _memory: ReusedMemory = field(default_factory=ReusedMemory, init=False)

    def __post_init__(self) -> None:
        model, layout = self.skeleton.model, self.skeleton.layout
        if layout is not None:
            layers = layers_by_site(self._block_readings)
            hook_embeddings(self._block_hooks, model, layout, layers)
            hook_blocks(self._block_hooks, model, layout, layers)
        hook_modules(self._module_hooks, model, self._module_readings)

    @property
    def _block_readings(self) -> dict[str, SiteReading]:
        return {site: reading for site, reading in self.readings.items() if not is_module_glob(site)}

    @property
    def _module_readings(self) -> dict[str, SiteReading]:
        return {site: reading for site, reading in self.readings.items() if is_module_glob(site)}

    def describe(self, probe: TokenBatch | None = None) -> ModelShapes:
        """Layers and widths of all that is read, found by running a few tokens.

        Parameters
        ----------
        probe
            A batch whose first two rows are run; None runs 2 x 5 tokens with id 0, which a module may not
            be able to take.

        Raises
        ------
        InputError
            The forward fails, or a site gives no (B, T, D).
        """
        model, layout = self.skeleton.model, self.skeleton.layout
        batch = probe_batch(self.limits) if probe is None else probe.rows(2)
        pooled = self._extract(batch, check_finite=False)
        width = None
        if layout is not None:
            with torch.inference_mode():
                width = int(first_block_arguments(model, layout, self._inputs(batch))[0].shape[-1])
        return shapes_of(
            self.skeleton, self.readings, widths_of(self.readings, pooled), width, self.unused_keys
        )

    def extract(self, batch: TokenBatch) -> Pooled:
        """Pooled activations of one batch.

        Returns
        -------
        dict
            (site, pooling) to float32 (n_layers, B, D), layers in the order of `describe`.

        Raises
        ------
        InputError
            A sequence is longer than the model's positions, an id is not in its vocabulary, a row has no
            token to pool, or the forward of a user's module fails.
        NonFiniteActivation
            A value is NaN or infinite.
        """
        return self._extract(batch, check_finite=True)

    def run(self, batches: Iterable[TokenBatch], scratch: Path | None = None) -> Iterator[Pooled]:
        """Pooled activations of each of some batches, as `extract` gives them; errors say which batch."""
        del scratch  # a batch is yielded when it is found
        for number, batch in enumerate(batches):
            with of_batch(number), trace.span("compute", batch=number, shape=batch.input_ids.shape):
                pooled = self.extract(batch)
            yield pooled

    def details(self, batch: TokenBatch) -> Details:
        """What is kept whole of one sample: activations of all tokens, attention maps, logits.

        Parameters
        ----------
        batch
            One row without padding.

        Returns
        -------
        dict
            See `hpcgeom.models.details.read_details`.

        Raises
        ------
        InputError
            As `extract`; or the batch has several rows or padding.
        """
        check_batch(batch, self.limits, self.request.name)
        self._keep_threads()
        with torch.inference_mode(), explaining_forward(self.request.name, *batch.input_ids.shape):
            self._check_chain_once(batch)
            return read_details(self.skeleton, self._inputs(batch), self.request)

    def close(self) -> None:
        """Take all hooks off the model."""
        self._block_hooks.remove()
        self._module_hooks.remove()

    def _extract(self, batch: TokenBatch, check_finite: bool) -> Pooled:
        check_batch(batch, self.limits, self.request.name)
        self._keep_threads()
        masks = BatchMasks.of(batch, self.device)
        check_poolable(masks, frozenset(p for reading in self.readings.values() for p in reading.poolings))
        pooled: Pooled = {}
        with torch.inference_mode(), explaining_forward(self.request.name, *batch.input_ids.shape):
            if self._block_readings:
                self._check_chain_once(batch)
                sink = PooledSink(self._block_readings, masks, self.request.dtype, self._memory)
                with self._block_hooks.collecting(sink):
                    self._run_chain(batch, sink)
                pooled |= sink.finish(check_finite)
            if self._module_readings:
                sink = PooledSink(self._module_readings, masks, self.request.dtype, self._memory)
                with self._module_hooks.collecting(sink):
                    self.skeleton.model(**self._inputs(batch))
                pooled |= sink.finish(check_finite)
        return {
            (site, p): pooled[site, p] for site, reading in self.readings.items() for p in reading.poolings
        }

    def _keep_threads(self) -> None:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def _check_chain_once(self, batch: TokenBatch) -> None:
        layout = self.skeleton.layout
        if layout is not None and not self._chain_is_checked:
            check_chain(self.skeleton.model, layout, self._inputs(batch.rows(1)))
            self._chain_is_checked = True

    def _run_chain(self, batch: TokenBatch, sink: PooledSink) -> None:
        layout = self.skeleton.layout
        assert layout is not None  # resolve_readings refuses places in blocks where there are none
        run_chain(self.skeleton.model, layout, self._inputs(batch), self._block_readings, sink)

    def _inputs(self, batch: TokenBatch) -> dict[str, Any]:
        return self.skeleton.inputs_of(batch, self.device)
