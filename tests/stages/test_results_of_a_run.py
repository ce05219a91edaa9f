"""From arrays to ``results.zarr``, against definitions written out a second time."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import arrays_run
import numpy as np
import pytest
import run_oracle
import xarray as xr

from hpcgeom.api.running import run_manifest

KS = (1, 5, 32)
DIMS = {
    "intrinsic_dimension": "model site pooling layer estimator",
    "intrinsic_dimension_error": "model site pooling layer estimator",
    "n_points": "model site pooling layer estimator",
    "status": "model site pooling layer estimator",
    "n_zero_distances": "model site pooling layer",
    "n_distinct_points": "model site pooling layer",
    "n_all_points": "model site pooling layer",
    "n_duplicate_groups": "model site pooling layer",
    "n_proven_rows": "model site pooling layer",
    "n_certified_rows": "model site pooling layer",
    "n_recomputed_rows": "model site pooling layer",
    "largest_relative_error": "model site pooling layer",
    "gride": "model site pooling layer n2",
    "gride_error": "model site pooling layer n2",
    "gride_resampling_error": "model site pooling layer n2",
    "gride_distance": "model site pooling layer n2",
    "gride_status": "model site pooling layer n2",
    "plateau_dimension": "model site pooling layer",
    "plateau_dimension_error": "model site pooling layer",
    "plateau_n2_min": "model site pooling layer",
    "plateau_n2_max": "model site pooling layer",
    "plateau_status": "model site pooling layer",
    "twonn_by_mu_fraction": "model site pooling layer mu_fraction",
    "twonn_by_mu_fraction_error": "model site pooling layer mu_fraction",
    "decimated_dimension": "model site pooling layer data_fraction",
    "decimated_dimension_error": "model site pooling layer data_fraction",
    "overlap": "site pooling model layer other_model other_layer k",
    "overlap_error": "site pooling model layer other_model other_layer k",
    "overlap_chance": "model pooling k",
    "consecutive_overlap": "model site pooling layer k",
    "consecutive_overlap_error": "model site pooling layer k",
    "same_depth_overlap": "site pooling model layer other_model k",
    "same_depth_overlap_error": "site pooling model layer other_model k",
    "same_depth_layer": "site pooling model layer other_model",
    "label_overlap": "model site pooling layer label k",
    "label_overlap_error": "model site pooling layer label k",
    "label_overlap_balanced": "model site pooling layer label k",
    "label_overlap_balanced_error": "model site pooling layer label k",
    "top_1_accuracy": "model site pooling layer label",
    "top_1_accuracy_error": "model site pooling layer label",
    "n_unmatched_points": "model site pooling layer label",
    "minimum_layer": "model site pooling estimator",
    "label_overlap_at_minimum": "model site pooling estimator label k",
    "label_overlap_at_last": "model site pooling label k",
    "label_overlap_chance": "label",
}
COORDINATES = {
    "model": ["wide", "deep"],
    "site": ["points"],
    "pooling": ["none"],
    "layer": [0, 1, 2, 3],
    "k": [1, 5, 32],
    "estimator": ["twonn", "twonn_mle", "twonn_mle_censored"],
    "n2": [2, 4, 8, 16],
    "mu_fraction": [0.5, 0.6, 0.7, 0.8, 0.9],
    "data_fraction": [1.0, 0.5, 0.25, 0.125],
    "label": ["parity", "third"],
    "other_model": ["wide", "deep"],
    "other_layer": [0, 1, 2, 3],
    "family": ["arrays", "arrays"],
    "n_layers": [2, 3],
    "width": [7, 4],
    "n_parameters": [0, 0],
    "revision": ["", ""],
    "step": [-1, -1],
}


@pytest.fixture(scope="module")
def results(finished):
    with xr.open_zarr(finished.root / "results.zarr", chunks=None) as found:
        return found.load().squeeze(["site", "pooling"])


@pytest.fixture(scope="module")
def lists():
    """(distances, indices) of every layer by brute force, and the same over distinct points."""
    found = {}
    for model, layers in arrays_run.clouds().items():
        for layer, points in layers.items():
            distinct = np.unique(run_oracle.first_of_equal(points))
            found[model, layer] = (
                points,
                run_oracle.neighbors(points, max(KS)),
                points[distinct],
                run_oracle.neighbors(points[distinct], max(KS)) if len(distinct) > 1 else None,
            )
    return found


def status_named(results, name):
    return results.status.attrs["flag_meanings"].split().index(name)


def test_results_have_the_dimensions_and_coordinates_of_the_design(finished):
    with xr.open_zarr(finished.root / "results.zarr", chunks=None) as found:
        assert {name: " ".join(variable.dims) for name, variable in found.data_vars.items()} == DIMS
        assert set(found.coords) == {*COORDINATES, "relative_depth"}
        for name, values in COORDINATES.items():
            assert found[name].values.tolist() == values, name
        np.testing.assert_array_equal(
            found.relative_depth, [[0, 0.5, 1, np.nan], [0, 1 / 3, 2 / 3, 1]], strict=False
        )


def test_every_number_says_what_it_is_and_where_it_comes_from(finished):
    with xr.open_zarr(finished.root / "results.zarr", chunks=None) as found:
        for name, variable in found.data_vars.items():
            assert variable.attrs["long_name"], name
            assert variable.attrs["units"], name
        assert "Facco" in found.intrinsic_dimension.attrs["source"]
        assert "Denti" in found.gride.attrs["source"]
        assert "Valeriani" in found.overlap.attrs["source"]
        for name in ("status", "gride_status"):
            assert found[name].dtype == np.int8
            flags = found[name].attrs
            assert len(flags["flag_values"]) == len(flags["flag_meanings"].split())
            assert flags["flag_meanings"].startswith("ok absent constant duplicates too_few_points")
        assert found.attrs["n_samples"] == arrays_run.N
        assert found.attrs["n_neighbors"] == 32
        assert found.attrs["metric"] == "euclidean"
        assert re.fullmatch("[0-9a-f]{64}", found.attrs["sample_digest"])


def test_dimensions_of_every_layer_are_those_of_the_formulas(results, lists):
    for (model, layer), (_, _, points, distinct) in lists.items():
        if distinct is None:
            continue
        distances, indices = distinct
        here = results.sel(model=model, layer=layer)
        expected = {
            "twonn": run_oracle.twonn(distances, 0.9),
            "twonn_mle": run_oracle.twonn_mle(distances),
            "twonn_mle_censored": run_oracle.twonn_mle_censored(distances, 0.9),
        }
        for name, value in expected.items():
            assert here.intrinsic_dimension.sel(estimator=name) == pytest.approx(value, rel=1e-9), (
                layer,
                name,
            )
        assert here.intrinsic_dimension_error.sel(estimator="twonn_mle") == pytest.approx(
            run_oracle.twonn_mle_error(distances, indices), rel=1e-6
        )
        assert (here.n_points == len(points)).all()
        assert (here.status == status_named(results, "ok")).all()
        for fraction in here.mu_fraction.values:
            value = run_oracle.twonn(distances, fraction)
            assert here.twonn_by_mu_fraction.sel(mu_fraction=fraction) == pytest.approx(value, rel=1e-9)


def test_gride_solves_the_equation_of_its_likelihood_at_every_scale(results, lists):
    for (model, layer), (*_, distinct) in lists.items():
        if distinct is None:
            continue
        here = results.sel(model=model, layer=layer)
        for n2 in here.n2.values.tolist():
            d, error, scale = run_oracle.gride(distinct[0], n2)
            assert here.gride.sel(n2=n2) == pytest.approx(d, rel=1e-7)
            assert here.gride_error.sel(n2=n2) == pytest.approx(error, rel=1e-6)
            assert here.gride_distance.sel(n2=n2) == pytest.approx(scale, rel=1e-9)


def test_decimation_is_the_mean_over_disjoint_subsets_searched_by_brute_force(results, lists):
    for (model, layer), (_, _, points, distinct) in lists.items():
        if distinct is None:
            continue
        here = results.sel(model=model, layer=layer)
        for fraction in here.data_fraction.values:
            value, error = run_oracle.decimated(points, fraction, 0, 0.9)
            assert here.decimated_dimension.sel(data_fraction=fraction) == pytest.approx(value, rel=1e-9)
            if fraction < 1.0:
                found = here.decimated_dimension_error.sel(data_fraction=fraction)
                assert found == pytest.approx(error, rel=1e-6)


def test_overlaps_of_all_layers_of_all_models_are_those_of_sets(results, lists):
    measured = {key: value[1][1] for key, value in lists.items() if value[3] is not None}
    for (model, layer), ours in measured.items():
        for (other_model, other_layer), theirs in measured.items():
            here = results.sel(model=model, layer=layer, other_model=other_model, other_layer=other_layer)
            for k in KS:
                value, error = run_oracle.overlap(ours, theirs, k)
                assert here.overlap.sel(k=k) == pytest.approx(value, abs=1e-12)
                assert here.overlap_error.sel(k=k) == pytest.approx(error, abs=1e-12)


def test_consecutive_overlap_is_with_the_next_layer_and_the_last_has_none(results, lists):
    value, _ = run_oracle.overlap(lists["wide", 0][1][1], lists["wide", 1][1][1], 5)
    wide = results.consecutive_overlap.sel(model="wide", k=5)
    assert wide.sel(layer=0) == pytest.approx(value, abs=1e-12)
    assert np.isnan(wide.sel(layer=[2, 3])).all()
    deep = results.consecutive_overlap.sel(model="deep", k=5)
    assert np.isfinite(deep.sel(layer=2))
    assert np.isnan(deep.sel(layer=3))


def test_label_overlaps_are_those_of_loops(results, lists):
    for label, values in arrays_run.labels().items():
        assert results.label_overlap_chance.sel(label=label) == pytest.approx(run_oracle.chance(values))
        for (model, layer), (_, (_, indices), _, distinct) in lists.items():
            if distinct is None:
                continue
            here = results.sel(model=model, layer=layer, label=label)
            for k in KS:
                plain, balanced = run_oracle.label_overlap(indices, values, k)
                assert here.label_overlap.sel(k=k) == pytest.approx(plain, abs=1e-12)
                assert here.label_overlap_balanced.sel(k=k) == pytest.approx(balanced, abs=1e-12)


def test_layers_that_a_model_does_not_have_are_absent_and_not_numbers(results):
    absent = status_named(results, "absent")
    for model, layer in (("wide", 3), ("deep", 0)):
        here = results.sel(model=model, layer=layer)
        assert (here.status == absent).all()
        assert (here.gride_status == absent).all()
        assert (here.n_points == 0).all()
        for name in ("intrinsic_dimension", "gride", "decimated_dimension", "label_overlap", "overlap"):
            assert np.isnan(here[name]).all(), name


def test_a_constant_layer_says_so_and_overlaps_with_nothing(results):
    here = results.sel(model="deep", layer=1)
    assert (here.status == status_named(results, "constant")).all()
    assert (here.gride_status == status_named(results, "constant")).all()
    assert here.n_distinct_points == 1
    assert here.n_zero_distances == arrays_run.N
    for name in ("intrinsic_dimension", "gride", "decimated_dimension", "label_overlap", "overlap"):
        assert np.isnan(here[name]).all(), name
    assert np.isnan(results.overlap.sel(other_model="deep", other_layer=1)).all()


def test_equal_points_are_counted_and_left_out_of_the_dimension_alone(results):
    here = results.sel(model="wide", layer=2)
    assert here.n_zero_distances == 6
    assert here.n_distinct_points == arrays_run.N - 4
    assert here.n_all_points == arrays_run.N
    assert here.n_duplicate_groups == 2
    assert here.overlap.sel(other_model="wide", other_layer=2).values.tolist() == [1.0, 1.0, 1.0]


def test_every_distinct_point_was_proven_to_have_its_neighbors(results):
    kept = results.n_all_points > 0
    assert (results.n_proven_rows == results.n_distinct_points).all()
    assert (results.n_certified_rows + results.n_recomputed_rows == results.n_proven_rows).all()
    errors = results.largest_relative_error
    assert ((errors >= 0) & (errors < 1e-3)).where(kept, other=True).all()
    assert np.isnan(errors.where(~kept)).all()
    assert errors.max() > 0


def test_stored_lists_are_those_of_brute_force(finished, lists):
    for model, layers in arrays_run.LAYERS.items():
        path = finished.root / "neighbors" / f"{model}.zarr"
        tree = xr.open_datatree(path, engine="zarr", chunks=None)
        group = tree["points/none"].load()
        assert group["layer"].values.tolist() == list(layers)
        assert group["rank"].values.tolist() == list(range(1, 33))
        assert group["sample"].values.tolist() == arrays_run.ids()
        for layer in layers:
            points, (distances, indices), _, distinct = lists[model, layer]
            here = group.sel(layer=layer)
            np.testing.assert_array_equal(here["neighbor_index"], indices)
            np.testing.assert_allclose(here["neighbor_distance"], distances, rtol=1e-13)
            first = run_oracle.first_of_equal(points)
            np.testing.assert_array_equal(here["duplicate_of"], first)
            if distinct is not None and (first != np.arange(arrays_run.N)).any():
                rows = np.unique(first)
                np.testing.assert_array_equal(here["distinct_index"][rows], rows[distinct[1]])
                np.testing.assert_allclose(here["distinct_distance"][rows], distinct[0], rtol=1e-13)


def test_stored_activations_are_the_arrays_bit_by_bit(finished):
    for model, layers in arrays_run.clouds().items():
        path = finished.root / "activations" / f"{model}.zarr"
        group = xr.open_datatree(path, engine="zarr", chunks=None)["points/none"].load()
        assert group["activations"].dims == ("layer", "sample", "feature")
        assert group["sample"].values.tolist() == arrays_run.ids()
        for layer, points in layers.items():
            np.testing.assert_array_equal(group["activations"].sel(layer=layer), points, strict=False)


def test_the_sums_that_the_search_centers_with_are_those_of_the_stored_rows(finished):
    for model, layers in arrays_run.clouds().items():
        for start, stop in ((0, 256), (256, 300)):
            name = f"records/extract/sums/{model}-rows-{start:08d}-{stop:08d}.npz"
            with np.load(finished.root / name) as stored:
                expected = [points[start:stop].astype(np.float64).sum(axis=0) for points in layers.values()]
                np.testing.assert_allclose(stored["points|none"], expected, rtol=1e-14)


PLAIN = """
    import sys, warnings
    warnings.simplefilter("error")
    sys.modules["hpcgeom"] = None
    import xarray as xr
    root = sys.argv[1]
    results = xr.open_zarr(root + "/results.zarr").load()
    assert results.intrinsic_dimension.sel(model="wide", layer=0, estimator="twonn").item() > 1
    xr.open_dataset(root + "/results.zarr", engine="zarr").load()
    for model in ("wide", "deep"):
        points = xr.open_datatree(f"{root}/activations/{model}.zarr", engine="zarr").load()
        assert points["points/none/activations"].sel(sample="s7").sizes["layer"] == 3
        lists = xr.open_datatree(f"{root}/neighbors/{model}.zarr", engine="zarr").load()
        assert lists["points/none/neighbor_index"].sel(rank=1).shape == (3, 300)
        xr.open_zarr(f"{root}/neighbors/{model}.zarr", group="points/none", consolidated=False).load()
    print("opened")
"""


def test_plain_xarray_opens_every_store_without_a_warning_and_without_hpcgeom(finished):
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(PLAIN), str(finished.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("opened\n", "", 0)


def test_without_labels_or_a_second_model_only_what_was_asked_for_is_in_the_results(tmp_path):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(
        tmp_path,
        dataset="{kind: arrays}",
        models="[{name: one, family: arrays, source: 'deep{layer}.npy'}]",
        geometry="{estimators: [gride], gride_range_max: 4, overlap_k: [3]}",
    )
    root = run_manifest(manifest, tmp_path / "run", workers=1)
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        assert not {"label", "estimator"} & set(found.dims)
        assert not {"intrinsic_dimension", "status", "label_overlap"} & set(found.data_vars)
        assert found.sizes["n2"] == 2
        assert found.overlap.sel(layer=3, other_layer=3).values.ravel().tolist() == [1.0]


def test_models_are_not_compared_where_the_manifest_says_so(tmp_path):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(
        tmp_path, geometry="{estimators: [twonn], overlap_k: [5], cross_model: false, labels: []}"
    )
    root = run_manifest(manifest, tmp_path / "run", workers=1)
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        overlap = found.overlap.squeeze(["site", "pooling", "k"])
        assert np.isnan(overlap.sel(model="wide", other_model="deep")).all()
        assert overlap.sel(model="wide", other_model="wide", layer=0, other_layer=0) == 1.0
    chunks = [path for path in (root / "results.zarr" / "overlap" / "c").rglob("*") if path.is_file()]
    assert len(chunks) == 4  # one a pair of models, also where there is nothing in it
