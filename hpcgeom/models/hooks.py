"""Hooks that hand a module's activations to the sink of the batch at hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from hpcgeom.models.blocks import nth_tensor
from hpcgeom.models.layout import BlockLayout, SitePath, layer_in_block
from hpcgeom.models.readings import SiteReading

Adapt = Callable[[torch.Tensor], torch.Tensor]


class Sink(Protocol):
    """What takes activations while a batch runs."""

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        """Take what `source` gave as `site` at `layer`."""


class SiteHooks:
    """A set of hooks on a model, idle unless a batch is being collected."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._handles: list[Any] = []

    def read(
        self,
        module: torch.nn.Module,
        place: SitePath,
        site: str,
        layer: int,
        source: str,
        adapt: Adapt | None = None,
    ) -> None:
        """Read `place`, which is of `module`, as `site` at `layer`; `adapt` changes the tensor before."""

        def put(value: Any) -> None:
            if self._sink is not None:
                hidden = _part(nth_tensor(value, place.item, source), place.part)
                self._sink.put(site, layer, hidden if adapt is None else adapt(hidden), source)

        def on_output(_: torch.nn.Module, __: Any, output: Any) -> None:
            put(output)

        def on_input(_: torch.nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
            put((*arguments, *keywords.values()))

        if place.side == "output":
            self._handles.append(module.register_forward_hook(on_output))
        else:
            self._handles.append(module.register_forward_pre_hook(on_input, with_kwargs=True))

    @contextmanager
    def collecting(self, sink: Sink) -> Iterator[None]:
        """Let the hooks write into `sink` inside the context."""
        self._sink = sink
        try:
            yield
        finally:
            self._sink = None

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def hook_blocks(
    hooks: SiteHooks, model: torch.nn.Module, layout: BlockLayout, layers: Mapping[str, Collection[int]]
) -> None:
    """Put hooks on the submodules of blocks that are read; the chain itself needs none.

    Parameters
    ----------
    layers
        Layers that are read, by site; sites of single heads are read as the site of all heads.
    """
    places = dict(layout.sites)
    if layout.attention is not None:
        places["attention"] = layout.attention
    for index, block in enumerate(layout.blocks_of(model)):
        for site, place in places.items():
            layer = layer_in_block(site, index)
            if layer in layers.get(site, ()):
                source = f"module '{layout.blocks}.{index}.{place.path}'"
                hooks.read(block.get_submodule(place.path), place, site, layer, source)


def hook_embeddings(
    hooks: SiteHooks, model: torch.nn.Module, layout: BlockLayout, sites: Collection[str]
) -> None:
    """Put hooks on the parts of the embedding that are read."""
    for site, place in layout.embeddings.items():
        if site in sites:
            module, source = model.get_submodule(place.path), f"module '{place.path}'"
            hooks.read(module, place, site, 0, source, _prefixing(model, place.prefix))


def hook_modules(hooks: SiteHooks, model: torch.nn.Module, readings: Mapping[str, SiteReading]) -> None:
    """Put hooks on the modules that globs match."""
    for site, reading in readings.items():
        for layer in reading.layers:
            name = reading.modules[layer]
            hooks.read(model.get_submodule(name), SitePath(name), site, layer, f"module '{name}'")


def _part(hidden: torch.Tensor, part: tuple[int, int] | None) -> torch.Tensor:
    return hidden if part is None else hidden.tensor_split(part[1], dim=-1)[part[0]]


def _prefixing(model: torch.nn.Module, path: str | None) -> Adapt | None:
    if path is None:
        return None

    def prepend(hidden: torch.Tensor) -> torch.Tensor:
        token = model.get_parameter(path)
        return torch.cat([token.expand(len(hidden), -1, -1), hidden], dim=1)

    return prepend
