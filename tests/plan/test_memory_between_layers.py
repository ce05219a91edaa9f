"""What is counted between layers holds no more than the plan says."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from plan_examples import TEXT, changed, draft, plan_of

from hpcgeom.geometry.centered import CenteredLayer
from hpcgeom.geometry.cka_sums import feature_sums, gram_sums
from hpcgeom.geometry.half_sets import half_sums, halves
from hpcgeom.plan import alignment, memory
from hpcgeom.plan.points import cohorts
from hpcgeom.stages.between import pair_sums

N, LAYERS, K = 1500, 12, 64
ASKED = {
    "overlap_k": "all",
    "jaccard": True,
    "error_splits": 2,
    "cka": True,
    "information_imbalance": True,
}


@pytest.fixture(scope="module")
def plan():
    settings = TEXT
    for name, value in ASKED.items():
        settings = changed(settings, f"geometry.{name}", value)
    return plan_of(settings, n=N, drafts=[draft(width=32, layers=LAYERS)])


def peak_bytes(work):
    work()  # what is compiled and cached is not of the data
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def allowed(plan):
    return memory.geometry(plan, plan.models[0], plan.models[0].representations[0]) - memory.PROCESS_BYTES


def test_common_neighbors_and_ranks_of_all_pairs(plan):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, N, (LAYERS, N, K), dtype=np.int32)
    settings = plan.manifest["geometry"]
    assert peak_bytes(lambda: pair_sums(stored.copy(), N, settings)) < allowed(plan)


def test_common_neighbors_inside_halves(plan):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, N, (LAYERS, N, K), dtype=np.int32)
    side, ks = next(halves(N, 1, 0)), plan.manifest["geometry"]["overlap_k"]
    assert peak_bytes(lambda: half_sums(stored.copy(), side, ks)) < allowed(plan)


@pytest.mark.parametrize("route", ["gram", "features"])
def test_alignment(route):
    width = 32 if route == "features" else 300
    settings = changed(TEXT, "geometry.cka", True)
    plan = plan_of(settings, n=N, drafts=[draft(width=width, layers=LAYERS)])
    (cohort,) = cohorts(plan, "resid", "mean")
    cut = alignment.cut_of(cohort)
    assert cut.route == route
    points = np.random.default_rng(1).standard_normal((LAYERS, N, width)).astype(np.float32)
    layers = [
        CenteredLayer(
            lambda layer, a, b: points[layer, a:b].copy(), layer, np.zeros(width), np.zeros(width), 0, False
        )
        for layer in range(LAYERS)
    ]
    first = cut.parts[0]

    def work():
        if route == "gram":
            return gram_sums(layers, first, first, alignment.MEMORY_BYTES)
        return feature_sums(layers, range(*first), range(*first), N, alignment.MEMORY_BYTES)

    assert peak_bytes(work) < alignment.memory_bytes(cohort)
