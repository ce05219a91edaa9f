"""Clusters of a layer: which points DADApy is given, what becomes of copies, and where there is no DADApy."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import arrays_run
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

import hpcgeom as hg
from hpcgeom.api.pricing import price
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import InputError
from hpcgeom.plan import measures
from hpcgeom.search import ArrayRows, Settings, search_representation
from hpcgeom.stages.clusters import agreement, cluster_profile
from hpcgeom.stages.run import Run
from hpcgeom.store.neighbors import Lists
from hpcgeom.types import Status

N, K = 60, 12
SETTINGS = {"z": 1.65, "halo": False}
ASKED = "{estimators: [twonn_mle], overlap_k: [1], clusters: {}}"
REFUSED = r"DADApy cannot be imported here .*'dadapy==0\.3\.4' in an environment .*pip install"


@pytest.fixture
def points():
    found = np.random.default_rng(5).standard_normal((N, 3))
    found[[10, 40, 59]] = found[4]
    found[21] = found[20]
    return found


@pytest.fixture
def lists(points):
    found = search_representation(ArrayRows(points), Settings(K)).collect()
    return Lists(
        found.indices,
        found.distances,
        found.duplicate_of,
        found.distinct_indices,
        found.distinct_distances,
    )


@pytest.fixture
def stand_in(monkeypatch):
    """A module `dadapy` that makes every point a cluster of its own, but for the last one, of a halo."""

    class Data:
        def __init__(self, distances, maxk):
            given.distances, given.indices = distances

        def set_id(self, d):
            pass

        def compute_density_PAk(self):  # noqa: N802
            self.log_den = self.log_den_err = np.zeros(len(given.distances))
            self.kstar = np.full(len(given.distances), 5)

        def compute_clustering_ADP(self, Z, halo):  # noqa: N802
            given.options = Z, halo
            self.cluster_centers = np.arange(len(given.distances) - 1)
            return [*self.cluster_centers, -1]

    given = SimpleNamespace(Data=Data)
    monkeypatch.setitem(sys.modules, "dadapy", given)
    return given


@pytest.fixture
def no_dadapy(monkeypatch):
    monkeypatch.setitem(sys.modules, "dadapy", None)


def test_distinct_points_are_clustered_and_copies_are_where_the_first_is(points, lists, stand_in):
    found = cluster_profile(lists, {"z": 2.5, "halo": True})
    kept = np.delete(points, [10, 21, 40, 59], axis=0)
    matrix = cdist(kept, kept)
    np.testing.assert_allclose(stand_in.distances, np.sort(matrix, axis=1)[:, : K + 1], atol=1e-12)
    np.testing.assert_allclose(
        np.take_along_axis(matrix, stand_in.indices, axis=1), stand_in.distances, atol=1e-12
    )
    assert stand_in.options == (2.5, True)
    clusters = found["cluster"].tolist()
    assert clusters[10] == clusters[40] == clusters[59] == clusters[4]
    assert clusters[21] == clusters[20]
    assert clusters[58] == -1  # the last distinct point
    assert len(set(clusters)) == len(kept)
    counts = [int(found[name]) for name in ("n_clusters", "n_unclustered_points", "n_densities_at_limit")]
    assert counts == [len(kept) - 1, 1, 0]
    assert found["cluster_status"] == Status.OK


def test_a_layer_without_clusters_says_why(stand_in):
    own, nobody = np.zeros(N, np.int32), np.full((N, K), -1, np.int32)
    nothing = Lists(nobody, np.zeros((N, K)), own, nobody, np.full((N, K), np.nan))
    found = cluster_profile(nothing, SETTINGS, lambda status: Status.CONSTANT)
    assert (found["cluster"] == -1).all()
    assert (found["n_clusters"], found["n_unclustered_points"]) == (0, N)
    assert found["cluster_status"] == Status.CONSTANT
    assert np.isnan(agreement(found["cluster"], [np.arange(N)])["adjusted_rand"]).all()


def test_agreement_is_that_of_scikit_learn_over_points_in_a_cluster():
    rng = np.random.default_rng(6)
    clusters, codes = rng.integers(-1, 3, 200), [rng.integers(0, 4, 200), np.zeros(200, int)]
    inside = clusters >= 0
    expected = [adjusted_rand_score(each[inside], clusters[inside]) for each in codes]
    np.testing.assert_allclose(agreement(clusters, codes)["adjusted_rand"], expected, rtol=1e-12, atol=1e-12)


def test_a_run_has_them_of_every_layer_and_padding_is_left_empty(tmp_path, stand_in):
    arrays_run.write_clouds(tmp_path)
    root = run_manifest(arrays_run.write_manifest(tmp_path, geometry=ASKED), tmp_path / "run", workers=1)
    found = hg.open_results(root).load().squeeze(["site", "pooling"])
    assert found.cluster.dims == ("model", "layer", "sample")
    known = found.cluster_status != Status.ABSENT
    assert known.sum() == 6
    assert (found.cluster.where(~known, -1) == -1).all()
    repeated = found.sel(model="wide", layer=2).cluster.values
    assert (repeated[[20, 120, 250]] == repeated[4]).all()
    assert repeated[201] == repeated[200]
    assert found.cluster_status.sel(model="deep", layer=1) == Status.CONSTANT
    assert found.attrs["clusters"] == "density peaks by DADApy of distinct points, z = 1.65, halos included"
    assert found.sizes["label"] == found.adjusted_rand.sizes["label"] == 2
    plan = Run(root).plan
    assert measures.arrays(plan).count(("sample",)) == 1
    assert {("label",)} <= set(measures.arrays(plan))


def test_where_dadapy_fails_the_run_goes_on_and_the_status_says_so(tmp_path, stand_in, monkeypatch):
    def fails(self, Z, halo):
        raise ValueError("attempt to get argmax of an empty sequence")

    monkeypatch.setattr(stand_in.Data, "compute_clustering_ADP", fails)
    arrays_run.write_clouds(tmp_path)
    root = run_manifest(arrays_run.write_manifest(tmp_path, geometry=ASKED), tmp_path / "run", workers=1)
    found = hg.open_results(root).load().squeeze(["site", "pooling"])
    with_copies = found.sel(model="wide", layer=2)
    assert with_copies.n_distinct_points < with_copies.n_all_points
    assert with_copies.cluster_status == Status.NO_SOLUTION
    assert found.cluster_status.sel(model="deep", layer=1) == Status.CONSTANT
    assert (found.cluster == -1).all()
    assert np.isnan(found.adjusted_rand).all()


def test_without_dadapy_a_manifest_that_asks_for_them_is_refused_before_anything_is_done(tmp_path, no_dadapy):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(tmp_path, geometry=ASKED)
    with pytest.raises(InputError, match=f"geometry.clusters: {REFUSED}.*or take geometry.clusters out"):
        run_manifest(manifest, tmp_path / "run", workers=1)
    assert not (tmp_path / "run" / "plan.json").exists()
    with pytest.raises(InputError, match=f"geometry.clusters: {REFUSED}"):
        price(manifest)
    with pytest.raises(InputError, match=f"clusters: {REFUSED}.* or leave clusters out"):
        hg.measure(np.ones((20, 2)), clusters={})


def test_a_run_is_not_gone_on_with_where_there_is_no_dadapy(tmp_path, monkeypatch, stand_in):
    arrays_run.write_clouds(tmp_path)
    root = run_manifest(arrays_run.write_manifest(tmp_path, geometry=ASKED), tmp_path / "run", workers=1)
    monkeypatch.setitem(sys.modules, "dadapy", None)
    assert resume(root, workers=1) == root  # all is there
    next((root / "records" / "geometry").glob("0*.json")).unlink()
    with pytest.raises(InputError, match=f"geometry.clusters: {REFUSED}"):
        resume(root, workers=1)
