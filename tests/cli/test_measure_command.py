"""`hpcgeom measure` and `measure`: the numbers of a run, from arrays that exist already."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

import hpcgeom as hg
from hpcgeom.api.measuring import measure
from hpcgeom.errors import InputError
from hpcgeom.geometry import label_overlap_balanced, overlap_matrix, twonn_by_mu_fraction
from hpcgeom.types import Status

N, K = 240, 20
LAYERS = (1, 3, 5)


def lists(points, k, *, own):
    """Neighbors from the whole matrix of distances, with the points themselves in column 0 or without."""
    matrix = cdist(points, points)
    np.fill_diagonal(matrix, -1.0 if own else np.inf)
    indices = np.argsort(matrix, axis=1, kind="stable")[:, :k]
    return np.maximum(np.take_along_axis(matrix, indices, axis=1), 0.0), indices


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    return {
        name: {layer: rng.standard_normal((N, layer + wider)) for layer in LAYERS}
        for wider, name in enumerate(("igpt", "ibert"), 1)
    }


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 3, N)


@pytest.fixture
def lab(clouds, labels, tmp_path):
    """The layout of the lab: three distances and 21 row numbers, each beginning with the point itself."""
    for name, layers in clouds.items():
        for layer, points in layers.items():
            distances, indices = lists(points, K + 1, own=True)
            start = tmp_path / f"{name}{layer}_post_mlp"
            np.save(f"{start}_dist.npy", distances[:, :3])
            np.save(f"{start}_indices.npy", indices)
            np.save(f"{start}_mus.npy", distances[:, 2] / distances[:, 1])
            np.save(f"{start}_points.npy", points)
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


def of(kind, *names):
    return [
        word for name in names for word in (f"--{kind}", f"{name}={name}{{layer}}_post_mlp_{FILES[kind]}.npy")
    ]


FILES = {"points": "points", "distances": "dist", "indices": "indices", "mus": "mus"}


def test_the_lab_s_files_give_what_the_functions_give(hpcgeom, lab, clouds, labels):
    done = hpcgeom("measure", *of("distances", "igpt", "ibert"), *of("indices", "igpt", "ibert"),
                   "--layers", "1-5:2", "--labels", "class=labels.npy", "-k", "15,10", "--out", "measured",
                   "--mu-fractions", "0.5,1",
                   "--estimators", "twonn,twonn_mle,twonn_mle_trimmed")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "note: points were in their own lists and were dropped\n" in done.out
    assert "note: distances to 2 neighbors and row numbers of 20: dimensions are from the first" in done.out
    assert "cannot be known from lists alone; say so with squared (--squared) if they are" in done.out
    assert "too large by 1.344 at mu_fraction 0.9\n" in done.out
    assert "results: measured/results.zarr\ntables:  hpcgeom show measured\n" in done.out
    assert hpcgeom("show", "measured").out == done.out[: done.out.index("note: ")]
    drawn = {path.name for path in (lab / "measured" / "report" / "figures").iterdir()}
    assert {"intrinsic_dimension.png", "overlap.svg", "consecutive_overlap.png", "label_overlap.svg"} <= drawn
    found = hg.open_results("measured").load().squeeze(["site", "pooling"])
    assert found.layer.values.tolist() == list(LAYERS)
    assert found.k.values.tolist() == [10, 15]
    stacked = {
        name: np.stack([lists(points[layer], K, own=False)[1] for layer in LAYERS])
        for name, points in clouds.items()
    }
    for name, points in clouds.items():
        one = found.sel(model=name)
        for layer in LAYERS:
            distances, indices = lists(points[layer], K, own=False)
            here = one.sel(layer=layer)
            for estimator in (hg.twonn, hg.twonn_mle):
                expected = estimator(distances, indices=indices)
                at = here.sel(estimator=estimator.__name__)
                assert at.intrinsic_dimension == expected.value
                assert at.intrinsic_dimension_error == expected.error
                assert (at.n_points, at.status) == (N, Status.OK)
            mus = np.sort(distances[:, 1] / distances[:, 0])[: int(N * 0.9)]
            by_lab = here.intrinsic_dimension.sel(estimator="twonn_mle_trimmed").item()
            assert by_lab == pytest.approx(len(mus) / np.log(mus).sum(), rel=1e-12)
            expected = twonn_by_mu_fraction(distances, [0.5, 1.0], indices)
            np.testing.assert_array_equal(here.twonn_by_mu_fraction, expected[0])
            by_hand = np.mean(labels[indices[:, :10]] == labels[:, None])
            assert here.label_overlap.sel(label="class", k=10).item() == pytest.approx(by_hand, rel=1e-12)
            balanced = label_overlap_balanced(indices, labels, 15)
            assert here.label_overlap_balanced.sel(label="class", k=15).item() == pytest.approx(
                balanced.value
            )
    heat_map = found.overlap.sel(model="igpt", other_model="ibert").transpose("k", "layer", "other_layer")
    np.testing.assert_array_equal(heat_map, overlap_matrix(stacked["igpt"], [10, 15], stacked["ibert"]))
    by_hand = [
        len(set(a) & set(b)) / 15
        for a, b in zip(stacked["igpt"][2][:, :15], stacked["ibert"][1][:, :15], strict=True)
    ]
    assert heat_map.sel(k=15, layer=5, other_layer=3).item() == pytest.approx(np.mean(by_hand), rel=1e-12)
    following = found.consecutive_overlap.sel(model="ibert", k=10)
    np.testing.assert_array_equal(
        following[:2], [overlap_matrix(stacked["ibert"], [10])[0][row, row + 1] for row in (0, 1)]
    )
    assert np.isnan(following[2])
    sizes = np.bincount(labels)
    assert found.label_overlap_chance.item() == pytest.approx((sizes * (sizes - 1)).sum() / (N * (N - 1)))


@pytest.mark.parametrize("name", ["results.zarr", "plan.json", "manifest.yaml"])
def test_results_and_runs_are_never_written_over(hpcgeom, tmp_path, name):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / name).touch()
    refused = hpcgeom("measure", "--points", "nothing.npy", "--out", "here")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"hpcgeom: here/{name} exists, and is never written over: name another folder\n"


def test_points_give_the_numbers_of_a_run(manifest, run, monkeypatch):
    monkeypatch.chdir(manifest.parent)
    table = (manifest.parent / "group.tsv").read_text().splitlines()[1:]
    found = measure({"first": "first{layer}.npy", "second": {0: "second0.npy"}}, n_neighbors=16,
                    gride_range_max=16, overlap_k=[1, 5], data_fractions=[1.0, 0.5],
                    labels={"group": [line.split("\t")[1] for line in table]})  # fmt: skip
    by_run = xr.open_zarr(run / "results.zarr").load()
    assert set(found.data_vars) == set(by_run.data_vars)
    for name, variable in by_run.data_vars.items():
        np.testing.assert_array_equal(found[name], variable, err_msg=name)
        assert found[name].dims == variable.dims
        assert found[name].attrs == variable.attrs
    assert found.attrs["notices"] == ["16 neighbors of each point were searched"]


def test_lists_of_points_give_the_numbers_of_the_points(clouds, labels):
    points = clouds["igpt"]
    by_layer = {layer: lists(points[layer], K + 1, own=True) for layer in LAYERS}
    given = {"distances": {layer: found[0] for layer, found in by_layer.items()},
             "indices": {layer: found[1].astype(np.int32) for layer, found in by_layer.items()}}  # fmt: skip
    found = measure(**given, labels=labels, gride_range_max=16)
    searched = measure(points, labels=labels, n_neighbors=K, gride_range_max=16)
    assert set(searched.data_vars) - set(found.data_vars) == {
        "n_distinct_points", "decimated_dimension", "decimated_dimension_error", "n_duplicate_groups",
        "n_certified_rows", "n_recomputed_rows", "n_proven_rows", "largest_relative_error"}  # fmt: skip
    for name, variable in found.data_vars.items():
        np.testing.assert_allclose(variable, searched[name], rtol=1e-9, err_msg=name)
    checked = measure(points, **given)
    assert checked.notices == ["points were in their own lists and were dropped"]
    assert checked.attrs["metric"] == "that of the given arrays"


def test_ratios_give_what_their_distances_give(hpcgeom, lab, clouds):
    alone = hpcgeom("measure", *of("mus", "igpt"), "--layers", "1,3", "--json")
    assert (alone.code, alone.err) == (0, "")
    found = json.loads(alone.out)["representations"]
    assert [entry["layer"] for entry in found] == [1, 3]
    for entry in found:
        expected = hg.twonn(lists(clouds["igpt"][entry["layer"]], 2, own=False)[0])
        assert entry["intrinsic_dimension"]["twonn"]["value"] == pytest.approx(expected.value, rel=1e-12)
        assert entry["intrinsic_dimension"]["twonn"]["error"] == pytest.approx(expected.error, rel=1e-12)
    beside = measure(
        mus="igpt{layer}_post_mlp_mus.npy", indices="igpt{layer}_post_mlp_indices.npy", layers=LAYERS
    )
    distances, indices = lists(clouds["igpt"][5], K, own=False)
    expected = hg.twonn_mle(distances, indices)
    at = beside.squeeze().sel(layer=5, estimator="twonn_mle")
    assert at.intrinsic_dimension_error.item() == pytest.approx(expected.error, rel=1e-12)
    assert beside.overlap.sel(k=20, layer=1, other_layer=1).item() == 1.0
    squares = measure(mus=(distances[:, 1] / distances[:, 0]) ** 2, squared=True).squeeze()
    assert squares.intrinsic_dimension.sel(estimator="twonn_mle").item() == pytest.approx(expected.value)
    assert squares.notices == []


def test_row_numbers_alone_give_overlaps_alone(hpcgeom, lab):
    found = measure(indices="igpt{layer}_post_mlp_indices.npy", layers=[1, 3])
    assert set(found.data_vars) == {
        "n_all_points",
        "overlap",
        "overlap_error",
        "overlap_chance",
        "consecutive_overlap",
        "consecutive_overlap_error",
    }
    assert found.k.values.tolist() == [1, 2, 5, 10, 20]  # of the usual ones, 50 is beyond the lists
    shown = hpcgeom("measure", "--indices", "igpt{layer}_post_mlp_indices.npy", "--layers", "1,3")
    assert (shown.code, shown.err) == (0, "")


def test_float32_is_read_with_a_notice(clouds):
    distances = lists(clouds["igpt"][3], 3, own=True)[0]
    found = measure(distances={0: distances, 1: distances.astype(np.float32)})
    assert "arrays, layer 1: float32, rounded to 7 digits; read as float64" in found.notices
    exact, rounded = found.intrinsic_dimension.squeeze().sel(estimator="twonn").values
    error = found.intrinsic_dimension_error.squeeze().sel(estimator="twonn", layer=0).item()
    assert 0.0 < abs(exact - rounded) < 1e-3 * error


def test_a_constant_layer_has_a_status_and_no_overlap(clouds, labels):
    distances, indices = lists(clouds["igpt"][3], 5, own=False)
    found = measure(distances={0: np.zeros_like(distances), 1: distances}, indices={0: indices, 1: indices},
                    labels=labels, overlap_k=[5]).squeeze()  # fmt: skip
    assert (found.status.sel(layer=0) == Status.CONSTANT).all()
    assert found.n_zero_distances.values.tolist() == [N, 0]
    assert np.isnan(found.overlap.values).tolist() == [[True, True], [True, False]]
    assert np.isnan(found.label_overlap.values).tolist() == [True, False]


ONE, TWO = np.ones((3, 2)), np.ones((4, 2))
IDS = np.array([[1, 2], [0, 2], [0, 1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"no arrays given; expected points, distances with or without indices.*: pass one of these"),
        ({"points": ONE, "mus": ONE[:, 0]}, r"points and mus given; expected points"),
        ({"points": ONE, "distances": ONE}, r"points and distances given"),
        (
            {"distances": {0: ONE, 1: TWO}},
            r"layer 1 is of 4 points and .* layer 0 is of 3|of layer 1 is of 4 points",
        ),
        (
            {"distances": TWO, "indices": IDS},
            r"distances of .* and indices of .* are of 4 and 3 points; expected the same",
        ),
        (
            {"distances": {"a": ONE}, "indices": {"b": IDS}},
            r"indices are given of b and distances of a; expected the same",
        ),
        (
            {"distances": {0: ONE, 1: ONE}, "indices": IDS},
            r"arrays: indices have layers 0 and distances have 0-1",
        ),
        ({"distances": {"a/b": ONE}}, r"'a/b' is no name of a model; expected text without '/'"),
        (
            {"distances": ONE, "estimators": ["two"]},
            r"no estimator 'two': expected one of twonn, .*: choose one of",
        ),
        (
            {"mus": ONE[:, 0], "estimators": ["gride"]},
            r"estimator 'gride' needs distances to more than two neighbors",
        ),
        (
            {"indices": IDS, "estimators": ["twonn"]},
            r"estimator 'twonn' needs distances or ratios, which are not",
        ),
        (
            {"distances": ONE, "overlap_k": [1]},
            r"overlap_k: overlaps are of row numbers of neighbors, found none",
        ),
        (
            {"distances": ONE, "labels": ["a"] * 3},
            r"labels: overlaps are of row numbers of neighbors, found none",
        ),
        (
            {"indices": IDS, "overlap_k": [3]},
            r"overlap_k: k = 3 is not in 1..2, the length of the neighbor lists",
        ),
        (
            {"indices": IDS, "labels": ["a"] * 4},
            r"label label is <U1 of shape \(4,\); expected \(3,\) integers or strings",
        ),
        (
            {"indices": IDS, "labels": np.ones(3)},
            r"label label is float64 of shape \(3,\); expected \(3,\) integers",
        ),
        (
            {"distances": np.zeros((3, 1))},
            r"lists no neighbor but the points themselves; expected others: search more",
        ),
        (
            {
                "points": np.eye(3),
                "distances": np.full((4, 2), 1.0),
                "indices": np.array([[1, 2], [0, 2], [0, 1], [0, 1]]),
            },
            r"points of arrays of layer 0 has shape \(3, 3\); expected \(4, features\), the points of",
        ),
        ({"points": np.full((5, 2), np.nan)}, r"points of arrays of layer 0: "),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(given, message):
    with pytest.raises(InputError, match=message) as caught:
        measure(**given)
    assert "\n" not in str(caught.value)


def test_squared_distances_are_refused_and_read_where_they_are_named(hpcgeom, tmp_path, clouds):
    distances, indices = lists(clouds["igpt"][3], 10, own=True)
    np.save(tmp_path / "d.npy", distances**2)
    np.save(tmp_path / "i.npy", indices)
    refused = hpcgeom("measure", "--distances", "d.npy", "--indices", "i.npy")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("hpcgeom: d.npy and i.npy: rows ")
    assert len(refused.err.splitlines()) == 1
    read = hpcgeom("measure", "--distances", "d.npy", "--indices", "i.npy", "--squared", "--json")
    value = json.loads(read.out)["representations"][0]["intrinsic_dimension"]["twonn"]["value"]
    assert value == pytest.approx(hg.twonn(np.ascontiguousarray(distances[:, 1:])).value, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--points", "a.npy", "--points", "b.npy"),
            "--points is given twice without a name; expected different",
        ),
        (
            ("--mus", "x=a", "--mus", "x=b"),
            "--mus is given twice for x; expected different names: write --mus",
        ),
        (
            ("--points", "a.npy", "--layers", "3-1"),
            "--layers '3-1': expected numbers and ranges such as 0-12, 1-49:2 or 3,7; found '3-1': correct",
        ),
        (("--points", "a.npy", "--layers", "1-9:0"), "--layers '1-9:0': expected numbers and ranges"),
        (("--points", "a.npy", "--layers", "x"), "--layers 'x': expected numbers and ranges"),
        (("--points", "a.npy", "-k", "1,x"), "--overlap-k '1,x': expected numbers such as 10,30; correct it"),
        (
            ("--points", "a.npy", "--mu-fractions", "half"),
            "--mu-fractions 'half': expected numbers such as 0.5",
        ),
        (("--points", "a.npy"), "a.npy does not exist: check the path"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(hpcgeom, arguments, message):
    refused = hpcgeom("measure", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert len(refused.err.splitlines()) == 1


def test_a_backend_that_is_missing_or_unknown_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "dadapy", None)
    distances = np.cumsum(np.ones((20, 3)), axis=1)
    with pytest.raises(InputError, match=r"DADApy cannot be imported here .* take the backend 'native'"):
        measure(distances=distances, backend="dadapy")
    with pytest.raises(
        InputError, match="there is no backend 'numba': expected one of native, dadapy: choose"
    ):
        measure(distances=distances, backend="numba")


def test_a_spectrum_is_of_points_and_the_same_as_that_of_the_stage():
    points = np.random.default_rng(0).standard_normal((60, 4))
    found = measure({"a": points, "b": points[:, :3]}, spectrum=True, gride_range_max=2, overlap_k=[1])
    here = found.squeeze(["site", "pooling", "layer"])
    assert here.participation_ratio.sel(model="a") > here.participation_ratio.sel(model="b")
    assert np.isnan(here.covariance_eigenvalue.sel(model="b", component=4))
    assert here.n_components.sel(variance_fraction=0.99).values.tolist() == [4, 3]
    with pytest.raises(InputError, match="spectrum: variances, norms and directions are of points"):
        measure(distances=np.ones((20, 3)), spectrum=True)
