"""Runs whose features are standardized: the numbers of points that were standardized before."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import xarray as xr
from arrays_run import LAYERS, run_again, write_clouds, write_manifest

from hpcgeom.store import neighbors
from hpcgeom.store.compare import differences

STANDARDIZE = "{k: 32, standardize: true}"


@pytest.fixture(scope="module")
def standardized(tmp_path_factory):
    """A run of points whose features differ in scale; the folder has its manifest too."""
    folder = tmp_path_factory.mktemp("standardized")
    write_clouds(folder)
    for model, layers in LAYERS.items():
        for layer in layers:
            path = folder / f"{model}{layer}.npy"
            points = np.load(path)
            np.save(path, points * np.float32(10.0) ** np.arange(points.shape[1], dtype=np.float32))
    run_again(write_manifest(folder, neighbors=STANDARDIZE), folder / "run")
    return folder


def test_results_are_those_of_points_that_numpy_has_standardized(standardized, tmp_path):
    write_clouds(tmp_path)
    for model, layers in LAYERS.items():
        for layer in layers:
            points = np.load(standardized / f"{model}{layer}.npy").astype(np.float64)
            spread = points.std(axis=0)
            np.save(
                tmp_path / f"{model}{layer}.npy",
                (points - points.mean(axis=0)) / np.where(spread, spread, 1.0),
            )
    run_again(write_manifest(tmp_path), tmp_path / "run")
    for model, layers in LAYERS.items():
        for position in range(len(layers)):
            ours, theirs = (
                neighbors.read_lists(
                    root / "run/neighbors" / f"{model}.zarr", "points/none", position, arrays_run.N
                )
                for root in (standardized, tmp_path)
            )
            np.testing.assert_array_equal(ours.indices, theirs.indices)
            np.testing.assert_allclose(ours.distances, theirs.distances, rtol=1e-12)
    with (
        xr.open_zarr(standardized / "run/results.zarr", chunks=None) as ours,
        xr.open_zarr(tmp_path / "run/results.zarr", chunks=None) as theirs,
    ):
        for name in ("intrinsic_dimension", "decimated_dimension", "gride", "overlap", "label_overlap"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9, err_msg=name)


def test_scales_matter_where_features_are_not_standardized(standardized):
    run_again(write_manifest(standardized, "plain"), standardized / "plain")
    assert differences(standardized / "run", standardized / "plain")


def test_a_split_search_standardizes_like_a_whole_one(standardized):
    manifest = write_manifest(
        standardized, "split", neighbors="{k: 32, standardize: true, unit_work: 150000}"
    )
    run_again(manifest, standardized / "split")
    assert differences(standardized / "run", standardized / "split") == []
