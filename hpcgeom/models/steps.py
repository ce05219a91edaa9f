"""Which readings are made at which step of a pass through a model's blocks.

Step 0 runs the model up to its first block, step i + 1 runs block i, and the last step is behind the last
block that is run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from hpcgeom.catalog.sites import EMBEDDING_SITES, FROM_LAYER_0
from hpcgeom.errors import InputError
from hpcgeom.models.chain import blocks_needed
from hpcgeom.models.readings import SiteReading

Readings = Mapping[str, SiteReading]


def readings_by_step(
    readings: Readings, blocks: str, n_blocks: int, name: str
) -> tuple[dict[str, SiteReading], ...]:
    """What is read at each step; its length is the number of blocks that have to run, and two.

    Parameters
    ----------
    readings
        What is asked for, by site.
    blocks
        Path of the list of blocks.
    n_blocks
        How many there are.
    name
        Name of the model in messages.

    Raises
    ------
    InputError
        A module that is to be read is outside of the blocks.
    """
    places = {site: reading for site, reading in readings.items() if not reading.modules}
    n_run = blocks_needed(places, n_blocks) if places else 0
    for reading in readings.values():
        if reading.modules:
            n_run = max(n_run, *(_block_of(reading, layer, blocks, name) + 1 for layer in reading.layers))
    layers: list[dict[str, list[int]]] = [defaultdict(list) for _ in range(n_run + 2)]
    for site, reading in readings.items():
        for layer in reading.layers:
            layers[_step_of(reading, layer, n_run, blocks, name)][site].append(layer)
    return tuple({site: readings[site].at(here) for site, here in each.items()} for each in layers)


def _step_of(reading: SiteReading, layer: int, n_run: int, blocks: str, name: str) -> int:
    if reading.modules:
        return _block_of(reading, layer, blocks, name) + 1
    if reading.base in EMBEDDING_SITES:
        return 0
    return layer + 1 if reading.base in FROM_LAYER_0 else layer


def _block_of(reading: SiteReading, layer: int, blocks: str, name: str) -> int:
    module = reading.modules[layer]
    number, _, _ = module.removeprefix(f"{blocks}.").partition(".")
    if module.startswith(f"{blocks}.") and number.isdigit():
        return int(number)
    raise InputError(
        f"model '{name}', site '{reading.site}': module '{module}' is outside of the blocks '{blocks}', "
        f"which are run one at a time: read modules below '{blocks}.', or choose the strategy "
        "replicate or dispatch"
    )
