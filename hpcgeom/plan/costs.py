"""What a plan costs: units, bytes, files, memory of one task, operations. Nothing is guessed from clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpcgeom.plan import details, memory, paths, sizes
from hpcgeom.plan.alignment import cut_of
from hpcgeom.plan.footprints import Devices, Footprint, footprints
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.plan import ModelPlan, Plan, Representation
from hpcgeom.plan.points import cohorts, n_points, point_arrays
from hpcgeom.plan.units import NEIGHBOR_ARRAYS, NEIGHBOR_SHARD_ROWS, n_blocks_of, representations, units_of
from hpcgeom.types import Unit

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
    partial_bytes
        What is on disk besides until the next stage has used it: an upper estimate.
    """

    stage: str
    n_units: int
    n_files: int
    size_bytes: int
    memory_bytes: int
    flops: float
    partial_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def costs_of(plan: Plan, strategies: Mapping[str, Footprint] | None = None) -> list[StageCost]:
    """The price of every stage.

    Parameters
    ----------
    strategies
        What the strategy of each model takes; a model that is not named is whole in one process.
    """
    return [
        _extract(plan, strategies or {}),
        _search(plan),
        _merge(plan),
        _geometry(plan),
        _collect(plan),
    ]


def _extract(plan: Plan, strategies: Mapping[str, Footprint]) -> StageCost:
    units = units_of(plan, "extract")
    n_owned = sum(len(unit.owns) for unit in units)
    layout = sizes.layout(plan, 1, 2, _activation_groups)
    size = layout.n_bytes + sizes.records(len(units), n_owned)
    for model in plan.models:
        itemsize = np.dtype(model.store_dtype).itemsize
        sums = 0
        for item in model.representations:
            size += len(item.layers) * sum(
                sizes.stored(array.stop - array.start, item.width * itemsize, array.shard_points)
                for array in point_arrays(plan, model, item)
            )
            sums += sizes.NPZ_BYTES + 8 * len(item.layers) * item.width
        size += len(plan.row_ranges()) * sums
        size += 0 if model.details is None else details.size_bytes(model.details)
    needed = max(_extract_memory(plan, model, strategies.get(model.name)) for model in plan.models)
    n_files = n_owned + layout.n_files + len(units) + 1
    return StageCost("extract", len(units), n_files, size, needed, sum(model.flops for model in plan.models))


def _extract_memory(plan: Plan, model: ModelPlan, footprint: Footprint | None) -> int:
    if model.family == "arrays":
        return memory.copied(plan, model)
    whole = footprints(needs_of(plan, model), Devices())[0]
    return (footprint or whole).host_bytes


def _activation_groups(plan: Plan, model: ModelPlan, item: Representation) -> dict[str, int]:
    return {array.group: array.stop - array.start for array in point_arrays(plan, model, item)}


def _search(plan: Plan) -> StageCost:
    units = units_of(plan, "search")
    layout = sizes.layout(plan, len(NEIGHBOR_ARRAYS), 3, _neighbor_groups)
    n_written, lists = _lists(plan, is_split=False)
    flops, needed, partial = sum(search_flops(plan, model) for model in plan.models), 0, 0
    for model, item, _, _ in representations(plan):
        needed = max(needed, memory.search(plan, model, item))
        partial += memory.partial_bytes(plan, model, item)
    n_parts = sum(unit.n_blocks > 1 for unit in units)
    size = layout.n_bytes + lists + sizes.records(len(units), n_written + n_parts)
    n_files = n_written + layout.n_files + len(units) + 1
    return StageCost("search", len(units), n_files, size, needed, flops, partial)


def search_flops(plan: Plan, model: ModelPlan) -> float:
    """Operations of the search of a model: each pair of points once."""
    return sum(len(item.layers) * _square_flops(plan, model, item) for item in model.representations)


def unit_flops(plan: Plan, unit: Unit) -> float:
    """Operations of one unit of the search; of a split one, pairs of blocks have all."""
    model = plan.model(unit.model)
    whole = _square_flops(plan, model, model.representation(unit.site, unit.pooling))
    if unit.n_blocks == 1:
        return whole
    if unit.blocks is None:
        return 0.0
    first, second = unit.blocks
    return (1 if first == second else 2) * whole / unit.n_blocks**2


def _square_flops(plan: Plan, model: ModelPlan, item: Representation) -> float:
    return float(n_points(plan, model, item)) ** 2 * item.width


def _merge(plan: Plan) -> StageCost:
    n_units = len(units_of(plan, "merge"))
    n_written, lists = _lists(plan, is_split=True)
    size = lists + sizes.records(n_units, n_written)
    needed = max(memory.merge(plan, model, item) for model, item, _, _ in representations(plan))
    return StageCost("merge", n_units, n_written + n_units + 1, size, needed, 0.0)


def _lists(plan: Plan, *, is_split: bool) -> tuple[int, int]:
    """Files and bytes of the lists of searches that are split, or are not, and of their certificates."""
    k, n_files, size = int(plan.manifest["neighbors"]["k"]), 0, 0
    for model, item, _, _ in representations(plan):
        if (n_blocks_of(plan, model, item) > 1) != is_split:
            continue
        n = n_points(plan, model, item)
        n_shards, rows = -(-n // NEIGHBOR_SHARD_ROWS), min(NEIGHBOR_SHARD_ROWS, sizes.power_of_two(n))
        n_files += _ARRAYS_WITHOUT_DUPLICATES * n_shards
        size += sum(sizes.stored(n, row_bytes, rows) for row_bytes in (4 * k, 8 * k, 4))
        size += _CERTIFICATE_BYTES * (n_shards if is_split else 1)
    return n_files, size


def _neighbor_groups(plan: Plan, model: ModelPlan, item: Representation) -> dict[str, int]:
    return {paths.group(item.site, item.pooling): n_points(plan, model, item)}


def _geometry(plan: Plan) -> StageCost:
    units = units_of(plan, "geometry")
    n_alone = len(representations(plan))
    size = sizes.records(len(units), len(units)) + n_alone * sizes.profile(plan)
    for unit in units:
        if unit.kind:
            size += sizes.between(plan, unit.kind, _layers_at(plan, unit.site, unit.pooling))
    needed = max(memory.geometry(plan, model, item) for model, item, _, _ in representations(plan))
    flops = 0.0
    if plan.manifest["geometry"]["cka"]:
        flops = sum(2 * cut_of(each).work for group in plan.groups() for each in cohorts(plan, *group))
    return StageCost("geometry", len(units), 2 * len(units) + 1, size, needed, flops)


def _collect(plan: Plan) -> StageCost:
    n_chunks = sizes.n_pair_variables(plan) * (len(plan.models) ** 2 - 1)
    n_files = 1 + 2 * sizes.n_result_variables(plan) + n_chunks
    size = sizes.results(plan) + sizes.records(1, n_files)
    return StageCost("collect", 1, n_files + 2, size, memory.collect(plan), 0.0)


def _layers_at(plan: Plan, site: str, pooling: str) -> int:
    return sum(len(cohort.layers) for cohort in cohorts(plan, site, pooling))
