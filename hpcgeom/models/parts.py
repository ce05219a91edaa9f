"""What one of several processes does of a model: its blocks, and what is read there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcgeom.catalog.sites import EMBEDDING_SITES, FROM_LAYER_0
from hpcgeom.models.readings import SiteReading


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


def own_readings(readings: Mapping[str, SiteReading], blocks: range, n_run: int) -> dict[str, SiteReading]:
    """What is read in some blocks or of their input; what is read behind the last block counts to it.

    Parameters
    ----------
    n_run
        How many blocks of the model are run.
    """
    found = {}
    for site, reading in readings.items():
        is_early = reading.base in FROM_LAYER_0 or reading.base in EMBEDDING_SITES
        layers = [
            layer for layer in reading.layers if min(layer if is_early else layer - 1, n_run - 1) in blocks
        ]
        if layers:
            found[site] = reading.at(layers)
    return found
