"""The backend `dadapy` and the native functions: the same arguments, results and refusals."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_clouds import clouds, lists_with_self, without_self

import hpcgeom.geometry as native
from hpcgeom.api.measuring import measure
from hpcgeom.errors import InputError
from hpcgeom.geometry import dadapy_backend as backend
from hpcgeom.types import Status

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

on_many = settings(max_examples=60, deadline=None)


def assert_equal_scales(ours, theirs):
    for name in ("value", "error", "distance"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-6)
    for name in ("n2", "n_points", "status"):
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
    assert theirs.n_zero_distances == ours.n_zero_distances


@on_many
@given(cloud=clouds, n_copies=st.sampled_from([0, 0, 3]), n_left_out=st.sampled_from([0, 2]))
def test_dimensions_agree_also_where_rows_are_left_out(cloud, n_copies, n_left_out):
    distances = without_self(cloud.distances)
    distances[:n_copies, 0] = 0.0
    distances[len(distances) - n_left_out :] = np.nan
    for ours, theirs in (
        (native.twonn(distances, 0.8), backend.twonn(distances, 0.8)),
        (native.twonn_mle(distances), backend.twonn_mle(distances)),
    ):
        assert theirs.value == pytest.approx(ours.value, rel=1e-6)
        assert np.isnan(theirs.error)
        counted = ("n_points", "status", "n_zero_distances")
        assert [getattr(theirs, name) for name in counted] == [getattr(ours, name) for name in counted]
    ours, theirs = native.gride(distances, mu_filter="dadapy"), backend.gride(distances)
    reached = ours.n2 <= ours.n_points.max()  # DADApy measures no larger scale
    assert (theirs.status[~reached & (ours.status == Status.OK)] == Status.TOO_FEW_POINTS).all()
    if reached.all():
        assert_equal_scales(ours, theirs)


@on_many
@given(cloud=clouds, k=st.sampled_from([1, 5, 19]))
def test_overlaps_agree(cloud, k):
    a, b = without_self(cloud.indices), without_self(cloud.other_indices)
    layers = np.stack([a, b]).astype(np.int32)
    np.testing.assert_allclose(
        backend.overlap_matrix(layers, [k, 2]), native.overlap_matrix(layers, [k, 2]), rtol=1e-12
    )
    np.testing.assert_allclose(
        backend.overlap_matrix(layers, [k], layers[:1]), native.overlap_matrix(layers, [k], layers[:1])
    )
    assert backend.overlap(a, b, k) == native.overlap(a, b, k)
    for name in ("label_overlap", "label_overlap_balanced"):
        ours = getattr(native, name)(a, cloud.labels, k)
        theirs = getattr(backend, name)(a, cloud.labels, k)
        assert theirs.value == pytest.approx(ours.value, rel=1e-12, abs=1e-12)
        assert theirs.error == pytest.approx(ours.error, rel=1e-12, abs=1e-12)
        assert (theirs.n_points, theirs.status) == (ours.n_points, ours.status)


@pytest.mark.parametrize(
    "points",
    [np.zeros((2, 1)), np.zeros((30, 2)), np.arange(3.0)[:, None], np.arange(9.0)[:, None] ** 2],
    ids=["two equal", "constant", "three", "nine"],
)
def test_degenerate_clouds_have_the_same_status(points):
    distances = without_self(lists_with_self(points, len(points) - 1)[0])
    for name in ("twonn", "twonn_mle"):
        ours, theirs = getattr(native, name)(distances), getattr(backend, name)(distances)
        assert (theirs.status, theirs.n_points) == (ours.status, ours.n_points)
        assert np.isnan(theirs.value)
    assert_equal_scales(native.gride(distances, 8, mu_filter="dadapy"), backend.gride(distances, 8))


def test_ties_everywhere_have_no_solution_in_both():
    distances = np.ones((40, 8))
    for name in ("twonn", "twonn_mle"):
        assert getattr(backend, name)(distances).status is getattr(native, name)(distances).status
    assert_equal_scales(native.gride(distances, 8, mu_filter="dadapy"), backend.gride(distances, 8))


def test_no_points_have_no_overlap_in_both():
    empty, labels = np.empty((0, 4), np.int64), np.empty(0, np.int64)
    assert backend.overlap(empty, empty, 2).status is Status.TOO_FEW_POINTS
    assert backend.label_overlap(empty, labels, 2).status is Status.TOO_FEW_POINTS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lists: backend.overlap(lists, lists, 2), r"indices: -1 at \(0, 3, 1\) is no row"),
        (lambda lists: backend.label_overlap(lists[:, 2:], np.zeros(9, int), 1), "expected one for each of"),
        (lambda lists: backend.label_overlap(lists, np.zeros(8, int), 1), r"-1 at \(3, 1\) is no row"),
        (lambda lists: backend.twonn(np.ones((8, 2)), 1.0), "at 1 DADApy takes twonn_mle"),
    ],
)
def test_refuses_what_it_would_take_without_a_word(call, message):
    lists = np.tile(np.arange(4), (8, 1))
    lists[3, 1] = -1
    with pytest.raises(InputError, match=message):
        call(lists)


def test_arrays_are_measured_as_natively():
    rng = np.random.default_rng(3)
    lists = [lists_with_self(points, 64) for points in rng.standard_normal((2, 300, 3))]
    given = {
        "distances": {layer: each[0] for layer, each in enumerate(lists)},
        "indices": {layer: each[1] for layer, each in enumerate(lists)},
        "labels": np.arange(300) % 3,
        "overlap_k": [2, 10],
    }
    ours, theirs = measure(**given), measure(**given, backend="dadapy")
    assert set(theirs.data_vars) < set(ours.data_vars)
    np.testing.assert_allclose(theirs.intrinsic_dimension, ours.intrinsic_dimension, rtol=1e-6)
    names = [f"{kind}{error}" for kind in ("overlap", "label_overlap") for error in ("", "_error")]
    for name in [*names, "label_overlap_balanced", "label_overlap_balanced_error", "status", "n_points"]:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-12)
    filtered = native.gride(without_self(lists[1][0]), mu_filter="dadapy")
    np.testing.assert_allclose(theirs.gride.squeeze().sel(layer=1), filtered.value, rtol=1e-6)
    assert np.isnan(theirs.intrinsic_dimension_error).all()
    assert "twonn_by_mu_fraction" not in theirs
    assert theirs.attrs["backend"] == "dadapy"
    assert theirs.attrs["notices"][-1].startswith("measured by DADApy 0.3.4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": np.ones((9, 2))}, "points alone are given, and the backend 'dadapy' measures lists"),
        ({"estimators": ["twonn_mle_censored"]}, "'twonn_mle_censored' is none of DADApy's; expected twonn,"),
        ({"mu_fractions": [0.5]}, "mu_fractions is an option of the backend 'native'"),
        ({"information_imbalance": True}, "information_imbalance is an option of the backend 'native'"),
    ],
)
def test_refuses_what_it_does_not_have(options, message):
    lists = {} if "points" in options else {"distances": np.cumsum(np.ones((9, 3)), axis=1)}
    with pytest.raises(InputError, match=message):
        measure(**lists, **options, backend="dadapy")


def test_the_command_says_who_measured(tmp_path):
    points = np.random.default_rng(0).standard_normal((100, 2))
    np.save(tmp_path / "distances.npy", lists_with_self(points, 20)[0])
    command = [sys.executable, "-m", "hpcgeom.cli.main", "measure", "--backend", "dadapy"]
    done = subprocess.run(
        [*command, "--distances", str(tmp_path / "distances.npy")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "note: measured by DADApy 0.3.4" in done.stdout
    assert "twonn" in done.stdout
