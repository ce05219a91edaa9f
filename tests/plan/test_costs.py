"""Costs: bytes, files, memory and operations, held against what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from plan_examples import ARRAYS, TEXT, changed, draft, plan_of, points

from hpcgeom.plan import memory, sizes
from hpcgeom.plan.between import PAIRS
from hpcgeom.plan.costs import costs_of
from hpcgeom.plan.footprints import Devices, footprints
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.units import STAGES, units_of
from hpcgeom.search import search_memory_bytes
from hpcgeom.store import activations
from hpcgeom.store.axes import Group, PointAxis


@pytest.mark.parametrize("n", [10, 1000, 90_000, 10**6])
@pytest.mark.parametrize("width", [1, 384, 1280, 8192])
@pytest.mark.parametrize("k", [2, 64, 512])
def test_the_memory_of_a_search_is_never_below_what_the_search_says_it_needs(n, width, k):
    for tile_rows in (1024, memory.choose_tile_rows(width, k), 65_536):
        for itemsize in (2, 4, 8):
            needed = search_memory_bytes(n, width, k, tile_rows, itemsize=itemsize, n_repeated=n // 2)
            assert memory.search_bytes(n, width, k, tile_rows) >= needed


@pytest.mark.parametrize("width", [1, 384, 1280, 8192])
@pytest.mark.parametrize("k", [2, 64, 512])
def test_tiles_are_as_large_as_their_memory_allows(width, k):
    rows = memory.choose_tile_rows(width, k)
    assert rows.bit_count() == 1
    # Three tiles in float32, room for twice as many candidates, and six numbers and rows of each neighbor.
    each = 3 * 4 * width + 8 * (k + max(k, 32)) + 6 * k * (8 + 8)
    assert 2 * rows * each > memory.TILES_BYTES
    assert rows * each <= memory.TILES_BYTES or rows == memory.MIN_TILE_ROWS


def one_search(plan):
    (model,) = plan.models
    return memory.search(plan, model, model.representations[0])


def test_a_task_of_a_search_holds_a_shard_of_lists_too():
    few, many = (plan_of(changed(TEXT, "neighbors.k", k), n=10**6) for k in (64, 128))
    lists = 65_536 * 64 * (4 + 8)  # one shard of 64 more neighbors: a row number and a distance each
    assert one_search(many) - one_search(few) > lists


@pytest.mark.parametrize(
    ("n", "width", "unit_rows"),
    [(300, 256, 256), (513, 1024, 512), (700, 8, 256), (1237, 1024, 1237), (255, 8, 255), (1, 3, 1)],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_bytes_of_an_array_are_those_of_its_files(tmp_path, n, width, unit_rows, dtype):
    store = tmp_path / "a.zarr"
    axis = PointAxis(np.array([str(row) for row in range(n)], dtype=object))
    activations.create(store, [Group("resid/mean", (0,), width, axis, unit_rows)], dtype, {})
    for start in range(0, n, unit_rows):
        block = np.ones((1, min(unit_rows, n - start), width), dtype)
        activations.write(store, "resid/mean", start, block, "test")
    found = sum(
        path.stat().st_size for path in (store / "resid/mean/activations/c").rglob("*") if path.is_file()
    )
    assert sizes.stored(n, width * np.dtype(dtype).itemsize, unit_rows) == found
    assert zarr.open_array(store, path="resid/mean/activations", mode="r").shape == (1, n, width)


@pytest.mark.parametrize(("n", "power"), [(1, 2), (2, 2), (3, 4), (256, 256), (257, 512)])
def test_shards_of_lists_are_no_longer_than_the_data_needs(n, power):
    assert sizes.power_of_two(n) == power


def test_every_stage_has_a_price_and_as_many_units_as_it_is_cut_into():
    settings = changed(TEXT, "neighbors.unit_work", 1e9)
    plan = plan_of(settings, n=20_000, drafts=[draft(sites=("resid", "attn_out"), flops=7e12)])
    prices = costs_of(plan)
    assert [price.stage for price in prices] == list(STAGES)
    assert [price.n_units for price in prices] == [len(units_of(plan, stage)) for stage in STAGES]
    for price in prices:
        assert price.n_files >= price.n_units
        assert price.memory_bytes >= memory.PROCESS_BYTES
        assert price.as_dict()["size_bytes"] == price.size_bytes > 0


def test_operations_are_those_of_the_forward_passes_and_of_all_pairs_of_points():
    plan = plan_of(n=2000, drafts=[draft(width=10, layers=3, flops=7e12)])
    extract, search, *others = costs_of(plan)
    assert extract.flops == 7e12
    assert search.flops == 3 * (2 * 10) * 2000 * 2000 / 2  # every pair is met once
    assert [price.flops for price in others] == [0.0, 0.0, 0.0]


def test_a_task_of_a_model_holds_its_weights_a_batch_and_the_points_of_its_unit():
    def needed(**changes):
        tokens = changes.pop("tokens", 8192)
        plan = plan_of(
            changed(TEXT, "extract.tokens_per_batch", tokens), drafts=[draft(values_per_token=40, **changes)]
        )
        return footprints(needs_of(plan, plan.models[0]), Devices())[0].host_bytes

    least = needed()
    assert least > memory.PROCESS_BYTES + memory.TORCH_BYTES
    assert needed(n_parameters=10**9) - least == 4 * 10**9
    assert needed(n_parameters=10**9, dtype="bfloat16") - needed(dtype="bfloat16") == 2 * 10**9
    assert needed(layers=4) - least == 3 * 1000 * 8 * 4  # of two units, and of a batch
    assert needed(tokens=2 * 8192) - least == 8192 * 40 * 4


def test_a_task_of_points_needs_no_torch_and_twice_as_much_in_float64():
    single, double = (
        plan_of(ARRAYS, n=5000, drafts=[points(store_dtype=kind)]) for kind in ("float32", "float64")
    )
    grown = [memory.copied(plan, plan.models[0]) - memory.PROCESS_BYTES for plan in (single, double)]
    assert grown[1] == 2 * grown[0] >= 2 * 5000 * 3 * 8 * 4


def test_the_price_of_pairs_grows_with_the_square_of_all_layers():
    few, many = (plan_of(n=9000, drafts=[draft(layers=layers)]) for layers in (10, 20))
    numbers = [sizes.between(plan, PAIRS, layers) for plan, layers in ((few, 10), (many, 20))]
    per_k = len(few.manifest["geometry"]["overlap_k"]) * 2 * 8
    assert numbers[1] - numbers[0] == per_k * (400 - 100)
    assert sizes.results(many) - sizes.results(few) > per_k * (400 - 100)
