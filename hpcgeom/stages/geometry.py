"""Geometry: measure every layer alone, and what is between all pairs of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpcgeom.stages import between, partials, profile
from hpcgeom.stages.base import Work, each, require_inputs, require_layout
from hpcgeom.stages.run import LAID_OUT, Run
from hpcgeom.store import npz
from hpcgeom.types import Unit


class Geometry:
    """Turns neighbor lists into numbers, in parts that `collect` puts together."""

    name = "geometry"
    inputs = ("extract", "search", "merge")

    @contextmanager
    def open(self, run: Run, unit: Unit) -> Iterator[Work]:
        """Check that all neighbor lists, and the activations that decimation searches again, are there."""
        for stage in LAID_OUT:
            require_layout(run, stage)
        require_inputs(run, self)
        partials.remove_merged(run)  # which a process that was killed may have left
        yield each(lambda item: _work(run, item))


def _work(run: Run, unit: Unit) -> dict[str, Any]:
    values = (profile if unit.model else between).measure(run, unit)
    npz.save(run.root / unit.owns[0], values)
    return {}
