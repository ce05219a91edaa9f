"""Units: what each stage is cut into, and that no two of them write the same file."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import ARRAYS, TEXT, changed, draft, plan_of, points

from hpcgeom.plan.packing import pack, unpack
from hpcgeom.plan.units import (
    MAX_UNIT_ROWS,
    MIN_UNIT_ROWS,
    STAGES,
    UNIT_BYTES,
    choose_unit_rows,
    units_of,
)

TWO_MODELS = changed(
    TEXT,
    "models",
    [{"name": "a", "family": "bert", "source": "org/a"}, {"name": "b", "family": "bert", "source": "org/b"}],
)


@pytest.fixture(params=[65, 256, 257, 1000, 8192, 8193, 70_001])
def plan(request):
    """Two models of different depth, the second at one more site, over a number of samples."""
    drafts = [draft("a", 8, 3), draft("b", 16, 5, sites=("resid", "attn_out", "module:encoder.layer.*"))]
    return plan_of(changed(TWO_MODELS, "extract.unit_rows", 256), n=request.param, drafts=drafts)


def test_extract_covers_every_row_of_every_model_once_in_order(plan):
    for model in plan.models:
        ranges = [(unit.start, unit.stop) for unit in units_of(plan, "extract") if unit.model == model.name]
        rows = [row for start, stop in ranges for row in range(start, stop)]
        assert rows == list(range(plan.samples.n))
        assert all(start % plan.unit_rows == 0 for start, _ in ranges)


def test_overlap_counts_cover_every_row_of_every_site_and_pooling_once(plan):
    found: dict[tuple[str, str], list[int]] = {}
    for unit in units_of(plan, "geometry"):
        if not unit.model:
            found.setdefault((unit.site, unit.pooling), []).extend(range(unit.start, unit.stop))
    assert set(found) == {("resid", "mean"), ("attn_out", "mean"), ("module:encoder.layer.*", "mean")}
    assert all(rows == list(range(plan.samples.n)) for rows in found.values())


@pytest.mark.parametrize("stage", ["search", "geometry"])
def test_every_layer_of_every_representation_is_one_unit(plan, stage):
    found = [(u.model, u.site, u.pooling, u.layer) for u in units_of(plan, stage) if u.model]
    expected = [
        (model.name, item.site, item.pooling, layer)
        for model in plan.models
        for item in model.representations
        for layer in item.layers
    ]
    assert found == expected


@pytest.mark.parametrize("stage", STAGES)
def test_indices_are_dense_and_run_over_the_models_in_manifest_order(plan, stage):
    units = units_of(plan, stage)
    assert [unit.index for unit in units] == list(range(len(units)))
    models = [unit.model for unit in units if unit.model]
    assert models == sorted(models)


def test_no_two_units_of_a_run_own_a_path_or_a_part_of_it(plan):
    owned = [path for stage in STAGES for unit in units_of(plan, stage) for path in unit.owns]
    assert [path for path, count in Counter(owned).items() if count > 1] == []
    known = set(owned)
    for path in owned:
        parts = path.split("/")
        assert not known & {"/".join(parts[:n]) for n in range(1, len(parts))}, path


def test_keys_are_unique_within_a_stage_and_do_not_depend_on_the_order_of_models(plan):
    swapped = changed(TWO_MODELS, "models", list(reversed(TWO_MODELS["models"])))
    drafts = [draft("b", 16, 5, sites=("resid", "attn_out", "module:encoder.layer.*")), draft("a", 8, 3)]
    other = plan_of(changed(swapped, "extract.unit_rows", 256), n=plan.samples.n, drafts=drafts)
    for stage in STAGES:
        keys = [unit.key for unit in units_of(plan, stage)]
        assert len(set(keys)) == len(keys)
        assert {unit.key for unit in units_of(other, stage)} == set(keys)


def test_paths_stay_inside_the_run_directory_whatever_a_glob_says():
    sites = ("module:../../x/*", "module:a b*", "module:a?b*")
    plan = plan_of(n=300, drafts=[draft("a", sites=sites)])
    for stage in STAGES:
        for unit in units_of(plan, stage):
            for path in unit.owns:
                assert ".." not in path.split("/")
                assert not path.startswith("/")
    groups = {unit.owns[0].rsplit("/activations/c/", 1)[0] for unit in units_of(plan, "extract")}
    assert len(groups) == 1
    assert len({path.split("/c/")[0] for path in units_of(plan, "extract")[0].owns[:-1]}) == len(sites)


def test_points_that_exist_have_the_same_units_as_models():
    plan = plan_of(ARRAYS, n=9000, drafts=[points("a", layers=2)])
    assert [len(units_of(plan, stage)) for stage in STAGES] == [2, 2, 0, 4, 1]
    assert units_of(plan, "extract")[1].owns == (
        "activations/a.zarr/points/none/activations/c/0/1/0",
        "activations/a.zarr/points/none/activations/c/1/1/0",
        "records/extract/sums/a-rows-00008192-00009000.npz",
    )


@given(st.integers(1, 2**40))
def test_rows_of_a_unit_are_the_largest_power_of_two_within_bounds_and_budget(bytes_per_row):
    rows = choose_unit_rows(bytes_per_row)
    fitting = [2**p for p in range(8, 14) if 2**p * bytes_per_row <= UNIT_BYTES]
    assert rows == (max(fitting) if fitting else MIN_UNIT_ROWS)
    assert (MIN_UNIT_ROWS, MAX_UNIT_ROWS, UNIT_BYTES) == (256, 8192, 2 * 2**30)


def test_the_rows_of_a_unit_come_from_the_widest_model_or_from_the_manifest():
    narrow, wide = draft("a", 8), draft("b", 2560, 37)
    assert plan_of(TWO_MODELS, drafts=[narrow, narrow]).unit_rows == 8192
    assert plan_of(TWO_MODELS, drafts=[narrow, wide]).unit_rows == 4096
    told = changed(TWO_MODELS, "extract.unit_rows", 256)
    assert plan_of(told, drafts=[narrow, wide]).unit_rows == 256


@pytest.mark.parametrize(
    ("indices", "text"),
    [([], ""), ([0], "0"), ([3, 1, 2, 7], "1-3,7"), ([5, 5, 4], "4-5"), (range(16), "0-15")],
)
def test_packed_indices_read_as_ranges(indices, text):
    assert pack(indices) == text


@given(st.sets(st.integers(0, 200), min_size=1))
def test_packed_indices_are_what_the_command_line_reads_back(indices):
    assert unpack(pack(list(indices))) == sorted(indices)
