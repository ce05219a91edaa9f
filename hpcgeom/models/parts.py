"""What one of several processes does of a model: its blocks, and what is read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.steps import readings_by_step


@dataclass(frozen=True, slots=True)
class Part:
    """What one process does of a model.

    Attributes
    ----------
    blocks
        Numbers of its blocks.
    n_run
        How many blocks run in all processes together.
    readings
        What is read there, by site.
    """

    blocks: range
    n_run: int
    readings: Mapping[str, SiteReading]

    @property
    def is_last(self) -> bool:
        """Whether nothing runs behind it."""
        return self.blocks.stop == self.n_run


def own_readings(
    readings: Mapping[str, SiteReading],
    blocks: range,
    n_run: int,
    layout: BlockLayout,
    n_blocks: int,
    name: str,
) -> dict[str, SiteReading]:
    """What is read in some blocks or of their input; what is read behind the last block counts to it.

    Parameters
    ----------
    readings
        What is asked for, by site.
    blocks
        Numbers of the blocks.
    n_run, n_blocks
        How many blocks of the model are run, and how many it has.
    layout
        Where they are.
    name
        Name of the model in messages.

    Raises
    ------
    InputError
        A module that is to be read is outside of the blocks.
    """
    layers: dict[str, list[int]] = {}
    for step, found in enumerate(readings_by_step(readings, layout.blocks, n_blocks, name)):
        if min(max(step - 1, 0), n_run - 1) in blocks:
            for site, reading in found.items():
                layers.setdefault(site, []).extend(reading.layers)
    return {site: reading.at(layers[site]) for site, reading in readings.items() if site in layers}
