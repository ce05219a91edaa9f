"""The strategy `pipeline` against `replicate`: the same bits, whatever the number of processes."""

from __future__ import annotations

from itertools import combinations, pairwise

import families_for_tests as families
import numpy as np
import pipeline_processes as processes
import pytest
from families_for_tests import everything
from hypothesis import given
from hypothesis import strategies as st
from pipeline_processes import Case

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, Pipeline, Reading, Replicate
from hpcgeom.models.cut import cut

N_PROCESSES = 2
MODULES = {"gpt2": (Reading("module:h.*.mlp.c_fc", ("mean",), (0, 2)),)}
FAMILIES = ["bert", "esm2", "gpt2", "igpt", "llama", "mistral", "vit"]


def batches_of(kind, make_batch):
    if kind == "vit":
        return [families.images(3), families.images(1, seed=1), families.images(4, seed=2)]
    lengths = [[12, 3, 7, 9], [5], [20, 20], [4, 6, 6, 6, 8]]
    return [make_batch(each, n_words=families.N_IDS, seed=seed) for seed, each in enumerate(lengths)]


def blocks_of(folder):
    return [(folder / f"blocks-{index}.txt").read_text() for index in range(N_PROCESSES)]


@pytest.fixture(scope="module")
def cases(tmp_path_factory, make_batch):
    found = []
    for kind in FAMILIES:
        folder = families.save(kind, tmp_path_factory.mktemp(kind))
        probe = families.open_model(kind, folder)
        readings = (*everything(probe.skeleton.layout.site_names), *MODULES.get(kind, ()))
        for dtype in ("float32", "bfloat16"):
            request = families.request(kind, folder, *readings, dtype=dtype)
            found.append(Case(f"{kind}-{dtype}", request, batches_of(kind, make_batch)))
    return found


@pytest.fixture(scope="module")
def folder(cases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    assert processes.run_group(processes.save_all, N_PROCESSES, folder, cases) == [0, 0]
    return folder


@pytest.mark.parametrize("number", range(2 * len(FAMILIES)))
def test_two_processes_give_the_bits_of_one(cases, folder, number):
    case = cases[number]
    model = Replicate().open_model(case.request)
    for batch_number, batch in enumerate(case.batches):
        expected = model.extract(batch)
        found = processes.together(folder / str(number), batch_number, N_PROCESSES)
        assert set(found) == set(expected)
        for key, rows in expected.items():
            where = f"{case.name} {key}"
            np.testing.assert_array_equal(found[key].view(np.int32), rows.view(np.int32), err_msg=where)


def test_processes_have_blocks_and_layers_of_their_own_and_know_the_shapes_of_all(cases, folder):
    for number, case in enumerate(cases):
        model = Replicate().open_model(case.request)
        here = folder / str(number)
        assert blocks_of(here) == ["range(0, 2)", "range(2, 3)"]
        layers = [np.load(here / f"layers-{index}.npz") for index in (0, 1)]
        for site, reading in model.readings.items():
            assert (*layers[0][site], *layers[1][site]) == reading.layers
        for index in (0, 1):
            assert (here / f"shapes-{index}.txt").read_text() == repr(model.describe())


def test_an_unread_end_of_a_model_is_not_run(tmp_path, make_batch):
    source = families.save("esm2", tmp_path / "esm2", num_hidden_layers=5)
    readings = (Reading("resid", ("mean",), (0, 2)), Reading("mlp_out", ("max",), (2,)))
    batches = [make_batch([5, 7], n_words=families.N_IDS)]
    case = Case("early", families.request("esm2", source, *readings), batches)
    group = tmp_path / "group"
    assert processes.run_group(processes.save_all, 2, group, [case]) == [0, 0]
    assert blocks_of(group / "0") == ["range(0, 1)", "range(1, 2)"]
    expected = Replicate().open_model(case.request).extract(case.batches[0])
    found = processes.together(group / "0", 0, 2)
    for key, rows in expected.items():
        np.testing.assert_array_equal(found[key], rows)


@given(st.data())
def test_no_cut_has_a_smaller_sum_of_squared_costs(data):
    costs = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=8))
    n_parts, at_end = data.draw(st.integers(1, len(costs))), data.draw(st.integers(0, 4))

    def price(edges):
        sums = [sum(costs[first:end]) for first, end in pairwise(edges)]
        return sum(cost**2 for cost in (*sums[:-1], sums[-1] + at_end))

    ways = [(0, *inner, len(costs)) for inner in combinations(range(1, len(costs)), n_parts - 1)]
    found = cut(costs, n_parts, at_end)
    edges = (*(part.start for part in found), len(costs))
    assert edges in ways
    assert price(edges) == min(map(price, ways))


def test_equal_blocks_are_shared_evenly_with_more_at_the_beginning():
    assert [len(part) for part in cut([7.0] * 33, 2, at_end=0.01)] == [17, 16]
    assert [len(part) for part in cut([7.0] * 48, 5)] == [10, 10, 10, 9, 9]
    with pytest.raises(InputError, match=r"4 processes cannot share 3 blocks .*use 1 to 3 processes"):
        cut([1.0] * 3, 4)


@pytest.mark.parametrize(
    ("family", "site", "message"),
    [
        ("gpt2", "module:wte", r"module 'wte' is outside of the blocks 'h'"),
        (
            "module",
            "resid",
            r"model 'tiny' of family 'module' cannot be run by `pipeline`.*replicate or dispatch",
        ),
    ],
)
def test_what_is_no_chain_of_blocks_is_refused(tmp_path, family, site, message):
    if family == "module":
        request = ModelRequest(
            "tiny",
            family,
            None,
            "float32",
            (Reading(site, ("mean",)),),
            factory="families_for_tests:make_with_maps",
            weights="random",
            blocks="blocks",
        )
    else:
        request = families.request(
            family, families.save(family, tmp_path / "model"), Reading(site, ("mean",))
        )
    with pytest.raises(InputError, match=message):
        Pipeline().open_model(request, None)
