"""Bytes and files that a run leaves on disk, known before it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpcgeom.plan import measures
from hpcgeom.plan.between import ALIGNMENT, HALVES
from hpcgeom.plan.plan import ModelPlan, Plan, Representation
from hpcgeom.plan.points import are_tokens

CHUNK_BYTES = 2**20
"""Most bytes of a chunk inside a shard."""
ARRAY_BYTES, AXIS_BYTES, GROUP_BYTES = 3000, 2000, 400
"""Metadata of an array, a coordinate and a group: a file of its own, and a copy in the store's."""
ID_BYTES, POSITION_BYTES = 48, 8
"""Of a sample's id, and of the position of a token, in the coordinates of a store."""
RECORD_BYTES, ENTRY_BYTES = 600, 140
"""Of a record, and of every file that it names."""
RESULT_BYTES = 2100
"""Metadata of each variable and coordinate of the results."""
NPZ_BYTES = 280
"""What each array of a partial result takes besides its numbers."""
_LENS_VARIABLES = 9
_COORDINATES = 14
"""Coordinates of the results that are always there."""


def power_of_two(n: int) -> int:
    """Smallest power of two that is not below `n`."""
    return 1 << max(n - 1, 1).bit_length()


def stored(n_rows: int, row_bytes: int, shard_rows: int) -> int:
    """Bytes of one layer of an array: whole chunks with their checksums, and an index a shard.

    Parameters
    ----------
    shard_rows
        Rows of a shard; where they are no whole chunks, a shard is made as long as the next whole number.
    """
    chunk = 1
    while chunk * 2 <= shard_rows and chunk * 2 * row_bytes <= CHUNK_BYTES:
        chunk *= 2
    shard_rows = -(-shard_rows // chunk) * chunk
    n_shards, rest = divmod(n_rows, shard_rows)
    n_chunks = n_shards * (shard_rows // chunk) + -(-rest // chunk)
    index = (n_shards + (rest > 0)) * (16 * (shard_rows // chunk) + 4)
    return n_chunks * (chunk * row_bytes + 4) + index


def records(n_units: int, n_files: int) -> int:
    """Bytes of the records of a stage whose units own `n_files` files."""
    return RECORD_BYTES * (n_units + 1) + ENTRY_BYTES * n_files


@dataclass(frozen=True, slots=True)
class Layout:
    """Metadata and coordinates of a stage's stores."""

    n_files: int
    n_bytes: int


def layout(
    plan: Plan,
    n_arrays: int,
    n_axes: int,
    groups_of: Callable[[Plan, ModelPlan, Representation], Mapping[str, int]],
) -> Layout:
    """What the stores of all models hold before any unit is done, and the record of it.

    Parameters
    ----------
    n_arrays, n_axes
        Arrays and coordinates of each group; of tokens, one coordinate more.
    groups_of
        The groups of a representation that hold arrays, and the points of each.
    """
    n_files = n_bytes = 0
    for model in plan.models:
        folders = {""}
        for item in model.representations:
            axes, point_bytes = n_axes, ID_BYTES
            if are_tokens(item):
                axes, point_bytes = n_axes + 1, ID_BYTES + POSITION_BYTES
            for group, n_points in groups_of(plan, model, item).items():
                steps = group.split("/")
                folders |= {"/".join(steps[:depth]) for depth in range(1, len(steps) + 1)}
                n_files += n_arrays + 2 * axes + 2 * bool(item.modules)
                n_bytes += n_arrays * ARRAY_BYTES + axes * AXIS_BYTES + n_points * point_bytes
        n_files += len(folders)
        n_bytes += len(folders) * GROUP_BYTES
    return Layout(n_files + 1, n_bytes + records(1, n_files))


def profile(plan: Plan) -> int:
    """Bytes of what is measured on one layer alone."""
    return len(measures.arrays(plan)) * NPZ_BYTES + 8 * measures.numbers(plan)


def between(plan: Plan, kind: str, n_layers: int) -> int:
    """Bytes of what one unit counts between `n_layers` layers."""
    geometry = plan.manifest["geometry"]
    if kind == ALIGNMENT:
        return 3 * NPZ_BYTES + 8 * n_layers * (2 * n_layers + 1)
    ks, n_numbers = len(geometry["overlap_k"]), 2 if geometry["jaccard"] else 1
    if kind == HALVES:
        return 3 * NPZ_BYTES + 8 * ks * n_layers * (n_numbers * n_layers + 1)
    of_ranks = 8 * n_layers * (3 * n_layers + 1) if geometry["information_imbalance"] else 0
    return 8 * NPZ_BYTES + 2 * n_numbers * 8 * ks * n_layers**2 + of_ranks


def _n_between(plan: Plan) -> int:
    """Variables of the results between layers."""
    geometry, n_errors = plan.manifest["geometry"], 2 if plan.manifest["geometry"]["error_splits"] else 1
    n_overlaps = 3 if len(plan.models) > 1 else 2  # of pairs, with the next layer, at the same depth
    found = n_overlaps * (1 + n_errors) + int(len(plan.models) > 1) + 1
    found += (2 + n_errors) if geometry["jaccard"] else 0
    found += 4 if geometry["cka"] else 0
    found += 3 if geometry["information_imbalance"] else 0
    return found + int(plan.manifest["dataset"].get("samples") == "intersect")


def n_result_variables(plan: Plan) -> int:
    """Variables and coordinates of the results."""
    found, length = measures.arrays(plan), measures.axes(plan)
    of_layers = sum(all(length[dim] for dim in dims) for dims in found)
    minimum = (1 + 2 * bool(length["label"])) * bool(length["estimator"])
    used = {dim for dims in found for dim in dims if length[dim]} - {"k"}
    by_chance = bool(length["label"])
    lens = _LENS_VARIABLES * any(model.lens_layers for model in plan.models)
    return _n_between(plan) + _COORDINATES + of_layers + minimum + len(used) + by_chance + lens


def results(plan: Plan) -> int:
    """Bytes of the results, models of fewer layers padded."""
    deepest = 1 + plan.deepest_layer
    n_layers, n_models, n_groups = len(plan.models) * deepest, len(plan.models), len(plan.groups())
    geometry = plan.manifest["geometry"]
    ks, n_overlaps = len(geometry["overlap_k"]), 3 if geometry["error_splits"] else 2
    of_pairs = n_overlaps * ks * (n_layers**2 + n_layers * (1 + n_models)) + n_layers * n_models
    of_pairs += n_overlaps * ks * n_layers**2 if geometry["jaccard"] else 0
    of_pairs += 2 * n_layers * (n_layers + 1) if geometry["cka"] else 0
    of_pairs += 3 * n_layers**2 if geometry["information_imbalance"] else 0
    numbers = of_pairs + measures.numbers(plan) * n_layers + 2 * ks * n_models
    length = measures.axes(plan)
    numbers += n_models * (length["estimator"] + 1) * (1 + length["label"] * length["k"])
    has_samples = any("sample" in dims for dims in measures.arrays(plan))
    others = length["sample"] * ID_BYTES * has_samples + 8 * _LENS_VARIABLES * n_layers
    return n_result_variables(plan) * RESULT_BYTES + others + 8 * n_groups * numbers
