"""Hooks that hand a module's activations to the sink of the batch at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from hpcgeom.models.blocks import BlockLayout, first_tensor, layer_in_block
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.sinks import PooledSink


class SiteHooks:
    """A set of hooks on a model, idle unless a batch is being collected."""

    def __init__(self) -> None:
        self._sink: PooledSink | None = None
        self._handles: list[Any] = []

    def read_output(self, module: torch.nn.Module, site: str, layer: int, source: str) -> None:
        """Read what `module` gives as `site` at `layer`."""

        def hook(_: torch.nn.Module, __: Any, output: Any) -> None:
            if self._sink is not None:
                self._sink.put(site, layer, first_tensor(output, source), source)

        self._handles.append(module.register_forward_hook(hook))

    def read_input(self, module: torch.nn.Module, site: str, layer: int, source: str) -> None:
        """Read the first input of `module` as `site` at `layer`."""

        def hook(_: torch.nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
            if self._sink is not None:
                self._sink.put(site, layer, first_tensor((*arguments, *keywords.values()), source), source)

        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    @contextmanager
    def collecting(self, sink: PooledSink) -> Iterator[None]:
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
    hooks: SiteHooks, model: torch.nn.Module, layout: BlockLayout, readings: Mapping[str, SiteReading]
) -> None:
    """Put hooks on the submodules of blocks that are read; the chain itself needs none."""
    read: dict[str, Callable[[torch.nn.Module, str, int, str], None]] = {
        "output": hooks.read_output,
        "input": hooks.read_input,
    }
    for index, block in enumerate(layout.blocks_of(model)):
        for site, place in layout.sites.items():
            layer = layer_in_block(site, index)
            if site in readings and layer in readings[site].position:
                source = f"module '{layout.blocks}.{index}.{place.path}'"
                read[place.side](block.get_submodule(place.path), site, layer, source)


def hook_modules(hooks: SiteHooks, model: torch.nn.Module, readings: Mapping[str, SiteReading]) -> None:
    """Put hooks on the modules that globs match."""
    for site, reading in readings.items():
        for layer in reading.layers:
            name = reading.modules[layer]
            hooks.read_output(model.get_submodule(name), site, layer, f"module '{name}'")
