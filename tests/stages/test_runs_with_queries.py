"""Runs with queries: their lists are of the data set alone, and the data set is measured as without them."""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import arrays_run
import numpy as np
import pytest
import xarray as xr
from sklearn.neighbors import KNeighborsClassifier

from hpcgeom.api.running import run_manifest
from hpcgeom.errors import DamagedError
from hpcgeom.report.tables import as_json, profile_tables
from hpcgeom.stages.certificates import account, certificates
from hpcgeom.stages.run import Run

N, N_QUERIES, K = arrays_run.N, 40, 32
OF_THE_SEARCH = {"n_proven_rows", "n_certified_rows", "n_recomputed_rows", "largest_relative_error"}
ONLY_WITH_QUERIES = {
    "n_queries",
    "n_unknown_label",
    *(f"retrieval_{name}" for name in ("accuracy", "accuracy_error", "overlap", "overlap_error")),
}
FAMILY = "{name: %s, family: arrays, source: '%s{layer}.npy', query_source: 'query_%s{layer}.npy'}"


def queries() -> dict[str, dict[int, np.ndarray]]:
    """Points near those of the data set; the first one equals row 4, and so others in one layer."""
    rng = np.random.default_rng(21)
    found = {}
    for model, layers in arrays_run.clouds().items():
        found[model] = {}
        for layer, points in layers.items():
            chosen = points[rng.integers(0, N, N_QUERIES)]
            moved = chosen + 0.1 * rng.standard_normal(chosen.shape)
            moved[0] = points[4]
            found[model][layer] = moved.astype(np.float32)
    return found


def labels() -> list[str]:
    return ["nowhere" if row == 5 else "odd" if row % 3 else "even" for row in range(N_QUERIES)]


def write(folder: Path, **changes: str) -> Path:
    arrays_run.write_clouds(folder)
    for model, layers in queries().items():
        for layer, points in layers.items():
            np.save(folder / f"query_{model}{layer}.npy", points)
    lines = [f"query-{row}\t{label}" for row, label in enumerate(labels())]
    (folder / "query_parity.tsv").write_text("\n".join(["id\tlabel", *lines]) + "\n")
    sections = {
        "dataset": "{kind: arrays, ids: ids.txt, labels: {parity: {file: parity.tsv}},"
        " query: {labels: {parity: {file: query_parity.tsv}}}}",
        "models": f"[{', '.join(FAMILY % (name, name, name) for name in ('wide', 'deep'))}]",
        "geometry": arrays_run.MANIFEST["geometry"].replace("[1, 5, 32]", "[5, 32]"),
        **changes,
    }
    return arrays_run.write_manifest(folder, "queried", **sections)


@pytest.fixture(scope="module")
def queried(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("queried")
    return run_manifest(write(folder), folder / "run", workers=1)


def results_of(root: Path) -> xr.Dataset:
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        return found.load()


def brute_force(base: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares = np.square(points[:, None].astype(np.float64) - base[None]).sum(axis=2)
    order = np.argsort(squares, axis=1, kind="stable")[:, :K]
    return np.sqrt(np.take_along_axis(squares, order, axis=1)), order


def test_neighbors_of_queries_are_those_of_brute_force_over_the_data_set(queried):
    for model, layers in arrays_run.clouds().items():
        tree = xr.open_datatree(queried / "neighbors" / f"{model}.zarr", engine="zarr", chunks=None)
        lists = tree["points/none"].load()
        assert lists.coords["role"].values.tolist() == ["base"] * N + ["query"] * N_QUERIES
        of_queries = lists.dataset.where(lists.role == "query", drop=True)
        assert of_queries.sample.values.tolist() == [f"query-{row}" for row in range(N_QUERIES)]
        for layer, base in layers.items():
            distances, order = brute_force(base, queries()[model][layer])
            np.testing.assert_array_equal(of_queries.neighbor_index.sel(layer=layer), order)
            np.testing.assert_allclose(of_queries.neighbor_distance.sel(layer=layer), distances, rtol=1e-12)


def test_all_that_is_stored_of_the_data_set_is_what_it_is_without_queries(queried, finished):
    for model in arrays_run.LAYERS:
        for stage, names in (
            ("activations", ["activations"]),
            ("neighbors", ["neighbor_index", "neighbor_distance", "duplicate_of"]),
        ):
            with_some, without = (
                xr.open_datatree(root / stage / f"{model}.zarr", engine="zarr", chunks=None)["points/none"]
                for root in (queried, finished.root)
            )
            assert "role" not in without.coords
            for name in names:
                np.testing.assert_array_equal(with_some[name][:, :N], without[name], strict=True)


def test_all_numbers_of_the_data_set_are_those_without_queries_bit_by_bit(queried, finished):
    with_some, without = results_of(queried), results_of(finished.root).sel(label=["parity"])
    assert set(with_some) - set(without) == ONLY_WITH_QUERIES
    assert with_some.k.values.tolist() == [1, 5, 32]  # with queries the nearest neighbor is always asked for
    for name in set(without) - OF_THE_SEARCH:
        expected, found = without[name], with_some[name]
        assert expected.dims == found.dims, name
        np.testing.assert_array_equal(found.values, expected.values, strict=True, err_msg=name)
    for name in ("n_samples", "sample_digest"):
        assert (with_some.attrs[name] == without.attrs[name]) is (name == "n_samples")
    assert with_some.attrs["n_query_samples"] == N_QUERIES
    assert "without its queries" in with_some.attrs["queries"]


def test_numbers_between_layers_are_those_without_queries_bit_by_bit(tmp_path):
    geometry = (
        "{estimators: [twonn], data_fractions: [1.0], mu_fractions: [0.9], labels: [], overlap_k: [1, 5, 12],"
        " jaccard: true, cka: true, information_imbalance: true, error_splits: 2}"
    )
    queried = results_of(run_manifest(write(tmp_path / "q", geometry=geometry), tmp_path / "one", workers=1))
    arrays_run.write_clouds(tmp_path / "a")
    alone = arrays_run.write_manifest(tmp_path / "a", geometry=geometry)
    without = results_of(run_manifest(alone, tmp_path / "other", workers=1))
    between = {name for name in without if "other_model" in without[name].dims} | {"cka_status"}
    assert {"cka", "jaccard_half_sample_error", "information_imbalance_high"} < between
    for name in between:
        np.testing.assert_array_equal(queried[name].values, without[name].values, strict=True, err_msg=name)


def test_retrieval_is_that_of_loops_and_of_the_nearest_neighbor_classifier(queried):
    results = results_of(queried).squeeze(["site", "pooling", "label"])
    of_base, of_queries = np.array(arrays_run.labels()["parity"]), np.array(labels())
    for model, layers in arrays_run.clouds().items():
        for layer, base in layers.items():
            here = results.sel(model=model, layer=layer)
            assert (here.n_queries, here.n_unknown_label) == (N_QUERIES, 1)
            if here.n_distinct_points == 1:
                assert np.isnan(here.retrieval_accuracy).all()
                continue
            points = queries()[model][layer]
            _, order = brute_force(base, points)
            for k in (1, 5, 32):
                matches = of_base[order[:, :k]] == of_queries[:, None]
                share = matches.any(axis=1).mean()
                assert here.retrieval_accuracy.sel(k=k) == pytest.approx(share, abs=1e-14)
                assert here.retrieval_overlap.sel(k=k) == pytest.approx(matches.mean(), abs=1e-14)
                error = np.sqrt(share * (1 - share) / N_QUERIES)
                assert here.retrieval_accuracy_error.sel(k=k) == pytest.approx(error, abs=1e-14)
            if here.n_duplicate_groups == 0:
                classifier = KNeighborsClassifier(1, algorithm="brute").fit(base.astype(np.float64), of_base)
                score = classifier.score(points.astype(np.float64), of_queries)
                assert here.retrieval_accuracy.sel(k=1) == pytest.approx(score, abs=1e-14)


def test_the_certificate_counts_queries_that_equal_no_other_point(queried):
    results = results_of(queried).squeeze(["site", "pooling"])
    for model, layers in arrays_run.clouds().items():
        for layer, base in layers.items():
            points = np.concatenate([base, queries()[model][layer]])
            here = results.sel(model=model, layer=layer)
            assert here.n_proven_rows == len(np.unique(points, axis=0))
            assert here.n_certified_rows + here.n_recomputed_rows == here.n_proven_rows
            assert here.n_distinct_points == len(np.unique(base, axis=0))


def test_tables_and_json_hold_the_top_1_accuracy(queried):
    results = results_of(queried)
    accuracy = results.retrieval_accuracy.squeeze(["site", "pooling", "label"]).sel(model="wide", k=1)
    table = next(each for each in profile_tables(results) if each.title.startswith("wide"))
    (column,) = (each for each in table.columns if each.head == ("top-1", "parity"))
    assert column.cells == [f"{value:.3f}" for value in accuracy.values[:3]]
    found = as_json(results)["representations"][0]
    assert found["n_queries"] == N_QUERIES
    assert found["retrieval_accuracy"]["parity"]["1"]["value"] == accuracy.values[0]


def test_certificates_of_ranges_add_up(queried):
    parts = [
        {"certified": 3, "recomputed": 1, "largest_relative_error": 1e-7},
        {"certified": 4, "recomputed": 0, "largest_relative_error": 3e-7},
    ]
    found = {name: value.item() for name, value in account(parts).items()}
    assert found == {
        "n_certified_rows": 7,
        "n_recomputed_rows": 1,
        "n_proven_rows": 8,
        "largest_relative_error": 3e-7,
    }


def test_a_record_without_a_certificate_is_damaged(queried, tmp_path):
    root = arrays_run.copy_run(queried, tmp_path / "copy")
    path = root / "records" / "search" / "000000.json"
    record = json.loads(path.read_text())
    del record["facts"]["certificate"]
    path.write_text(json.dumps(record))
    run = Run(root)
    model = run.plan.models[0]
    with pytest.raises(
        DamagedError, match="the record of 'wide/points/none/layer-000' of stage 'search' hold"
    ):
        certificates(run, model, model.representations[0], 0)


@pytest.mark.slow
def test_results_with_queries_do_not_depend_on_the_number_of_workers(queried, tmp_path):
    again = run_manifest(write(tmp_path), tmp_path / "run", workers=2)
    xr.testing.assert_identical(results_of(again), results_of(queried))


def test_retrieval_needs_labels_and_nothing_else_does(tmp_path):
    manifest = write(tmp_path, geometry="{estimators: [twonn], overlap_k: [5], labels: []}")
    results = results_of(run_manifest(manifest, tmp_path / "run", workers=1))
    assert results.k.values.tolist() == [5]
    assert set(results) & ONLY_WITH_QUERIES == {"n_queries"}
