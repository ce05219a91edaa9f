"""Memory of one task at its peak, known before it starts: upper estimates from the plan alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcgeom.plan import alignment, points, sizes
from hpcgeom.plan.between import HALF_ROWS, PAIR_ROWS
from hpcgeom.plan.plan import ModelPlan, Plan, Representation
from hpcgeom.plan.units import NEIGHBOR_SHARD_ROWS, n_blocks_of

TILES_BYTES = 2**30
"""Memory that the tiles of one search task may take while they are multiplied."""
PROCESS_BYTES, TORCH_BYTES = 500 * 2**20, 400 * 2**20
"""A worker with its libraries loaded and nothing else, and what torch and transformers add to it."""
MIN_TILE_ROWS = 1024
HELD_TILES = 4
"""Points of so many tiles are held by a search that is not split, as they are stored."""
JACKKNIFE_GROUPS = 10
"""Groups of points behind the error bars of spectra, each with a covariance of its own."""
SPECTRUM_BLOCK_BYTES = 64 * 2**20
"""Rows in float64 that are held at a time while a covariance is summed up."""
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
        n_bytes += bytes_per_point(item, dtype) * (tokens_per_sample if points.are_tokens(item) else 1)
    return int(n_bytes)


def bytes_per_point(item: Representation, dtype: str) -> int:
    """Bytes of one point at all layers of a representation."""
    itemsize: int = np.dtype(dtype).itemsize
    return len(item.layers) * item.width * itemsize


def unit_bytes(plan: Plan, model: ModelPlan, dtype: str) -> int:
    """Bytes of the points of the largest extract unit of a model."""
    of_units = np.zeros(len(plan.row_ranges()), dtype=np.int64)
    for item in model.representations:
        n_points = np.array([block.n_points for block in points.blocks(plan, model, item)], dtype=np.int64)
        of_units += n_points * bytes_per_point(item, dtype)
    return int(of_units.max())


def copied(plan: Plan, model: ModelPlan) -> int:
    """Memory of one unit of points that exist already: as read, put together, and as written."""
    return PROCESS_BYTES + 3 * unit_bytes(plan, model, model.store_dtype)


def choose_tile_rows(width: int, k: int) -> int:
    """Rows of a search tile, a power of two: three in float32, and one's lists, within `TILES_BYTES`."""
    rows = MIN_TILE_ROWS
    while rows * 2 * (3 * 4 * width + _list_bytes(k)) <= TILES_BYTES:
        rows *= 2
    return rows


def search(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Memory of one unit of the search of a representation, or of a part of it."""
    k, n = int(plan.manifest["neighbors"]["k"]), points.n_points(plan, model, item)
    size, n_blocks = _itemsize_of_points(plan, model, item), n_blocks_of(plan, model, item)
    if n_blocks == 1:
        return PROCESS_BYTES + search_bytes(n, item.width, k, plan.tile_rows, size) + _shard_bytes(n, k)
    # Lists of two blocks, and what is written of them, in pieces and put together.
    n_held = 3 * 2 * -(-n // n_blocks)
    return PROCESS_BYTES + search_bytes(n, item.width, k, plan.tile_rows, size, n_held)


def merge(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Memory of putting together a shard of lists; nothing where the search is not split."""
    k, n = int(plan.manifest["neighbors"]["k"]), points.n_points(plan, model, item)
    size, n_blocks = _itemsize_of_points(plan, model, item), n_blocks_of(plan, model, item)
    if n_blocks == 1:
        return 0
    # What all pairs found of one block, one side more while it is read, and a tile that takes from them.
    n_held = n + -(-n // n_blocks) + min(plan.tile_rows, n)
    lists = min(NEIGHBOR_SHARD_ROWS, n) * k * (8 + 8)
    return (
        PROCESS_BYTES
        + search_bytes(n, item.width, k, plan.tile_rows, size, n_held)
        + lists
        + _shard_bytes(n, k)
    )


def search_bytes(
    n_rows: int, width: int, k: int, tile_rows: int, itemsize: int = _WIDEST_ITEM, n_held: int | None = None
) -> int:
    """What a search holds, at most: any share of equal points.

    Parameters
    ----------
    itemsize
        Bytes of a number as points are compared.
    n_held
        Lists of candidates that a part of a split search holds; None: the search is whole.
    """
    stored = max(itemsize, 4)
    tiles = min(tile_rows, n_rows) * (width * max(3 * 4 + stored + itemsize % 4, 4 * stored) + _list_bytes(k))
    second_look = 8 * 1024 * (2 * width * (8 + 1) + 8 * 1024 + 2 * k)
    shared = n_rows * 8 * k  # lists that equal rows share
    held = (n_rows if n_held is None else n_held) * _candidate_bytes(k)
    holds_points = n_held is None and n_rows <= HELD_TILES * tile_rows
    rows = max(n_rows * 96, n_rows * 40 + held)  # while equal rows are looked for by their hashes, and later
    points_read = n_rows * width * itemsize if holds_points else 0
    return points_read + tiles + second_look + shared + rows + 24 * k * 16 + 32 * 2**20


def _capacity(k: int) -> int:
    """Candidates that a row has room for."""
    return k + max(3 * k // 8, 24)


def _candidate_bytes(k: int) -> int:
    return 8 * _capacity(k) + 28


def _list_bytes(k: int) -> int:
    """Of a row of a tile while its candidates are measured and its lists are put in order."""
    return 8 * _capacity(k) + 6 * 16 * k


def _shard_bytes(n: int, k: int) -> int:
    """Two kinds of lists (all, and distinct points), 12 bytes an entry, in parts and put together."""
    return 2 * 2 * min(NEIGHBOR_SHARD_ROWS, n) * k * 12


def _itemsize_of_points(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Bytes of a number as points are compared: unit vectors and standardized features are float64."""
    is_wide = plan.manifest["neighbors"]["metric"] == "cosine" or points.is_standardized(plan, item)
    return _WIDEST_ITEM if is_wide else np.dtype(model.store_dtype).itemsize


def partial_bytes(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Disk for what the parts of the search of one layer find, until it is merged."""
    k, n, n_blocks = (
        int(plan.manifest["neighbors"]["k"]),
        points.n_points(plan, model, item),
        n_blocks_of(plan, model, item),
    )
    if n_blocks == 1:
        return 0
    # A block is in as many pairs as there are blocks: keys, a count, a threshold and a norm of each row.
    n_pairs = n_blocks * (n_blocks + 1) // 2
    found = n * n_blocks * (8 * _capacity(k) + 4 + 8 + 8)
    scan = 4 * n + 8 * (3 * item.width + 2)
    return found + scan + (10 * n_pairs + 6) * sizes.NPZ_BYTES


def geometry(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """Memory of one unit of geometry: a layer alone, or all pairs of layers over some points."""
    n, k = points.n_points(plan, model, item), int(plan.manifest["neighbors"]["k"])
    ks = len(plan.manifest["geometry"]["overlap_k"])
    layers = sum(len(other.layers) for _, other in points.members(plan, item.site, item.pooling))
    together = max(_pairs_bytes(plan, n, layers), _halves_bytes(plan, n, layers))
    if plan.manifest["geometry"]["cka"]:
        compared = points.cohorts(plan, item.site, item.pooling)
        together = max(together, *(alignment.memory_bytes(cohort) for cohort in compared))
    # Both kinds of lists, a copy for a subset, counts by label, and rows of a second search.
    alone = n * (2 * k * 12 + 5 * k + 8 * ks + 200) + 6 * min(4096, n) * item.width * 8
    if plan.manifest["geometry"]["spectrum"]:
        alone = max(alone, n * 2 * k * 12 + spectrum_bytes(item.width, n))
    return PROCESS_BYTES + max(together, alone)


def _pairs_bytes(plan: Plan, n: int, layers: int) -> int:
    """Lists as read, stacked and put together; counts and their squares, and what they are made of."""
    geometry, k = plan.manifest["geometry"], int(plan.manifest["neighbors"]["k"])
    n_numbers = 4 if geometry["jaccard"] else 2
    bins = _bins_bytes(plan, layers) if geometry["jaccard"] else 0
    ranks = 8 * layers**2 * 8 if geometry["information_imbalance"] else 0
    sums: int = ranks + 2 * n_numbers * len(geometry["overlap_k"]) * layers**2 * 8
    return 3 * layers * min(PAIR_ROWS, n) * k * 4 + sums + bins


def _halves_bytes(plan: Plan, n: int, layers: int) -> int:
    """Lists as read, stacked and inside a half; sums over both halves, and what they are made of."""
    geometry, k = plan.manifest["geometry"], int(plan.manifest["neighbors"]["k"])
    if not geometry["error_splits"]:
        return 0
    rows = min(HALF_ROWS, n)
    lists = 3 * layers * rows * k * 4 + rows * k * 40
    sums = 10 * len(geometry["overlap_k"]) * layers**2 * 8
    return lists + sums + _bins_bytes(plan, layers) + 17 * n


def _bins_bytes(plan: Plan, layers: int) -> int:
    """Points by their number of common neighbors, of eight k at a time, as counted and as added up."""
    n_bins = sum(int(k) + 1 for k in plan.manifest["geometry"]["overlap_k"][-8:])
    return 20 * layers**2 * n_bins


def spectrum_bytes(width: int, n_points: int) -> int:
    """What a spectrum holds: covariances of groups, others while one is left out, and a block of rows."""
    block = 8 * width * min(max(SPECTRUM_BLOCK_BYTES // (8 * width), 1), n_points)
    return (JACKKNIFE_GROUPS + 6) * 8 * width**2 + 4 * block + 2**20


def collect(plan: Plan) -> int:
    """Memory of putting the results together."""
    return PROCESS_BYTES + 3 * sizes.results(plan)
