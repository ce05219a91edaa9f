"""Queries that a model reads: batches, tokens and split searches leave the data set as it is without them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import run_oracle
import token_runs
import xarray as xr
from token_runs import write_run

import hpcgeom as hg
from hpcgeom.api.running import run_manifest
from hpcgeom.plan.points import n_base_points
from hpcgeom.stages.run import Run

N = 100
"""Texts of the data set."""
QUERIES = ["cat sees dog", "the cat is on the cat", "a", "b b b b", "dog", "on the dog", "is a cat on b"]
QUERIED = token_runs.RUN["dataset"].removesuffix("}") + ", query: {path: queries.jsonl}}"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """The same run without queries, with queries, and with queries in searches that are split."""
    folder = tmp_path_factory.mktemp("queries")
    models = [(name, token_runs.save_bert(folder / name, seed)) for name, seed in (("one", 1), ("two", 2))]
    named = ", ".join(f"{{name: {name}, family: bert, source: '{path}'}}" for name, path in models)
    with_some = {"dataset": QUERIED}
    split = {**with_some, "neighbors": "{k: 8, unit_work: 2.0e+6}"}
    found = {}
    for name, changes in (("without", {}), ("with", with_some), ("split", split)):
        found[name] = write_run(folder / f"of-{name}", f"[{named}]", N, **changes)
        with (folder / f"of-{name}" / "queries.jsonl").open("w") as file:
            for row, text in enumerate(QUERIES):
                file.write(json.dumps({"id": f"q{row}", "text": text, "kind": "xyz"[row % 3]}) + "\n")
    return found


@pytest.fixture(scope="module")
def roots(manifests) -> dict[str, Path]:
    return {name: run_manifest(path, path.parent / "run", workers=1) for name, path in manifests.items()}


@pytest.mark.parametrize("pooling", ["mean", "tokens"])
def test_the_data_set_is_stored_as_it_is_without_queries_and_queries_follow(roots, pooling):
    run = Run(roots["with"])
    for model in run.plan.models:
        n_base = n_base_points(run.plan, model, model.representation("resid", pooling))
        if pooling == "tokens":
            alone, both = (token_runs.points(roots[name], model.name) for name in ("without", "with"))
        else:
            alone, both = (
                hg.open_activations(roots[name], model.name)["resid/mean"].dataset.load()
                for name in ("without", "with")
            )
            assert n_base == N
        np.testing.assert_array_equal(both.activations[:, :n_base], alone.activations, strict=True)
        n_queries = both.role.size - n_base
        assert both.role.values.tolist() == ["base"] * n_base + ["query"] * n_queries
        assert {*both["sample"].values[n_base:]} == {f"q{row}" for row in range(len(QUERIES))}


def test_neighbors_of_tokens_of_queries_are_tokens_of_the_data_set(roots):
    run = Run(roots["with"])
    model = run.plan.model("one")
    n_base = n_base_points(run.plan, model, model.representation("resid", "tokens"))
    lists = hg.open_neighbors(roots["with"], "one")["resid/tokens"].dataset.load()
    assert n_base == sum(len(text.split()) for text in token_runs.texts(N))
    assert lists.sizes["point"] - n_base == sum(len(text.split()) for text in QUERIES)
    values = token_runs.points(roots["with"], "one").activations.values.astype(np.float64)
    for layer, points in enumerate(values):
        for row in range(n_base, len(points)):
            squares = np.square(points[row] - points[:n_base]).sum(axis=1)
            order = np.argsort(squares, kind="stable")[:8]
            found = lists.neighbor_index.values[layer, row]
            # sums in another order may swap neighbors whose distances agree to the last bits
            np.testing.assert_allclose(squares[found], squares[order], rtol=1e-12)


def test_numbers_of_the_data_set_are_those_without_queries_bit_by_bit(roots):
    alone, both = (hg.open_results(roots[name]).load() for name in ("without", "with"))
    searched = {"n_proven_rows", "n_certified_rows", "n_recomputed_rows", "largest_relative_error"}
    assert {name for name in set(both) - set(alone) if not name.startswith("retrieval")} == {
        "n_queries",
        "n_unknown_label",
    }
    for name in set(alone) - searched:
        np.testing.assert_array_equal(both[name].values, alone[name].values, strict=True, err_msg=name)
    assert both.n_queries.sel(model="one", pooling="tokens", layer=0) == sum(
        map(len, map(str.split, QUERIES))
    )
    assert np.isfinite(both.overlap.sel(model="one", other_model="two", pooling="tokens", k=8)).any()


def test_retrieval_of_samples_is_that_of_loops(roots):
    results = hg.open_results(roots["with"]).load().squeeze(["site", "label"]).sel(pooling="mean")
    of_base, of_queries = (
        np.array(token_runs.kinds(N)),
        np.array(["xyz"[row % 3] for row in range(len(QUERIES))]),
    )
    for model in ("one", "two"):
        stored = hg.open_activations(roots["with"], model)["resid/mean"].activations.values
        for layer, values in enumerate(stored):
            order = np.stack(
                [run_oracle.neighbors(np.vstack([point, values[:N]]), 8)[1][0] - 1 for point in values[N:]]
            )
            for k in (1, 8):
                matches = of_base[order[:, :k]] == of_queries[:, None]
                here = results.sel(model=model, layer=layer, k=k)
                assert here.retrieval_accuracy == pytest.approx(matches.any(axis=1).mean(), abs=1e-14)
                assert here.retrieval_overlap == pytest.approx(matches.mean(), abs=1e-14)


def test_split_searches_give_the_same_results_and_certificates_that_add_up(roots):
    run = Run(roots["split"])
    assert len(run.units("merge")) > 0
    whole, split = (hg.open_results(roots[name]).load() for name in ("with", "split"))
    kernel = {"n_certified_rows", "n_recomputed_rows", "largest_relative_error"}
    xr.testing.assert_identical(split.drop_vars(kernel), whole.drop_vars(kernel))
    assert (split.n_certified_rows + split.n_recomputed_rows == whole.n_proven_rows).all()
    for model in ("one", "two"):
        for group in ("resid/mean", "resid/tokens"):
            lists = [
                hg.open_neighbors(roots[name], model)[group].dataset.load() for name in ("with", "split")
            ]
            xr.testing.assert_identical(*lists)
