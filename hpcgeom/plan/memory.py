"""Memory of one task at its peak, known before it starts: upper estimates from the plan alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcgeom.plan import points, sizes
from hpcgeom.plan.plan import ModelPlan, Plan, Representation
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS, PAIR_ROWS

TILES_BYTES = 2**30
"""Memory that the tiles of one search task may take."""
PROCESS_BYTES, TORCH_BYTES = 500 * 2**20, 400 * 2**20
"""A worker with its libraries loaded and nothing else, and what torch and transformers add to it."""
MIN_TILE_ROWS = 1024
_WIDEST_ITEM = 8


def bytes_per_sample(
    representations: Sequence[Representation], dtype: str, tokens_per_sample: float = 1.0
) -> int:
    """Bytes of one sample over all layers, sites and poolings of a model.

    Parameters
    ----------
    tokens_per_sample
        Where every token is a point, how many there are.
    """
    n_bytes = 0.0
    for item in representations:
        n_bytes += _bytes_per_point(item, dtype) * (tokens_per_sample if points.are_tokens(item) else 1)
    return int(n_bytes)


def _bytes_per_point(item: Representation, dtype: str) -> int:
    itemsize: int = np.dtype(dtype).itemsize
    return len(item.layers) * item.width * itemsize


def _unit_bytes(plan: Plan, model: ModelPlan, dtype: str) -> int:
    """Bytes of the points of the largest extract unit of a model."""
    of_units = np.zeros(len(plan.row_ranges()), dtype=np.int64)
    for item in model.representations:
        n_points = np.array([block.n_points for block in points.blocks(plan, model, item)], dtype=np.int64)
        of_units += n_points * _bytes_per_point(item, dtype)
    return int(of_units.max())


def weights(model: ModelPlan) -> int:
    """Memory of the weights alone, in the dtype that they are used in."""
    return model.n_parameters * _itemsize(model)


def _itemsize(model: ModelPlan) -> int:
    return 4 if model.dtype == "float32" else 2


def extract(plan: Plan, model: ModelPlan) -> int:
    """Memory of one unit: weights, one batch inside a block, and the points of all layers."""
    if model.family == "arrays":
        # As read, put together, and as written.
        return PROCESS_BYTES + 3 * _unit_bytes(plan, model, model.store_dtype)
    pooled = _unit_bytes(plan, model, "float32")
    tokens = int(plan.manifest["extract"]["tokens_per_batch"])
    working = tokens * model.values_per_token * _itemsize(model)
    # Where every token is a point, those of a batch are held before they are put in their places.
    of_batch = tokens * sum(
        _bytes_per_point(item, "float32") for item in model.representations if points.are_tokens(item)
    )
    return PROCESS_BYTES + TORCH_BYTES + weights(model) + pooled + of_batch + working


def choose_tile_rows(width: int, k: int) -> int:
    """Rows of a search tile, a power of two, so that tiles and lists stay within `TILES_BYTES`."""
    rows = MIN_TILE_ROWS
    while rows * 2 * _tile_row(width, k) <= TILES_BYTES:
        rows *= 2
    return rows


def search(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Memory of one search task: what the search holds, and the shard of lists that is being filled."""
    k, n = int(plan.manifest["neighbors"]["k"]), points.n_points(plan, model, item)
    shard = min(NEIGHBOR_SHARD_ROWS, n)
    # Two kinds of lists (all, and distinct points), 12 bytes an entry, in parts and put together.
    return PROCESS_BYTES + search_bytes(n, item.width, k, plan.tile_rows) + 2 * 2 * shard * k * 12


def search_bytes(n_rows: int, width: int, k: int, tile_rows: int) -> int:
    """What a search holds, at most: any stored type, any share of equal points."""
    tiles = min(tile_rows, n_rows) * _tile_row(width, k)
    in_float64 = 8 * 1024 * (8 * width + 3 * 1024)
    rows = n_rows * (96 + 8 * k)  # hashes and groups of equal rows; lists that equal rows share
    return tiles + in_float64 + rows + 96 * 2**20


def _tile_row(width: int, k: int) -> int:
    """A row of both tiles as stored and as rounded, its proposals and its lists."""
    return width * (4 * _WIDEST_ITEM + 8) + 12 * (2 * k + 40) + 96 * k


def geometry(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Memory of one unit of geometry: a layer alone, or all pairs of layers over some points."""
    n, k = points.n_points(plan, model, item), int(plan.manifest["neighbors"]["k"])
    ks = len(plan.manifest["geometry"]["overlap_k"])
    layers = sum(len(other.layers) for _, other in points.members(plan, item.site, item.pooling))
    # Lists as read, stacked and put together; counts and their squares, summed by each thread.
    together = 3 * layers * min(PAIR_ROWS, n) * k * 4 + 4 * ks * layers**2 * 8
    # Both kinds of lists, a copy for a subset, counts by label, and rows of a second search.
    alone = n * (2 * k * 12 + 5 * k + 8 * ks + 200) + 6 * min(4096, n) * item.width * 8
    return PROCESS_BYTES + max(together, alone)


def collect(plan: Plan) -> int:
    """Memory of putting the results together."""
    return PROCESS_BYTES + 3 * sizes.results(plan)
