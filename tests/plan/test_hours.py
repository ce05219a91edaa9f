"""Hours are operations over rates, worked out by hand; where a rate is not known nothing is said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from plan_examples import TEXT, changed, draft, plan_of, points

from hpcgeom.api.rates import rates_for
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.plan.costs import costs_of, search_flops, unit_flops
from hpcgeom.plan.hours import Hours, Rate, hours_of
from hpcgeom.plan.units import units_of
from hpcgeom.stages.speeds import rates_of

N = 1000
MODELS = {
    **TEXT,
    "models": [{"name": name, "family": "bert", "source": "x"} for name in "ab"],
    "extract": {"unit_rows": 512},
}


def plan(*drafts):
    return plan_of(MODELS, N, drafts or [draft("a", flops=7.2e15), draft("b", flops=3.6e15)])


def core(gflops_per_s, n_of=1, source="s"):
    return Rate(1e9 * gflops_per_s, "core", n_of, source)


def test_hours_are_operations_over_rates_times_the_cores_of_a_process():
    rates = {("extract", "a"): core(1000, 4, "one"), ("extract", ""): core(500, 1, "two")}
    assert hours_of(plan(), rates, {}) == {"extract": Hours(4 * 2.0 + 2.0, "core", ("one", "two"))}
    slow = {("search", ""): core(1e-3)}
    found = hours_of(plan(), slow, {})["search"]
    assert found.hours == pytest.approx(2 * 3 * N**2 * 8 / 1e6 / 3600)  # models, layers, width


@pytest.mark.parametrize(
    ("rates", "has_gpus"),
    [
        ({("extract", "a"): core(1)}, {}),  # of one of two models alone
        ({("extract", ""): core(1)}, {"a": True, "b": True}),  # cores say nothing of GPUs
        ({("extract", ""): Rate(1e9, "GPU", 1, "s")}, {}),
        ({("extract", "a"): core(1), ("extract", "b"): Rate(1e9, "GPU", 1, "s")}, {"b": True}),
    ],
)
def test_nothing_is_said_where_a_rate_is_not_known(rates, has_gpus):
    assert hours_of(plan(), rates, has_gpus) == {}


def test_nothing_is_said_of_models_whose_operations_are_not_known_and_points_take_none():
    assert hours_of(plan(draft("a"), draft("b", flops=1e9)), {("extract", ""): core(1)}, {}) == {}
    found = hours_of(plan(points("a"), draft("b", flops=3.6e12)), {("extract", ""): core(1)}, {})
    assert found["extract"].hours == 1.0


@pytest.mark.parametrize("work", [1e14, 2e6, 1e5])
def test_units_of_a_search_have_all_its_operations(work):
    found = plan_of(changed(MODELS, "neighbors.unit_work", work), N, [draft("a"), draft("b", width=16)])
    units = units_of(found, "search")
    assert {unit.n_blocks > 1 for unit in units} == {work < 1e14}
    for model in found.models:
        own = [unit_flops(found, unit) for unit in units if unit.model == model.name]
        assert sum(own) == pytest.approx(search_flops(found, model), rel=1e-12)
    assert costs_of(found)[1].flops == 3 * N**2 * (8 + 16)


def run_of(records):
    """A run double, by stage: facts and device of its units; None for one that is missing."""
    found = plan()

    def of(stage):
        known = records.get(stage, {})
        return SimpleNamespace(
            load=lambda unit: (
                SimpleNamespace(facts=known[unit.index][0], made_by={"device": known[unit.index][1]})
                if unit.index in known
                else None
            )
        )

    return SimpleNamespace(
        plan=found, root=Path("runs/r"), units=lambda stage: units_of(found, stage), records=of
    )


def test_rates_are_those_of_units_that_are_done_in_all_their_time():
    group = {"flops": 6e12, "seconds": 10.0, "processes": [{}, {}], "strategy": "pipeline"}
    extract = {
        0: ({"flops": 1e12, "seconds": 1.0}, "cpu"),
        1: ({"flops": 2e12, "seconds": 2.0}, "cpu"),
        2: (group, "H200"),
        3: ({"flops": 1e9, "seconds": 1.0, "strategy": "dispatch"}, "H200"),  # nobody knows on how many
    }
    run = run_of(
        {"extract": extract, "search": {0: ({"seconds": 4.0}, "cpu"), 1: ({"seconds": 12.0}, "cpu")}}
    )
    assert [unit.model for unit in run.units("extract")] == list("aabb")
    assert rates_of(run) == {
        ("extract", "a"): Rate(1e12, "core", 1, "2 units of extract of 'a' in runs/r took"),
        ("extract", "b"): Rate(3e11, "GPU", 1, "1 unit of extract of 'b' in runs/r took"),
        ("search", "a"): Rate(1e6, "core", 1, "2 units of search of 'a' in runs/r took"),
    }


def test_what_was_measured_comes_before_the_profile_where_it_is_of_the_same_kind():
    run = run_of({"extract": {0: ({"flops": 1e12, "seconds": 1.0}, "cpu")}})
    text = {"name": "p", "extract": {"gflops_per_s": 40, "cpus": 8}, "search": {"gflops_per_s": 2, "gpus": 1}}
    assert rates_for(None, None) == {}
    assert rates_for(None, run) == rates_of(run)
    found = rates_for(Profile.model_validate(text), run)
    assert found == {
        ("extract", ""): core(40, 8, "profile 'p' says"),
        ("extract", "a"): core(1000, 8, "1 unit of extract of 'a' in runs/r took"),
        ("search", ""): Rate(2e9, "GPU", 1, "profile 'p' says"),
    }
    text["extract"]["gpus"] = 1
    assert rates_for(Profile.model_validate(text), run).keys() == {("extract", ""), ("search", "")}
