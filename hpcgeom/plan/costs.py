"""What a plan costs: units, bytes, files, memory of one task, operations. Nothing is guessed from clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpcgeom.plan import memory, sizes
from hpcgeom.plan.plan import Plan, Representation
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS, PAIR_ROWS, units_of


@dataclass(frozen=True, slots=True)
class StageCost:
    """The price of one stage.

    Attributes
    ----------
    n_units, n_files
        How many units, and files that they leave.
    size_bytes
        What they leave on disk, checksums, metadata and records included; twice as much of the search for
        layers with equal points, which nobody knows before.
    memory_bytes
        Of one task at its peak, an upper estimate.
    flops
        Floating-point operations of the matrix products, an upper bound before prepare counts tokens.
    """

    stage: str
    n_units: int
    n_files: int
    size_bytes: int
    memory_bytes: int
    flops: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def bytes_per_sample(representations: Sequence[Representation], dtype: str) -> int:
    """Bytes of one sample over all layers, sites and poolings of a model."""
    return np.dtype(dtype).itemsize * sum(len(item.layers) * item.width for item in representations)


def costs_of(plan: Plan, flops_per_model: dict[str, float], mlp_widths: dict[str, int]) -> list[StageCost]:
    """The price of every stage.

    Parameters
    ----------
    flops_per_model
        Operations of one pass over the data set, by model name; absent for points that exist.
    mlp_widths
        Width of the widest layer inside a block, by model name.
    """
    return [
        _extract(plan, flops_per_model, mlp_widths),
        _search(plan),
        _geometry(plan),
        _collect(plan),
    ]


def _extract(plan: Plan, flops: dict[str, float], mlp_widths: dict[str, int]) -> StageCost:
    units = units_of(plan, "extract")
    n_owned = sum(len(unit.owns) for unit in units)
    layout = sizes.Layout.of(plan, n_arrays=1, n_axes=2)
    size = layout.n_bytes + sizes.records(len(units), n_owned) + sum(_sums(model) for model in plan.models)
    for model in plan.models:
        itemsize = np.dtype(model.store_dtype).itemsize
        for item in model.representations:
            one = sizes.stored(plan.samples.n, item.width * itemsize, plan.unit_rows)
            size += len(item.layers) * one
    needed = max(memory.extract(plan, model, mlp_widths.get(model.name, 0)) for model in plan.models)
    n_files = n_owned + layout.n_files + len(units) + 1
    return StageCost("extract", len(units), n_files, size, needed, sum(flops.values()))
