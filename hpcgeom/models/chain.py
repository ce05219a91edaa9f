"""One pass through a model's chain of blocks, with what is read handed to a sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hpcgeom.models.blocks import final_normed, replay
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
    n_layers = len(layout.blocks_of(model))
    n_run = max(n_blocks_to_run(r.base, r.layers[-1], n_layers) for r in readings.values())
    for layer, hidden in replay(model, layout, inputs, n_run):
        sink.put("resid", layer, hidden, f"the input of block {layer}")
        if layer < n_layers:
            sink.put("hidden_states", layer, hidden, f"the input of block {layer}")
        elif any(n_layers in readings[site].position for site in FINAL_NORMED if site in readings):
            normed = final_normed(model, layout, hidden)
            for site in FINAL_NORMED:
                sink.put(site, n_layers, normed, "the final norm")
