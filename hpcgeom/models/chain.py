"""A pass through a model's chain of blocks, in steps, with what is read handed to a sink.

Every strategy takes these steps, so that all give the same bits: `first_block_arguments` once a batch,
`advance` once a block, `leave` behind the last block that is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hpcgeom.models.blocks import BlockCall, final_normed, first_block_arguments, run_block
from hpcgeom.models.hooks import Sink
from hpcgeom.models.layout import BlockLayout, n_blocks_to_run
from hpcgeom.models.readings import SiteReading

FINAL_NORMED = ("hidden_states", "ln_1")
"""Sites that are the final norm at the last layer."""


def run_chain(
    model: torch.nn.Module,
    layout: BlockLayout,
    inputs: Mapping[str, Any],
    readings: Mapping[str, SiteReading],
    sink: Sink,
) -> None:
    """Run as many blocks as `readings` need; hooks on their submodules hand over the rest.

    Parameters
    ----------
    inputs
        Keywords of the model's forward.
    """
    n_run = blocks_needed(readings, len(layout.blocks_of(model)))
    hidden, call = first_block_arguments(model, layout, inputs)
    for index in range(n_run):
        hidden = advance(model, layout, index, call, hidden, sink)
    leave(model, layout, n_run, hidden, readings, sink)


def blocks_needed(readings: Mapping[str, SiteReading], n_layers: int) -> int:
    """How many of a model's `n_layers` blocks have to run for all that is read."""
    return max(n_blocks_to_run(each.base, each.layers[-1], n_layers) for each in readings.values())


def advance(
    model: torch.nn.Module,
    layout: BlockLayout,
    index: int,
    call: BlockCall,
    hidden: torch.Tensor,
    sink: Sink,
) -> torch.Tensor:
    """Hand over the input of block `index`, h_index (B, T, D), and run the block on it: h_(index + 1)."""
    _arrive(index, hidden, sink)
    return run_block(layout.blocks_of(model)[index], call, hidden)


def leave(
    model: torch.nn.Module,
    layout: BlockLayout,
    layer: int,
    hidden: torch.Tensor,
    readings: Mapping[str, SiteReading],
    sink: Sink,
) -> None:
    """Hand over h_layer (B, T, D), behind which no block is run; of the last layer also its final norm."""
    n_layers = len(layout.blocks_of(model))
    if layer < n_layers:
        _arrive(layer, hidden, sink)
        return
    sink.put("resid", layer, hidden, f"the input of block {layer}")
    if any(n_layers in readings[site].position for site in FINAL_NORMED if site in readings):
        normed = final_normed(model, layout, hidden)
        for site in FINAL_NORMED:
            sink.put(site, n_layers, normed, "the final norm")


def _arrive(layer: int, hidden: torch.Tensor, sink: Sink) -> None:
    for site in ("resid", "hidden_states"):
        sink.put(site, layer, hidden, f"the input of block {layer}")
