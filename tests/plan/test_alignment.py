"""How alignment is cut: every pair of rows, or of layers, is in one unit, within work and memory."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import TEXT, changed, draft, plan_of

from hpcgeom.plan import alignment, memory
from hpcgeom.plan.costs import costs_of
from hpcgeom.plan.points import cohorts
from hpcgeom.plan.units import units_of

SETTINGS = changed(TEXT, "geometry.cka", True)


def cut_of(n, width, layers):
    plan = plan_of(SETTINGS, n=n, drafts=[draft(width=width, layers=layers)])
    (cohort,) = cohorts(plan, "resid", "mean")
    return plan, cohort, alignment.cut_of(cohort)


@given(st.integers(66, 10**7), st.integers(1, 9000), st.integers(1, 90))
def test_parts_follow_each_other_and_every_pair_is_a_unit(n, width, layers):
    _, _, cut = cut_of(n, width, layers)
    end = n if cut.route == "gram" else layers
    assert cut.edges[0] == 0
    assert cut.edges[-1] == end
    assert all(a < b for a, b in cut.parts)
    assert cut.pairs == list(combinations_with_replacement(range(len(cut.parts)), 2))


@pytest.mark.parametrize(
    ("n", "width", "layers", "route"),
    [
        (1000, 1280, 34, "gram"),  # fewer points than features of all layers
        (10_256, 1280, 34, "gram"),
        (10**6, 384, 7, "features"),
        (10**6, 8192, 3, "gram"),  # two covariances of one layer would not fit
    ],
)
def test_the_cheaper_route_that_fits_is_taken(n, width, layers, route):
    _, cohort, cut = cut_of(n, width, layers)
    assert cut.route == route
    total = width * layers
    works = {"gram": n**2 / 2 * (total + layers**2 / 2), "features": n * (total**2 + layers * width**2) / 2}
    assert cut.work == works[route]
    longest = max(b - a for a, b in cut.parts)
    if route == "gram" and n < 10**6:
        assert longest**2 * (total + layers**2 / 2) <= 1.01 * alignment.UNIT_WORK
    if route == "features":
        assert n * (longest * width) ** 2 <= alignment.UNIT_WORK
    assert alignment.memory_bytes(cohort) < 2 * alignment.MEMORY_BYTES


def test_alignment_adds_units_work_and_memory_to_geometry_and_nothing_to_other_stages():
    drafts = [draft(width=1280, layers=34)]
    without, asked = (plan_of(settings, n=10_256, drafts=drafts) for settings in (TEXT, SETTINGS))
    units = [unit for unit in units_of(asked, "geometry") if unit.kind == "cka"]
    assert len(units) == len(units_of(asked, "geometry")) - len(units_of(without, "geometry"))
    cut = alignment.cut_of(cohorts(asked, "resid", "mean")[0])
    assert [unit.blocks for unit in units] == cut.pairs
    before, after = costs_of(without), costs_of(asked)
    for one, other in zip(before, after, strict=True):
        if one.stage == "geometry":
            assert other.flops - one.flops == 2 * cut.work
            assert other.size_bytes > one.size_bytes
        else:
            assert one.flops == other.flops
    model = asked.models[0]
    needed = [memory.geometry(plan, model, model.representations[0]) for plan in (without, asked)]
    assert needed[1] > needed[0]


def test_models_that_are_not_compared_are_aligned_apart():
    models = [{"name": name, "family": "bert", "source": f"org/{name}"} for name in "ab"]
    settings = changed(changed(SETTINGS, "models", models), "geometry.cross_model", False)
    plan = plan_of(settings, drafts=[draft("a"), draft("b")])
    numbers = [unit.number for unit in units_of(plan, "geometry") if unit.kind == "cka"]
    assert numbers == [0, 1]
