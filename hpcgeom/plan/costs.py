"""What a plan costs: units, bytes, files, memory of one task, operations. Nothing is guessed from clocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpcgeom.plan import memory, sizes
from hpcgeom.plan.plan import Plan
from hpcgeom.plan.units import NEIGHBOR_ARRAYS, NEIGHBOR_SHARD_ROWS, representations, units_of

_ARRAYS_WITHOUT_DUPLICATES = 3
"""Of the arrays of a representation's lists, those that are written where no two points are equal."""
_CERTIFICATE_BYTES = 400
"""What a search adds to its record."""


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
    layout = sizes.layout(plan, n_arrays=1, n_axes=2)
    size = layout.n_bytes + sizes.records(len(units), n_owned)
    for model in plan.models:
        itemsize = np.dtype(model.store_dtype).itemsize
        sums = 0
        for item in model.representations:
            one = sizes.stored(plan.samples.n, item.width * itemsize, plan.unit_rows)
            size += len(item.layers) * one
            sums += sizes.NPZ_BYTES + 8 * len(item.layers) * item.width
        size += len(plan.row_ranges()) * sums
    needed = max(memory.extract(plan, model, mlp_widths.get(model.name, 0)) for model in plan.models)
    n_files = n_owned + layout.n_files + len(units) + 1
    return StageCost("extract", len(units), n_files, size, needed, sum(flops.values()))


def _search(plan: Plan) -> StageCost:
    n, k = plan.samples.n, int(plan.manifest["neighbors"]["k"])
    units = units_of(plan, "search")
    n_written = _ARRAYS_WITHOUT_DUPLICATES * len(units) * -(-n // NEIGHBOR_SHARD_ROWS)
    layout = sizes.layout(plan, n_arrays=len(NEIGHBOR_ARRAYS), n_axes=3)
    rows = min(NEIGHBOR_SHARD_ROWS, sizes.power_of_two(n))
    one = sum(sizes.stored(n, row_bytes, rows) for row_bytes in (4 * k, 8 * k, 4))
    size = layout.n_bytes + len(units) * (one + _CERTIFICATE_BYTES) + sizes.records(len(units), n_written)
    flops = sum(2.0 * n * n * item.width for _, item, _, _ in representations(plan))
    needed = max(memory.search(plan, item.width) for _, item, _, _ in representations(plan))
    return StageCost("search", len(units), n_written + layout.n_files + len(units) + 1, size, needed, flops)


def _geometry(plan: Plan) -> StageCost:
    units = units_of(plan, "geometry")
    n_alone = len(representations(plan))
    size = sizes.records(len(units), len(units)) + n_alone * sizes.profile(plan)
    for unit in units:
        if not unit.model:
            size += sizes.pairs(plan, _layers_at(plan, unit.site, unit.pooling))
    needed = max(memory.geometry(plan, item.width) for _, item, _, _ in representations(plan))
    return StageCost("geometry", len(units), 2 * len(units) + 1, size, needed, 0.0)


def _collect(plan: Plan) -> StageCost:
    n_files = 1 + 2 * sizes.RESULT_VARIABLES + 2 * (len(plan.models) ** 2 - 1)
    size = sizes.results(plan) + sizes.records(1, n_files)
    return StageCost("collect", 1, n_files + 2, size, memory.collect(plan), 0.0)


def _layers_at(plan: Plan, site: str, pooling: str) -> int:
    items = [item for model in plan.models for item in model.representations]
    return sum(len(item.layers) for item in items if (item.site, item.pooling) == (site, pooling))
