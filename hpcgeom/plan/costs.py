"""What a plan costs: units, bytes, files, memory of one task, operations. Nothing is guessed from clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hpcgeom.plan.plan import ModelPlan, Plan, Representation
from hpcgeom.plan.units import PAIR_ROWS, units_of

SEARCH_BYTES = 2**30
"""Memory that the tiles of one search task may take, besides its results."""
PROCESS_BYTES = 500 * 2**20
"""A worker with torch or faiss loaded and nothing else."""
_MARGIN = 40


@dataclass(frozen=True, slots=True)
class StageCost:
    """The price of one stage.

    Attributes
    ----------
    n_units, n_files
        How many units, and files that they leave.
    size_bytes
        What they leave on disk, at most.
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


def choose_tile_rows(width: int, k: int) -> int:
    """Rows of a search tile, so that two tiles and their candidates stay within `SEARCH_BYTES`."""
    per_row = 2 * (8 + 8 + 4) * width + 3 * 16 * (k + _MARGIN)
    rows = 1024
    while rows * 2 * per_row <= SEARCH_BYTES:
        rows *= 2
    return rows


def search_bytes(plan: Plan, width: int) -> int:
    """Memory of one search task: its tiles and its results."""
    k, n = int(plan.manifest["neighbors"]["k"]), plan.samples.n
    tile = min(plan.tile_rows, n)
    per_row = 2 * (8 + 8 + 4) * width + 3 * 16 * (k + _MARGIN)
    return PROCESS_BYTES + tile * per_row + 2 * n * (k * 12 + 28)


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
    size = sum(plan.samples.n * bytes_per_sample(m.representations, m.store_dtype) for m in plan.models)
    memory = max(_extract_memory(plan, model, mlp_widths.get(model.name, 0)) for model in plan.models)
    files = sum(len(unit.owns) for unit in units)
    return StageCost("extract", len(units), files, size, memory, sum(flops.values()))


def _extract_memory(plan: Plan, model: ModelPlan, mlp_width: int) -> int:
    rows = min(plan.unit_rows, plan.samples.n)
    pooled = rows * bytes_per_sample(model.representations, "float32")
    if model.family == "arrays":
        return PROCESS_BYTES + pooled
    itemsize = 4 if model.dtype == "float32" else 2
    tokens = int(plan.manifest["extract"]["tokens_per_batch"])
    # A block keeps its input, q, k, v, the heads' output and two widths of its MLP at once.
    working = tokens * (6 * model.width + 2 * mlp_width) * itemsize
    return PROCESS_BYTES + model.n_parameters * itemsize + pooled + working


def _search(plan: Plan) -> StageCost:
    n, k = plan.samples.n, int(plan.manifest["neighbors"]["k"])
    units = units_of(plan, "search")
    widths = [item.width for model in plan.models for item in model.representations]
    flops = sum(
        2.0 * n * n * item.width * len(item.layers) for model in plan.models for item in model.representations
    )
    size = len(units) * n * (k * 12 + 4)
    return StageCost(
        "search", len(units), 3 * len(units), size, max(search_bytes(plan, w) for w in widths), flops
    )


def _geometry(plan: Plan) -> StageCost:
    n, k = plan.samples.n, int(plan.manifest["neighbors"]["k"])
    units = units_of(plan, "geometry")
    layers = sum(len(item.layers) for model in plan.models for item in model.representations)
    pairs = (
        layers * min(PAIR_ROWS, n) * k * 4
        + 2 * layers * layers * len(plan.manifest["geometry"]["overlap_k"]) * 8
    )
    lists = n * (k * 24 + 16)
    memory = PROCESS_BYTES + max(pairs, lists)
    size = 20_000 * len(units) + layers * layers * len(plan.manifest["geometry"]["overlap_k"]) * 16
    return StageCost("geometry", len(units), len(units), size, memory, 0.0)


def _collect(plan: Plan) -> StageCost:
    deepest = max(max(item.layers) for model in plan.models for item in model.representations) + 1
    ks = len(plan.manifest["geometry"]["overlap_k"])
    size = len(plan.groups()) * (len(plan.models) * deepest) ** 2 * ks * 16 + 2**20
    return StageCost(
        "collect", 1, 60 + 2 * len(plan.groups()) * len(plan.models) ** 2, size, PROCESS_BYTES + 3 * size, 0.0
    )
