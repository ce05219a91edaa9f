"""Points: samples, or tokens of samples; where they are stored, and which models share them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import TEXT, changed, draft, plan_of

from hpcgeom.errors import ProblemsError
from hpcgeom.plan import memory, sizes
from hpcgeom.plan.costs import costs_of
from hpcgeom.plan.footprints import Devices, footprints
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.plan import Representation
from hpcgeom.plan.points import MAX_POINTS, blocks, cohorts, n_points, point_arrays
from hpcgeom.plan.sequences import SampleTokens, Sequences
from hpcgeom.plan.units import MIN_TOKEN_UNIT_ROWS, units_of

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=30)
MODELS = [{"name": name, "family": "bert", "source": f"org/{name}"} for name in "abc"]


def token_draft(name="a", counts=None, digest="tokens", poolings=("mean", "tokens"), layers=2, **changes):
    items = tuple(
        Representation(site="resid", pooling=pooling, layers=tuple(range(layers)), width=8)
        for pooling in poolings
    )
    counts = np.full(1000, 5) if counts is None else np.array(counts)
    return draft(name, representations=items, tokens=SampleTokens(counts.astype(np.int64), digest), **changes)


def token_plan(*drafts, n=1000, **changes):
    settings = changed(TEXT, "models", MODELS[: len(drafts)])
    for path, value in {"extract.unit_rows": 256, **changes}.items():
        settings = changed(settings, path, value)
    return plan_of(settings, n, list(drafts))


def test_samples_are_one_array_whose_shards_are_the_units():
    plan = token_plan(token_draft())
    (model,) = plan.models
    mean, _ = model.representations
    assert [(a.group, a.start, a.stop, a.shard_points) for a in point_arrays(plan, model, mean)] == [
        ("resid/mean", 0, 1000, 256)
    ]
    found = [(b.group, b.shard, b.start, b.first, b.n_points) for b in blocks(plan, model, mean)]
    assert found == [("resid/mean", i, 256 * i, 256 * i, 256 if i < 3 else 232) for i in range(4)]
    assert n_points(plan, model, mean) == 1000


def test_tokens_of_every_unit_are_an_array_of_their_own():
    counts = np.arange(1000) % 7 + 1
    plan = token_plan(token_draft(counts=counts))
    (model,) = plan.models
    _, tokens = model.representations
    edges = [0, *np.cumsum([counts[i : i + 256].sum() for i in range(0, 1000, 256)]).tolist()]
    names = [f"resid/tokens/rows-{start:08d}-{min(start + 256, 1000):08d}" for start in range(0, 1000, 256)]
    found = [(b.group, b.shard, b.start, b.first, b.n_points) for b in blocks(plan, model, tokens)]
    assert found == [
        (name, 0, 0, start, stop - start) for name, start, stop in zip(names, edges, edges[1:], strict=False)
    ]
    assert n_points(plan, model, tokens) == counts.sum()
    assert units_of(plan, "extract")[1].owns[2:4] == tuple(
        f"activations/a.zarr/{names[1]}/activations/c/{layer}/0/0" for layer in (0, 1)
    )


def test_units_of_later_stages_cover_all_tokens_of_the_model_with_the_most():
    few, many = token_draft("a"), token_draft("b", counts=np.full(1000, 200), digest="others")
    plan = token_plan(few, many)
    stops = {(u.model, u.pooling): u.stop for u in units_of(plan, "search")}
    assert stops == {
        ("a", "mean"): 1000,
        ("a", "tokens"): 5000,
        ("b", "mean"): 1000,
        ("b", "tokens"): 200_000,
    }
    shards = [path for u in units_of(plan, "search") for path in u.owns if "b.zarr/resid/tokens" in path]
    assert sum("neighbor_index/c/0/" in path for path in shards) == 4  # shards of 65,536 points
    pairs = [(u.pooling, u.start, u.stop) for u in units_of(plan, "geometry") if not u.model]
    assert pairs[0] == ("mean", 0, 1000)
    assert pairs[1] == ("tokens", 0, 8192)
    assert pairs[-1] == ("tokens", 196_608, 200_000)


def names_of(found):
    return [("".join(model.name for model, _ in each.members), each.layers, each.n_points) for each in found]


def test_models_share_samples_and_those_tokens_that_are_cut_alike():
    other = np.full(1000, 4)
    drafts = token_draft("a"), token_draft("b", other, "others"), token_draft("c", layers=3)
    plan = token_plan(*drafts)
    assert names_of(cohorts(plan, "resid", "mean")) == [("abc", (0, 1, 2, 3, 4, 5, 6), 1000)]
    assert names_of(cohorts(plan, "resid", "tokens")) == [
        ("ac", (0, 1, 4, 5, 6), 5000),
        ("b", (2, 3), 4000),
    ]
    alone = token_plan(*drafts, **{"geometry.cross_model": False})
    assert [name for name, _, _ in names_of(cohorts(alone, "resid", "tokens"))] == ["a", "b", "c"]
    assert [name for name, _, _ in names_of(cohorts(alone, "resid", "mean"))] == ["a", "b", "c"]


def test_more_points_than_int32_can_number_are_refused_where_they_were_counted():
    counts = np.full(1000, MAX_POINTS // 1000 + 1)
    with pytest.raises(
        ProblemsError, match=r"model 'a' has 2147484000 tokens, but at most 2147483647 points"
    ):
        token_plan(token_draft(counts=counts))
    assert token_plan(token_draft(counts=counts, digest="")).models[0].tokens.digest == ""  # an upper bound
    assert token_plan(token_draft(counts=counts, poolings=("mean",))).models[0].tokens is None
    fitting = np.full(1000, MAX_POINTS // 1000)
    assert sum(token_plan(token_draft(counts=fitting)).models[0].tokens.n_of_units) == 2_147_483_000


def test_neighbors_of_samples_are_refused_beside_tokens_and_those_of_tokens_alone_are_not():
    counts = np.full(50, 20)
    with pytest.raises(ProblemsError, match=r"the data set has 50 samples and a sample has 49 others"):
        token_plan(token_draft(counts=counts), n=50)
    token_plan(
        token_draft(counts=counts, poolings=("tokens",)), n=50, **{"representations.pooling": ["tokens"]}
    )
    few = token_draft(counts=np.full(30, 2), poolings=("tokens",))
    settings = {"representations.pooling": ["tokens"], "geometry.gride_range_max": 32}
    with pytest.raises(ProblemsError, match=r"model 'a' has 60 tokens and a token has 59 others") as caught:
        token_plan(few, n=30, **settings)
    assert len(caught.value.problems) == 1


def test_units_hold_fewer_samples_where_these_are_many_points():
    def rows(tokens, poolings):
        found = token_draft(counts=np.full(1000, tokens), poolings=poolings, layers=64)
        return plan_of(TEXT, drafts=[found]).unit_rows

    # 64 layers of 8 features in float32 are 2 KiB a point, and a unit aims at 2 GiB.
    assert [rows(tokens, ("tokens",)) for tokens in (1, 1024, 10_000, 10**6)] == [8192, 1024, 64, 16]
    assert rows(10**6, ("mean",)) == 8192
    assert MIN_TOKEN_UNIT_ROWS == 16


def test_disk_memory_and_operations_grow_with_the_tokens():
    few, many = (token_plan(token_draft(counts=np.full(1000, each))) for each in (5, 50))
    costs = [costs_of(plan) for plan in (few, many)]
    assert costs[1][0].size_bytes - costs[0][0].size_bytes > 45_000 * 2 * 8 * 4
    assert costs[1][1].size_bytes - costs[0][1].size_bytes > 45_000 * 2 * 64 * 12
    assert costs[1][1].flops - costs[0][1].flops == 2 * 8 * (50_000**2 - 5000**2)
    needed = [footprints(needs_of(plan, plan.models[0]), Devices())[0].host_bytes for plan in (few, many)]
    assert needed[1] - needed[0] == 2 * 256 * 45 * 2 * 8 * 4  # two of the largest unit
    for stage in (memory.search, memory.geometry):
        needed = [stage(plan, plan.models[0], plan.models[0].representations[1]) for plan in (few, many)]
        assert needed[1] - needed[0] > 45_000 * 64 * 12


def test_a_store_of_tokens_has_a_group_and_a_coordinate_more():
    def files(*poolings):
        plan = token_plan(token_draft(poolings=poolings))
        return sizes.layout(
            plan, 1, 2, lambda *about: {a.group: a.stop - a.start for a in point_arrays(*about)}
        )

    samples, tokens = files("mean"), files("tokens")
    # The record, three groups, an array and two coordinates; four groups below `tokens`, all with three.
    assert samples.n_files == 1 + 3 + 1 + 2 * 2
    assert tokens.n_files == 1 + 3 + 4 * (1 + 1 + 2 * 3)
    assert tokens.n_bytes - samples.n_bytes > 5000 * 56 - 1000 * 48


@given(st.lists(COUNTS, min_size=1, max_size=8), st.integers(0, 3), st.randoms(use_true_random=False))
def test_points_of_sequences_are_those_of_loops(windows, n_before, rng):
    """`windows` are the ordinary tokens of each window of each sample."""
    row = [sample for sample, counts in enumerate(windows) for _ in counts]
    number = [w for counts in windows for w in range(len(counts))]
    ordinary = [n for counts in windows for n in counts]
    columns = (row, number, [n + n_before for n in ordinary], ordinary, [n_before] * len(row))
    sequences = Sequences(*(np.array(column, np.int64) for column in columns))
    points = [(s, p) for s, counts in enumerate(windows) for p in range(n_before, n_before + sum(counts))]
    assert sequences.points_per_sample().tolist() == [sum(counts) for counts in windows]
    assert sequences.sample_of_points().tolist() == [sample for sample, _ in points]
    assert sequences.position_of_points().tolist() == [position for _, position in points]
    members = rng.sample(range(len(row)), rng.randint(1, len(row)))
    expected = [sum(ordinary[:member]) + token for member in members for token in range(ordinary[member])]
    assert sequences.points_of(np.array(members)).tolist() == expected


def test_samples_that_are_all_alike_have_the_same_points_where_they_are_as_many():
    one = Sequences.alike(10, n_tokens=5, n_ordinary=4, n_before=1)
    assert one.position_of_points().tolist() == [1, 2, 3, 4] * 10
    assert one.digest == Sequences.alike(10, n_tokens=4, n_ordinary=4).digest
    assert one.digest != Sequences.alike(10, n_tokens=6, n_ordinary=5).digest
