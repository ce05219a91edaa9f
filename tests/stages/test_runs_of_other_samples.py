"""Models of points that exist already, with rows of their own: matched by ids, refused, or intersected."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import xarray as xr

from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import load_manifest
from hpcgeom.stages.inputs import points_of
from hpcgeom.stages.prepare import prepare

N = arrays_run.N
GEOMETRY = "{estimators: [twonn], overlap_k: [5], data_fractions: [1.0], labels: [parity]}"
MODEL = "{name: %s, family: arrays, source: '%s{layer}.npy', ids: %s.txt}"


def write(folder, rows_of, samples="all", **changes):
    """The clouds with some rows of each model, in some order, and the ids of these."""
    arrays_run.write_clouds(folder)
    for model, rows in rows_of.items():
        for layer, points in arrays_run.clouds()[model].items():
            np.save(folder / f"{model}{layer}.npy", points[rows])
        ids = np.array(arrays_run.ids())[rows].tolist()
        (folder / f"{model}.txt").write_text("\n".join(ids) + "\n")
    return arrays_run.write_manifest(
        folder,
        "matched",
        **{
            "dataset": f"{{kind: arrays, samples: {samples}, labels: {{parity: {{file: parity.tsv}}}}}}",
            "models": f"[{', '.join(MODEL % (name, name, name) for name in rows_of)}]",
            "geometry": GEOMETRY,
            **changes,
        },
    )


def results_of(root):
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        return found.load()


def test_rows_in_another_order_are_matched_by_their_ids(tmp_path):
    shuffled = np.random.default_rng(3).permutation(N)
    matched = write(tmp_path / "a", {"wide": np.arange(N), "deep": shuffled})
    arrays_run.write_clouds(tmp_path / "b")
    plain = arrays_run.write_manifest(tmp_path / "b", geometry=GEOMETRY)
    one, other = (run_manifest(each, each.parent / "run", workers=1) for each in (matched, plain))
    for model in arrays_run.LAYERS:
        ours, theirs = (
            xr.open_datatree(root / "activations" / f"{model}.zarr", engine="zarr", chunks=None)[
                "points/none"
            ]
            for root in (one, other)
        )
        np.testing.assert_array_equal(ours.activations, theirs.activations)
    xr.testing.assert_equal(results_of(one).overlap, results_of(other).overlap)


def test_other_samples_are_refused_with_their_counts_and_intersected_where_asked_for(tmp_path):
    rows = {"wide": np.arange(N - 20), "deep": np.random.default_rng(4).permutation(N)[: N - 10]}
    manifest = write(tmp_path, rows)
    common = np.array([row for row in rows["wide"] if row in set(rows["deep"].tolist())])
    with pytest.raises(
        InputError, match=f"has 280 samples and model 'deep' has 290, of which {len(common)} are the same"
    ):
        run_manifest(manifest, tmp_path / "refused", workers=1)
    root = run_manifest(write(tmp_path, rows, "intersect"), tmp_path / "run", workers=1)
    found = results_of(root)
    assert found.attrs["n_samples"] == len(common)
    assert found.n_given_samples.values.tolist() == [280, 290]
    tree = xr.open_datatree(root / "activations" / "deep.zarr", engine="zarr", chunks=None)["points/none"]
    assert tree.sample.values.tolist() == [arrays_run.ids()[row] for row in common]
    folder = tmp_path / "alone"
    arrays_run.write_clouds(folder)
    for model, layers in arrays_run.clouds().items():
        for layer, points in layers.items():
            np.save(folder / f"{model}{layer}.npy", points[common])
    (folder / "ids.txt").write_text("\n".join(np.array(arrays_run.ids())[common].tolist()) + "\n")
    alone = results_of(
        run_manifest(arrays_run.write_manifest(folder, geometry=GEOMETRY), folder / "run", workers=1)
    )
    for name in ("overlap", "intrinsic_dimension", "label_overlap"):
        values = alone[name].sel(label=["parity"]) if "label" in alone[name].dims else alone[name]
        np.testing.assert_array_equal(found[name], values, strict=True)


def test_ids_that_have_changed_since_are_refused(tmp_path):
    manifest = load_manifest(write(tmp_path, {"wide": np.arange(N), "deep": np.arange(N)}))
    run = prepare(manifest, tmp_path / "run")
    (tmp_path / "deep.txt").write_text("\n".join(["new", *arrays_run.ids()[1:]]) + "\n")
    with pytest.raises(InputError, match="model 'deep' has no 's0', which it had when the run was prepared"):
        points_of(run, "deep", [1], 0, 256)


def test_intersection_without_ids_has_nothing_to_go_by(tmp_path):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(tmp_path, dataset="{kind: arrays, samples: intersect}")
    with pytest.raises(ProblemsError, match="expected all, because no model has ids, found intersect"):
        run_manifest(manifest, tmp_path / "run", workers=1)
