"""What a run measures between layers, held against definitions written out a second time."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import run_oracle
import xarray as xr

import hpcgeom as hg
from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError
from hpcgeom.geometry import cka_matrix, half_sample_set_errors, information_imbalance

K, SPLITS = 32, 3
GEOMETRY = (
    "{estimators: [twonn], data_fractions: [1.0], mu_fractions: [0.9], labels: [], overlap_k: all,"
    f" jaccard: true, cka: true, information_imbalance: true, error_splits: {SPLITS}, seed: 5}}"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("between")
    arrays_run.write_clouds(folder)
    return run_manifest(arrays_run.write_manifest(folder, geometry=GEOMETRY), folder / "run", workers=1)


@pytest.fixture(scope="module")
def results(root):
    with xr.open_zarr(root / "results.zarr", chunks=None) as found:
        return found.load().squeeze(["site", "pooling"])


@pytest.fixture(scope="module")
def lists():
    """Neighbors in every layer that is not constant, by brute force."""
    return {
        (model, layer): run_oracle.neighbors(points, K)[1]
        for model, layers in arrays_run.clouds().items()
        for layer, points in layers.items()
        if len(np.unique(points, axis=0)) > 1
    }


def pair(results, ours, theirs):
    return results.sel(model=ours[0], layer=ours[1], other_model=theirs[0], other_layer=theirs[1])


def test_overlaps_are_measured_at_every_k_of_the_lists(results, lists):
    assert results.k.values.tolist() == list(range(1, K + 1))
    for ours, theirs in [(("wide", 0), ("wide", 1)), (("wide", 0), ("deep", 3)), (("deep", 2), ("wide", 1))]:
        for k in range(1, K + 1):
            value, error = run_oracle.overlap(lists[ours], lists[theirs], k)
            here = pair(results, ours, theirs).sel(k=k)
            assert here.overlap == pytest.approx(value, abs=1e-12)
            assert here.overlap_error == pytest.approx(error, abs=1e-12)


def test_jaccard_indices_are_those_of_sets(results, lists):
    for ours, theirs in [(("wide", 0), ("wide", 1)), (("wide", 2), ("deep", 3)), (("deep", 2), ("deep", 2))]:
        for k in (1, 5, 9, 32):
            pairs = zip(lists[ours][:, :k].tolist(), lists[theirs][:, :k].tolist(), strict=True)
            shares = [len({*a} & {*b}) / len({*a} | {*b}) for a, b in pairs]
            here = pair(results, ours, theirs).sel(k=k)
            assert here.jaccard == pytest.approx(np.mean(shares), abs=1e-12)
            assert here.jaccard_error == pytest.approx(np.std(shares) / np.sqrt(len(shares)), abs=1e-9)
    assert np.isnan(results.jaccard.sel(model="deep", layer=1)).all()  # all points equal


def test_alignment_is_that_of_gram_matrices(results):
    clouds = arrays_run.clouds()
    center = np.eye(arrays_run.N) - 1.0 / arrays_run.N
    grams = {
        (model, layer): center @ points.astype(np.float64) @ points.astype(np.float64).T @ center
        for model, layers in clouds.items()
        for layer, points in layers.items()
    }
    for ours, K_a in grams.items():
        for theirs, K_b in grams.items():
            here = pair(results, ours, theirs)
            if ("deep", 1) in (ours, theirs):
                assert np.isnan([here.cka, here.cka_debiased]).all()
                continue
            expected = (K_a * K_b).sum() / np.sqrt((K_a**2).sum() * (K_b**2).sum())
            assert here.cka == pytest.approx(expected, rel=1e-10)
    assert pair(results, ("wide", 0), ("wide", 0)).cka == pytest.approx(1.0, abs=1e-14)
    assert abs(pair(results, ("wide", 0), ("deep", 3)).cka_debiased) < 0.05  # independent
    words = results.cka_status.attrs["flag_meanings"].split()
    for name in ("cka_status", "cka_debiased_status"):
        found = [[words[code] for code in row] for row in results[name].values]
        assert found == [["ok", "ok", "ok", "absent"], ["absent", "constant", "ok", "ok"]]


def test_debiased_alignment_is_that_of_the_function_on_the_stored_points(results):
    clouds = arrays_run.clouds()
    layers = [clouds["wide"][0], clouds["wide"][2], clouds["deep"][3]]
    expected = cka_matrix(lambda layer, start, stop: layers[layer][start:stop], 3, arrays_run.N)
    keys = [("wide", 0), ("wide", 2), ("deep", 3)]
    for a, ours in enumerate(keys):
        for b, theirs in enumerate(keys):
            found = pair(results, ours, theirs).cka_debiased
            assert found == pytest.approx(expected.debiased[a, b], rel=1e-9, abs=1e-12)


def test_information_imbalance_lies_between_its_bounds(results, lists):
    """The exact one ranks all points by brute force."""
    clouds = arrays_run.clouds()
    for ours, theirs in [(("wide", 0), ("wide", 1)), (("wide", 1), ("wide", 0)), (("wide", 0), ("deep", 3))]:
        here = pair(results, ours, theirs)
        exact = information_imbalance(clouds[ours[0]][ours[1]], clouds[theirs[0]][theirs[1]]).value
        assert here.information_imbalance_low <= exact * (1 + 1e-12)
        assert exact <= here.information_imbalance_high * (1 + 1e-12)
        nearest = lists[ours][:, 0]
        unknown = sum(a not in row for a, row in zip(nearest, lists[theirs], strict=True))
        assert here.n_unknown_ranks == unknown
    same = pair(results, ("deep", 2), ("deep", 2))
    for end in ("low", "high"):
        assert same[f"information_imbalance_{end}"] == pytest.approx(2 / arrays_run.N)
    assert np.isnan(results.information_imbalance_low.sel(other_model="deep", other_layer=1)).all()


def test_errors_by_halves_are_those_of_the_function_on_the_same_lists(results, lists):
    keys = list(lists)
    errors = half_sample_set_errors(
        np.stack([lists[key] for key in keys]), range(1, K + 1), n_splits=SPLITS, seed=5
    )
    for name, expected in zip(("overlap", "jaccard"), errors, strict=True):
        for a, ours in enumerate(keys):
            for b, theirs in enumerate(keys):
                found = pair(results, ours, theirs)[f"{name}_half_sample_error"]
                np.testing.assert_allclose(found, expected[:, a, b], rtol=1e-12, atol=1e-15)
        assert np.isfinite(expected[4]).all()
        assert np.isnan(expected[-1]).all()  # lists of 32 have no 32 neighbors in a half
    consecutive = results.consecutive_overlap_half_sample_error.sel(model="wide", layer=0)
    np.testing.assert_array_equal(
        consecutive, pair(results, ("wide", 0), ("wide", 1)).overlap_half_sample_error
    )


def test_independent_layers_have_what_chance_gives(results):
    levels = results.overlap_chance.values
    np.testing.assert_allclose(levels, np.tile(np.arange(1, K + 1) / (arrays_run.N - 1), (2, 1)), rtol=1e-14)
    here = pair(results, ("wide", 0), ("deep", 3))
    for name in ("overlap", "jaccard"):
        apart = abs(here[name].values - results[f"{name}_chance"].values[0])
        assert (apart < 5 * here[f"{name}_error"].values)[4:].all(), name


def test_layers_of_nearest_relative_depth_are_compared(results):
    """Depths are 0, 1/2, 1 of one model, and 1/3, 2/3, 1 of the layers that the other has."""
    assert results.same_depth_layer.sel(model="wide", other_model="deep").values.tolist() == [1, 1, 3, -1]
    assert results.same_depth_layer.sel(model="deep", other_model="wide").values.tolist() == [-1, 1, 1, 2]
    assert (results.same_depth_layer.sel(model="wide", other_model="wide") == -1).all()
    for end in ("", "_error", "_half_sample_error"):
        same = results[f"same_depth_overlap{end}"].sel(model="deep", other_model="wide")
        expected = results[f"overlap{end}"].sel(model="deep", other_model="wide")
        for layer, other_layer in ((2, 1), (3, 2)):
            np.testing.assert_array_equal(
                same.sel(layer=layer), expected.sel(layer=layer, other_layer=other_layer)
            )
        assert np.isnan(same.sel(layer=[0, 1])).all()  # absent, and constant


def test_measuring_the_points_gives_the_numbers_of_the_run(results):
    found = hg.measure(
        arrays_run.clouds(),
        estimators=["twonn"],
        mu_fractions=[0.9],
        data_fractions=[1.0],
        n_neighbors=K,
        overlap_k=range(1, K + 1),
        jaccard=True,
        error_splits=SPLITS,
        information_imbalance=True,
        cka=True,
        seed=5,
    ).squeeze(["site", "pooling"])
    between = {name for name in results.data_vars if "other_model" in results[name].dims}
    assert between == {name for name in found.data_vars if "other_model" in found[name].dims}
    for name in between | {"overlap_chance", "jaccard_chance", "cka_status", "cka_debiased_status"}:
        np.testing.assert_allclose(found[name], results[name], rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cka": True}, "cka: alignment is of points, found none: pass points, or leave it out"),
        ({"error_splits": -1}, "error_splits: expected 0 or more splits, found -1; 32 is usual"),
        ({"jaccard": True}, "jaccard: overlaps are of row numbers of neighbors, found none: pass indices"),
    ],
)
def test_what_arrays_do_not_hold_is_not_measured_between_layers(options, message):
    distances = np.sort(np.random.default_rng(0).random((20, 5)), axis=1)
    with pytest.raises(InputError, match=message):
        hg.measure(distances=distances, **options)


@pytest.mark.slow
def test_numbers_between_layers_do_not_depend_on_the_number_of_workers(root, tmp_path):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(tmp_path, geometry=GEOMETRY)
    again = run_manifest(manifest, tmp_path / "run", workers=2)
    with (
        xr.open_zarr(again / "results.zarr", chunks=None) as one,
        xr.open_zarr(root / "results.zarr", chunks=None) as other,
    ):
        xr.testing.assert_identical(one.load(), other.load())


def test_more_splits_repeat_none_of_those_that_were_done(root, tmp_path):
    arrays_run.write_clouds(tmp_path)
    more = arrays_run.write_manifest(
        tmp_path, geometry=GEOMETRY.replace("error_splits: 3", "error_splits: 4")
    )
    done = arrays_run.run_again(more, tmp_path / "run", reuse=root)
    assert done == [("geometry", "halves/points/none/split-0003"), ("collect", "results")]
