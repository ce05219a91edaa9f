"""Clusters that a run and `measure` find, against DADApy on the distinct points, and scikit-learn."""

import json
import subprocess
import sys

import numpy as np
import pytest
from random_clouds import lists_with_self
from sklearn.metrics import adjusted_rand_score

import hpcgeom as hg
from hpcgeom.api import doctor
from hpcgeom.api.measuring import measure
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import InputError
from hpcgeom.search.kernels import base
from hpcgeom.types import Status

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

N, K = 240, 40
MANIFEST = """
name: blobs
dataset: {kind: arrays, labels: {blob: {file: blob.npy}, half: {file: half.npy}}}
models: [{name: mine, family: arrays, source: "layer{layer}.npy"}]
neighbors: {k: 40}
geometry: {estimators: [twonn_mle], overlap_k: [10], clusters: {z: 1.5, halo: true}}
"""


@pytest.fixture(scope="module", autouse=True)
def searched_without_torch():
    """Which is not in this environment, and multiplies on processors with AVX-512."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "host_features", dict)
        yield


@pytest.fixture(scope="module")
def layers():
    """Three blobs with copies across them, one blob, and one point over and over."""
    rng = np.random.default_rng(0)
    blobs = rng.standard_normal((N, 3)) + 7.0 * np.eye(3)[np.arange(N) % 3]
    blobs[[30, 200]] = blobs[7]
    blobs[101] = blobs[100]
    return {0: blobs, 1: rng.standard_normal((N, 3)), 2: np.ones((N, 3))}


@pytest.fixture(scope="module")
def run(layers, tmp_path_factory):
    """The root of a run of them."""
    folder = tmp_path_factory.mktemp("blobs")
    for layer, points in layers.items():
        np.save(folder / f"layer{layer}.npy", points)
    np.save(folder / "blob.npy", np.arange(N) % 3)
    np.save(folder / "half.npy", np.arange(N) * 2 // N)
    (folder / "blobs.yaml").write_text(MANIFEST)
    return run_manifest(folder / "blobs.yaml", folder / "run", workers=1)


@pytest.fixture(scope="module")
def results(run):
    return hg.open_results(run).load().squeeze(["model", "site", "pooling"])


def by_hand(points):
    """Cluster of every point by DADApy, asked as its documentation does it, over distinct points."""
    from dadapy import Data

    distinct, number = np.unique(points, axis=0, return_inverse=True)
    first = np.unique(number, return_index=True)[1]
    order = np.argsort(first)  # in the order of the rows, as ties are
    distances, indices = lists_with_self(distinct[order], K)
    data = Data(distances=(distances, indices), maxk=K)
    data.set_id(hg.twonn_mle(distances[:, 1:].copy()).value)
    data.compute_density_PAk()
    clusters = np.asarray(data.compute_clustering_ADP(Z=1.5, halo=True))
    return clusters[np.argsort(order)[number.ravel()]]


@pytest.mark.parametrize("layer", [0, 1])
def test_clusters_are_those_of_dadapy_on_the_distinct_points(results, layers, layer):
    here, expected = results.sel(layer=layer), by_hand(layers[layer])
    np.testing.assert_array_equal(here.cluster, expected)
    assert here.n_clusters == expected.max() + 1
    assert here.n_unclustered_points == np.count_nonzero(expected == -1)
    assert here.cluster_status == Status.OK
    inside = expected >= 0
    for label, codes in (("blob", np.arange(N) % 3), ("half", np.arange(N) * 2 // N)):
        rand = adjusted_rand_score(codes[inside], expected[inside])
        assert here.adjusted_rand.sel(label=label).item() == pytest.approx(rand, rel=1e-12, abs=1e-12)


def test_blobs_are_found_and_one_point_has_no_cluster(results):
    assert results.n_clusters.values.tolist() == [3, 1, 0]
    assert results.adjusted_rand.sel(layer=0, label="blob") > 0.95
    assert results.cluster_status.sel(layer=2) == Status.CONSTANT
    assert (results.cluster.sel(layer=2) == -1).all()
    assert np.isnan(results.adjusted_rand.sel(layer=2)).all()


def test_the_same_again_is_the_same_bit_by_bit(run, results):
    next((run / "records" / "geometry").glob("0*0.json")).unlink()
    resume(run, workers=1)
    assert hg.open_results(run).load().squeeze(["model", "site", "pooling"]).identical(results)


def test_measure_finds_them_of_lists(layers):
    distances, indices = lists_with_self(layers[1], K)
    codes = np.arange(N) % 3
    found = measure(
        distances=distances, indices=indices, labels=codes, overlap_k=[1], clusters={"z": 1.5, "halo": True}
    ).squeeze()
    np.testing.assert_array_equal(found.cluster, by_hand(layers[1]))
    inside = found.cluster.values >= 0
    rand = adjusted_rand_score(codes[inside], found.cluster.values[inside])
    assert found.adjusted_rand.item() == pytest.approx(rand, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clusters": {"z": -1.0}}, r"clusters: expected z, a positive number, .*found \{'z': -1.0\}"),
        ({"clusters": {"other": 1}}, r"clusters: expected z, .*pass \{\} for the defaults"),
        (
            {"clusters": {}, "indices": None},
            "clusters: expected points, or distances and indices of the same",
        ),
    ],
)
def test_measure_refuses_what_it_cannot_cluster(layers, options, message):
    distances, indices = lists_with_self(layers[1], 8)
    with pytest.raises(InputError, match=message):
        measure(**{"distances": distances, "indices": indices, "overlap_k": None} | options)


def test_the_command_prints_them(layers, tmp_path):
    for name, array in zip(("distances", "indices"), lists_with_self(layers[1], K), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    command = [sys.executable, "-m", "hpcgeom.cli.main", "measure", "--clusters", "1.5", "--json"]
    given = [f"--{name}={tmp_path / name}.npy" for name in ("distances", "indices")]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=True)
    (one,) = json.loads(done.stdout)["representations"]
    assert one["n_clusters"]["value"] == measure(layers[1], n_neighbors=K, clusters={"z": 1.5}).n_clusters
    assert one["n_clusters"]["status"] == "ok"


def test_the_doctor_says_who_finds_clusters(tmp_path):
    found = doctor.carry_out("dadapy", doctor.checks_of(tmp_path)["dadapy"])
    assert (found.is_fine, found.says[:5]) == (True, "0.3.4")
