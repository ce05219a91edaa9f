"""Every token a point: against transformers token by token, and definitions written out a second time."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import run_oracle
import token_runs
from arrays_run import Heard, copy_run, run_again
from token_runs import N, hidden_states, points, write_run

import hpcgeom as hg
from hpcgeom.api.job import run_task
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import ProblemsError
from hpcgeom.geometry import cka_matrix
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.costs import costs_of
from hpcgeom.plan.points import n_points
from hpcgeom.plan.units import STAGES, representations
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

WIDTH = {"one": 16, "two": 16, "letters": 12}
LAYERS = {"one": 3, "two": 3, "letters": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "one": token_runs.save_bert(root / "one", 1),
        "two": token_runs.save_bert(root / "two", 2),
        "letters": token_runs.save_gpt2(root / "letters"),
    }


@pytest.fixture(scope="module")
def manifest(folders, tmp_path_factory) -> Path:
    models = ", ".join(
        f"{{name: {name}, family: {'gpt2' if name == 'letters' else 'bert'}, source: '{folder}'}}"
        for name, folder in folders.items()
    )
    return write_run(tmp_path_factory.mktemp("run"), f"[{models}]")


@pytest.fixture(scope="module")
def root(manifest) -> Path:
    return run_manifest(manifest, manifest.parent / "run", workers=1)


@pytest.fixture(scope="module")
def results(root):
    return hg.open_results(root).load().sel(site="resid")


@pytest.fixture(scope="module")
def lists(root):
    """(points, distances, indices) of every layer by brute force over the stored tokens."""
    found = {}
    for model in ("one", "two"):
        for layer, values in enumerate(points(root, model).activations.values):
            found[model, layer] = (values, *run_oracle.neighbors(values, 8))
    return found


@pytest.mark.parametrize("model", ["one", "letters"])
def test_points_are_the_hidden_states_of_every_text_alone_token_by_token(root, folders, model):
    stored = points(root, model)
    samples, positions = stored["sample"].values.tolist(), stored["position"].values.tolist()
    start, n_special = 0, 0 if model == "letters" else 1
    for row, text in enumerate(token_runs.texts()):
        n = min(len(text), 16) if model == "letters" else len(text.split())
        assert samples[start : start + n] == [f"t{row}"] * n
        assert positions[start : start + n] == list(range(n_special, n_special + n))
        if row % 23 == 0 or row > N - 3:
            expected = hidden_states(folders[model], text)[:, n_special : n_special + n]
            found = stored.activations.values[:, start : start + n]
            last = -1 if model == "letters" else None  # transformers puts the final norm into the last
            np.testing.assert_allclose(found[:last], expected[:last], rtol=1e-4, atol=1e-5)
        start += n
    assert stored.activations.shape == (LAYERS[model], start, WIDTH[model])
    assert np.isfinite(stored.activations).all()


def test_the_mean_over_the_tokens_of_a_sample_is_the_pooling_mean(root):
    for model in ("one", "letters"):
        stored = points(root, model)
        mean = hg.open_activations(root, model)["resid/mean"]["activations"]
        means = stored.activations.astype(np.float64).groupby("sample").mean()
        expected = means.sel(sample=mean["sample"]).transpose(*mean.dims)
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-5)


def test_alignment_is_over_all_tokens_of_models_that_have_the_same(root, results):
    keys = [(model, layer) for model in ("one", "two") for layer in range(3)]
    values = [points(root, model).activations.values[layer] for model, layer in keys]
    expected = cka_matrix(lambda layer, a, b: values[layer][a:b], 6, len(values[0]))
    here = results.sel(pooling="tokens")
    for a, ours in enumerate(keys):
        for b, theirs in enumerate(keys):
            found = here.sel(model=ours[0], layer=ours[1], other_model=theirs[0], other_layer=theirs[1])
            assert found.cka == pytest.approx(expected.value[a, b], rel=1e-9)
            assert found.cka_debiased == pytest.approx(expected.debiased[a, b], rel=1e-8, abs=1e-11)
    assert np.isnan(here.cka.sel(model="one", other_model="letters")).all()
    assert np.isfinite(here.cka.sel(model="letters", other_model="letters")).any()


def test_neighbors_are_those_of_brute_force_over_all_tokens(root, lists):
    for model in ("one", "two"):
        group = hg.open_neighbors(root, model)["resid/tokens"].dataset.load()
        stored = points(root, model)
        assert group["neighbor_index"].dims == ("layer", "point", "rank")
        for name in ("sample", "position"):
            assert group[name].dims == ("point",)
            np.testing.assert_array_equal(group[name], stored[name])
        for layer in range(3):
            values, distances, indices = lists[model, layer]
            np.testing.assert_array_equal(group["neighbor_index"].sel(layer=layer), indices)
            np.testing.assert_allclose(group["neighbor_distance"].sel(layer=layer), distances, rtol=1e-12)
            first = run_oracle.first_of_equal(values)
            np.testing.assert_array_equal(group["duplicate_of"].sel(layer=layer), first)


def test_dimensions_are_those_of_the_distinct_tokens(results, lists):
    for (model, layer), (values, _, _) in lists.items():
        distinct = values[np.unique(run_oracle.first_of_equal(values))]
        here = results.sel(pooling="tokens", model=model, layer=layer)
        expected = hg.twonn_mle(run_oracle.neighbors(distinct, 2)[0])
        assert here.intrinsic_dimension.item() == pytest.approx(expected.value, rel=1e-9)
        assert here.n_points.item() == here.n_distinct_points.item() == len(distinct)
        assert here.n_all_points.item() == len(values) > N
        half = run_oracle.decimated(distinct, 0.5, 0, 0.9)[0]
        assert here.decimated_dimension.sel(data_fraction=0.5).item() == pytest.approx(half, rel=1e-9)
    assert len(lists["one", 0][0]) > results.n_distinct_points.sel(pooling="tokens", model="one", layer=0)


def test_the_tokens_of_every_sample_span_the_volume_of_their_gram_matrix(root, results):
    for model in ("one", "letters"):
        stored = points(root, model)
        here = results.sel(model=model, pooling="tokens")
        for layer in range(LAYERS[model]):
            for sample in ("t0", "t7", f"t{N - 1}"):
                tokens = stored.activations.values[layer][stored["sample"].values == sample].astype(
                    np.float64
                )
                eigenvalues = np.linalg.eigvalsh(_gram(tokens))[::-1]
                at = here.sel(layer=layer, sample=sample)
                rank = int(at.cloud_rank)
                assert rank == np.linalg.matrix_rank(tokens - tokens.mean(axis=0), tol=1e-4)
                assert at.cloud_log_volume == pytest.approx(0.5 * np.log(eigenvalues[:rank]).sum(), rel=1e-6)
                kept = min(4, len(tokens) - 1)
                found = at.cloud_singular_value.values
                np.testing.assert_allclose(found[:kept] ** 2, eigenvalues[:kept], rtol=1e-5, atol=1e-9)
                assert np.isnan(found[kept:]).all()
    assert np.isnan(results.cloud_log_volume.sel(pooling="mean")).all()


def _gram(tokens):
    centered = tokens - tokens.mean(axis=0)
    return centered @ centered.T


def test_tokens_have_quantiles_of_their_own_dimension_and_samples_one_each(results):
    assert np.isnan(results.local_dimension.sel(pooling="tokens")).all()
    assert np.isfinite(results.local_dimension_quantile.sel(pooling="tokens", model="one", layer=1)).all()
    assert np.isfinite(results.local_dimension.sel(pooling="mean", model="one", layer=1)).any()


def test_a_token_has_the_label_of_its_sample(root, results, lists):
    kind_of = dict(zip(token_runs.ids(), token_runs.kinds(), strict=True))
    labels = [kind_of[sample] for sample in points(root, "one")["sample"].values]
    for layer in range(3):
        here = results.sel(pooling="tokens", model="one", layer=layer, label="kind")
        for k in (1, 8):
            plain, balanced = run_oracle.label_overlap(lists["one", layer][2], labels, k)
            assert here.label_overlap.sel(k=k).item() == pytest.approx(plain, abs=1e-12)
            assert here.label_overlap_balanced.sel(k=k).item() == pytest.approx(balanced, abs=1e-12)
    chance = results.label_overlap_chance_of_tokens.sel(model="one", label="kind").item()
    assert chance == pytest.approx(run_oracle.chance(labels))
    samples = results.label_overlap_chance.sel(label="kind").item()
    assert samples == pytest.approx(run_oracle.chance(token_runs.kinds()))


def test_layers_and_models_that_read_the_same_tokens_are_compared(results, lists):
    overlap = results.overlap.sel(pooling="tokens")
    for (model, layer), (_, _, ours) in lists.items():
        for (other_model, other_layer), (_, _, theirs) in lists.items():
            here = overlap.sel(model=model, layer=layer, other_model=other_model, other_layer=other_layer)
            for k in (1, 8):
                value, _ = run_oracle.overlap(ours, theirs, k)
                assert here.sel(k=k).item() == pytest.approx(value, abs=1e-12)


def test_models_that_read_different_tokens_have_no_overlap_and_the_results_say_why(results):
    overlap = results.overlap.sel(k=8, layer=slice(0, 1), other_layer=slice(0, 1))
    tokens, mean = overlap.sel(pooling="tokens"), overlap.sel(pooling="mean")
    for name in ("one", "two"):
        assert np.isnan(tokens.sel(model=name, other_model="letters")).all()
        assert np.isnan(tokens.sel(model="letters", other_model=name)).all()
        assert np.isfinite(mean.sel(model=name, other_model="letters")).all()
    assert np.isfinite(tokens.sel(model="letters", other_model="letters")).all()
    expected = "models that cut the samples into different tokens; resid/tokens: one, two | letters"
    assert results.attrs["not_compared"] == expected


def test_tokens_of_samples_in_windows_stand_one_after_the_other(folders, tmp_path):
    dataset = "{kind: text, path: texts.jsonl, max_length: 5, too_long: window}"
    model = f"[{{name: one, family: bert, source: '{folders['one']}'}}]"
    manifest = write_run(tmp_path, model, dataset=dataset)
    stored = points(run_manifest(manifest, tmp_path / "run", workers=1), "one")
    assert (stored["position"].values.max(), stored.sizes["layer"]) == (6, 3)
    start = 0
    for row, text in enumerate(token_runs.texts()):
        words = text.split()
        here = slice(start, start + len(words))
        start += len(words)
        assert stored["sample"].values[here].tolist() == [f"t{row}"] * len(words)
        assert stored["position"].values[here].tolist() == list(range(1, len(words) + 1))
        if row % 31 == 0:
            windows = [" ".join(words[first : first + 3]) for first in range(0, len(words), 3)]
            expected = [hidden_states(folders["one"], window)[:, 1:-1] for window in windows]
            found = stored.activations.values[:, here]
            np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)
    assert start == stored.sizes["point"]


def test_nothing_is_done_twice_and_all_can_be_taken_over(manifest, root, tmp_path):
    assert run_again(manifest, root) == []
    assert run_again(manifest, tmp_path / "reused", reuse=root) == []
    assert differences(root, tmp_path / "reused") == []
    assert verify(tmp_path / "reused").is_sound


def test_the_order_of_units_changes_no_byte(manifest, root, tmp_path):
    other = prepare(load_manifest(manifest), tmp_path / "other")
    for stage in STAGES:
        run_task(other.root, stage, [unit.index for unit in other.units(stage)][::-1])
    assert differences(root, other.root) == []


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(manifest, root, tmp_path):
    assert differences(root, run_manifest(manifest, tmp_path / "two", workers=2)) == []


def test_what_is_laid_out_and_extracted_costs_what_the_plan_says(root):
    run = Run(root)
    price = costs_of(run.plan)[0]
    folders = (root / "activations", root / "records" / "extract")
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert price.n_files == len([path for path in found if path.name != "done.json"]) + 1
    size = sum(path.stat().st_size for path in found)
    assert size <= price.size_bytes <= 1.3 * size  # ids are shorter here than the plan allows for
    facts = [run.records("search").load(unit).facts["rows"][1] for unit in run.units("search")]
    assert facts == [n_points(run.plan, model, item) for model, item, _, _ in representations(run.plan)]


def test_a_damaged_part_is_named_and_its_unit_alone_is_done_again(root, tmp_path):
    copy = copy_run(root, tmp_path / "copy")
    name = "activations/one.zarr/resid/tokens/rows-00000256-00000270/activations/c/2/0/0"
    (copy / name).write_bytes((copy / name).read_bytes()[:-4])
    verdict = verify(copy)
    ((where, (problem,)),) = verdict.damaged.items()
    assert "one/rows-00000256-00000270" in where
    assert problem.startswith(name)
    heard = Heard()
    resume(copy, workers=1, progress=heard)
    assert heard.units == [("extract", "one/rows-00000256-00000270")]
    assert differences(root, copy) == []


def test_the_tokens_of_a_single_sample_are_points_enough(folders, tmp_path):
    model = f"[{{name: one, family: bert, source: '{folders['one']}'}}]"
    changes = {"representations": "{pooling: [tokens]}", "geometry": "{estimators: [twonn], overlap_k: [2]}"}
    (text,) = token_runs.texts(1)
    assert len(text.split()) == 6
    manifest = write_run(tmp_path, model, n=1, neighbors="{k: 5}", **changes)
    found = hg.open_results(run_manifest(manifest, tmp_path / "run", workers=1)).load().squeeze()
    assert found.n_all_points.values.tolist() == [6, 6, 6]
    assert found.label_overlap.values.tolist() == [1.0, 1.0, 1.0]
    assert found.label_overlap_chance_of_tokens.item() == 1.0
    assert np.isnan(found.label_overlap_chance)
    manifest = write_run(tmp_path, model, n=1, neighbors="{k: 6}", **changes)
    with pytest.raises(ProblemsError, match=r"k is 6, but model 'one' has 6 tokens and a token has 5 others"):
        prepare(load_manifest(manifest), tmp_path / "other")


PLAIN = """
    import sys, warnings
    warnings.simplefilter("error")
    sys.modules["hpcgeom"] = None
    import xarray as xr
    root = sys.argv[1]
    tree = xr.open_datatree(root + "/activations/one.zarr", engine="zarr").load()
    parts = tree["resid/tokens"].children
    assert sorted(parts) == ["rows-00000000-00000256", "rows-00000256-00000270"]
    options = dict(data_vars="minimal", coords="minimal", compat="override", join="override")
    points = xr.concat([parts[name].dataset for name in sorted(parts)], "point", **options)
    lists = xr.open_datatree(root + "/neighbors/one.zarr", engine="zarr").load()["resid/tokens"].dataset
    for found in (points, lists):
        assert set(found.coords) >= {"layer", "sample", "position"}, found.coords
        assert found["sample"].dims == found["position"].dims == ("point",)
    chosen = points["activations"].isel(point=lists["neighbor_index"].isel(layer=1, point=0).values)
    assert chosen.dims == ("layer", "point", "feature") and chosen.sizes["point"] == 8
    assert points["activations"].where(points["sample"] == "t3", drop=True).sizes["point"] > 1
    xr.open_zarr(root + "/activations/one.zarr", group="resid/tokens/rows-00000256-00000270").load()
    xr.open_zarr(root + "/results.zarr").load()
    print("opened")
"""


def test_plain_xarray_opens_parts_and_lists_without_a_warning_and_without_hpcgeom(root):
    command = [sys.executable, "-I", "-c", textwrap.dedent(PLAIN), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("opened\n", "", 0)
