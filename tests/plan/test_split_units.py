"""Searches that are split: how many blocks, which units, and that the memory of a part is bounded."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import TEXT, changed, draft, plan_of

from hpcgeom.plan import memory
from hpcgeom.plan.costs import costs_of
from hpcgeom.plan.points import is_standardized
from hpcgeom.plan.units import STAGES, STAGES_OF_JOBS, n_blocks_of, units_of
from hpcgeom.search import ArrayRows, Settings, merge_rows, pairs_of_blocks, propose_pair, scan_points


def split_plan(work, n=1000, width=8, k=64, **changes):
    settings = changed(changed(TEXT, "neighbors.unit_work", float(work)), "neighbors.k", k)
    return plan_of(settings, n=n, drafts=[draft(width=width, layers=2, **changes)])


def blocks(plan):
    (model,) = plan.models
    return n_blocks_of(plan, model, model.representations[0])


@given(st.integers(65, 10**7), st.integers(1, 10_000), st.floats(1, 1e20))
def test_blocks_are_as_few_as_bring_a_pair_within_the_work_of_a_unit(n, width, work):
    found = blocks(split_plan(work, n, width))
    fits = [b for b in range(2, 8) if 2 * (n / b) ** 2 * width <= work]
    assert found == (1 if n * n * width <= work else min(fits, default=8))


def test_a_split_search_is_a_scan_and_all_pairs_and_is_merged_by_shards_of_rows():
    plan = split_plan(1, n=70_000)
    search, merge = units_of(plan, "search"), units_of(plan, "merge")
    assert [unit.index for unit in search] == list(range(2 * 37))
    layer = "a/resid/mean/layer-001"
    scan, *pairs = search[37:]
    assert (scan.key, scan.owns) == (f"{layer}/scan", (f"neighbors/partial/{layer}/scan.npz",))
    assert [unit.blocks for unit in pairs] == pairs_of_blocks(8)
    assert pairs[10].key == f"{layer}/pair-1-5-of-8"
    assert pairs[10].owns == (f"neighbors/partial/{layer}/pair-1-5.npz",)
    assert all(unit.needs == (scan.index,) for unit in pairs)
    assert [(unit.key, unit.start, unit.stop) for unit in merge[2:]] == [
        (f"{layer}/rows-00000000-00065536", 0, 65_536),
        (f"{layer}/rows-00065536-00070000", 65_536, 70_000),
    ]
    assert all(unit.superseded_by == merge[2:] for unit in (scan, *pairs))
    whole = [set(unit.owns) for unit in units_of(split_plan(1e18, n=70_000), "search")]
    assert [set(merge[0].owns + merge[1].owns), set(merge[2].owns + merge[3].owns)] == whole


def test_nothing_is_merged_where_no_search_is_split():
    plan = split_plan(1e12)
    assert units_of(plan, "merge") == ()
    assert all(unit.superseded_by == unit.needs == () for unit in units_of(plan, "search"))
    price = costs_of(plan)[STAGES.index("merge")]
    assert (price.n_units, price.memory_bytes, price.n_files) == (0, 0, 1)


def test_wide_sites_are_split_where_narrow_ones_are_not():
    drafts = [draft("a", 8), draft("b", 800)]
    plan = plan_of(changed(TEXT, "neighbors.unit_work", 1e7), drafts=drafts)
    assert [n_blocks_of(plan, model, model.representations[0]) for model in plan.models] == [1, 8]
    assert len(units_of(plan, "search")) == 3 + 3 * 37


def test_every_stage_is_done_by_one_job():
    assert [stage for stages in STAGES_OF_JOBS.values() for stage in stages] == list(STAGES)


def test_the_disk_for_parts_is_known_before():
    few, many = (costs_of(split_plan(work, n=100_000))[1] for work in (1e12, 1))
    assert few.partial_bytes == 0
    # Every row is in eight pairs, with the numbers and scores of at least as many neighbors as are wanted.
    assert many.partial_bytes > 2 * 100_000 * 8 * 64 * 8
    assert many.size_bytes < few.size_bytes


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n_blocks", [2, 8])
def test_the_memory_of_parts_and_of_merging_is_never_above_what_the_plan_says(n_blocks):
    n, width, k, tile_rows = 6000, 4, 64, 1024
    rows = ArrayRows(np.random.default_rng(0).standard_normal((n, width)).astype(np.float32))
    work = 2 * (n / n_blocks) ** 2 * width if n_blocks == 2 else 1
    plan = split_plan(work, n, width, k).model_copy(update={"tile_rows": tile_rows})
    (model,) = plan.models
    assert blocks(plan) == n_blocks
    points = scan_points(rows, Settings(k=k, tile_rows=tile_rows))
    found = {pair: propose_pair(points, *pair, n_blocks) for pair in pairs_of_blocks(n_blocks)}
    packed = sum(array.nbytes for arrays in found.values() for array in arrays.values())
    assert packed <= memory.partial_bytes(plan, model, model.representations[0])

    pair = peak_of(lambda: propose_pair(points, 0, 1, n_blocks))
    assert pair <= memory.search(plan, model, model.representations[0]) - memory.PROCESS_BYTES
    held = 3 * 2 * (n // n_blocks) * (8 * 2 * k + 40)
    assert pair <= held + tile_rows * width * 4 * 3 + 24 * 2**20  # and the products of panels

    def read(first, second):
        return {name: array.copy() for name, array in found[first, second].items()}

    merge = peak_of(lambda: list(merge_rows(points, 0, n, n_blocks, read)[0]))
    assert merge <= memory.merge(plan, model, model.representations[0]) - memory.PROCESS_BYTES


@pytest.mark.parametrize(
    ("standardize", "heads", "written", "read", "expected"),
    [
        (False, "together", ["resid", "z"], ["resid", "z"], [False, False]),
        (True, "together", ["resid", "z"], ["resid", "z"], [True, True]),
        (["z"], "together", ["resid", "z"], ["resid", "z"], [False, True]),
        (["z"], "together", ["z.0", "z"], ["z.0", "z"], [False, True]),
        (["z.0"], "separate", ["z.0", "z.1"], ["z.0", "z.1"], [True, False]),
        (["z"], "separate", ["z", "q"], ["z.0", "z.1", "q.0"], [True, True, False]),
    ],
)
def test_sites_are_standardized_by_name_all_heads_of_a_separate_one(
    standardize, heads, written, read, expected
):
    settings = changed(TEXT, "representations", {"sites": written, "heads": heads})
    plan = plan_of(changed(settings, "neighbors.standardize", standardize), drafts=[draft(sites=read)])
    assert [is_standardized(plan, item) for item in plan.models[0].representations] == expected
