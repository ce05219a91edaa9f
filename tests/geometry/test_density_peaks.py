"""Clusterings: the agreement of two against scikit-learn; DADApy itself is run in tests/parity."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian
from sklearn.metrics import adjusted_rand_score

from hpcgeom.errors import InputError
from hpcgeom.geometry import adjusted_rand, density_peaks, twonn_mle
from hpcgeom.types import Status

labelings = st.integers(2, 40).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 6), min_size=n, max_size=n)] * 2)
)


@settings(max_examples=80, deadline=None)
@given(labels=labelings)
def test_agreement_is_that_of_scikit_learn(labels):
    a, b = (np.array(each) for each in labels)
    estimate = adjusted_rand(a, b)
    assert estimate.value == pytest.approx(adjusted_rand_score(a, b), rel=1e-12, abs=1e-12)
    assert (estimate.n_points, estimate.status) == (len(a), Status.OK)


@settings(max_examples=50, deadline=None)
@given(labels=labelings, seed=st.integers(0, 2**32 - 1))
def test_agreement_ignores_numbers_and_order_and_is_symmetric(labels, seed):
    rng = np.random.default_rng(seed)
    a, b = (np.array(each) for each in labels)
    order, names = rng.permutation(len(a)), rng.permutation(100)
    expected = adjusted_rand(a, b).value
    assert adjusted_rand(b, a).value == expected
    assert adjusted_rand(names[a][order].astype(np.uint8), b[order]).value == expected
    assert adjusted_rand(a, names[a]).value == 1.0


def test_agreement_of_very_many_points_does_not_overflow(rng):
    a, b = rng.integers(0, 3, 200_000), rng.integers(0, 2, 200_000)
    assert adjusted_rand(a, b).value == pytest.approx(adjusted_rand_score(a, b), rel=1e-10, abs=1e-12)
    assert abs(adjusted_rand(a, b).value) < 1e-3


def test_trivial_clusterings_agree_with_themselves_alone():
    one, each = np.zeros(5, int), np.arange(5)
    assert (adjusted_rand(one, one).value, adjusted_rand(each, each).value) == (1.0, 1.0)
    assert adjusted_rand(one, each).value == 0.0
    for n_points in (0, 1):
        estimate = adjusted_rand(one[:n_points], one[:n_points])
        assert np.isnan(estimate.value)
        assert estimate.status is Status.TOO_FEW_POINTS


class StandIn:
    """Keeps what DADApy's Data is given, and answers with two clusters."""

    def __init__(self, distances, maxk):
        self.distances, self.indices = distances
        self.maxk = maxk
        self.calls = []

    def set_id(self, d):
        self.calls.append(("set_id", d))

    def compute_density_PAk(self):  # noqa: N802
        self.log_den, self.log_den_err = np.arange(len(self.distances)) * 1.0, np.ones(len(self.distances))
        self.kstar = np.full(len(self.distances), self.maxk - 1)
        self.kstar[:3] = 4

    def compute_clustering_ADP(self, Z, halo):  # noqa: N802
        self.calls.append(("ADP", Z, halo))
        self.cluster_centers = [0, 5]
        return [-1, *([0] * 10), *([1] * (len(self.distances) - 11))]


@pytest.fixture
def stand_in(monkeypatch):
    made = []

    def data(**kwargs):
        made.append(StandIn(**kwargs))
        return made[-1]

    monkeypatch.setitem(sys.modules, "dadapy", SimpleNamespace(Data=data))
    return made


def test_gives_lists_that_begin_with_the_point_itself(rng, stand_in):
    distances, indices = brute_neighbors(gaussian(rng, 40, 2), 12)
    found = density_peaks(distances, indices.astype(np.int32), z=2.5, halo=True)
    given_to = stand_in[0]
    np.testing.assert_array_equal(given_to.indices[:, 0], np.arange(40))
    np.testing.assert_array_equal(given_to.indices[:, 1:], indices)
    np.testing.assert_array_equal(given_to.distances[:, 0], 0.0)
    np.testing.assert_array_equal(given_to.distances[:, 1:], distances)
    dimension = twonn_mle(distances).value
    assert given_to.maxk == 12
    assert given_to.calls == [("set_id", dimension), ("ADP", 2.5, True)]
    assert found.assignment.tolist() == [-1, *([0] * 10), *([1] * 29)]
    assert found.centers.tolist() == [0, 5]
    assert (found.n_at_limit, found.status, found.intrinsic_dimension) == (37, Status.OK, dimension)
    np.testing.assert_array_equal(found.log_density, np.arange(40.0))
    assert density_peaks(distances, indices, intrinsic_dimension=3.0).intrinsic_dimension == 3.0


@pytest.mark.parametrize(
    "error", [ValueError("attempt to get argmax of an empty sequence"), AssertionError("nan")]
)
def test_where_dadapy_cannot_assign_a_point_nobody_has_a_cluster(rng, stand_in, monkeypatch, error):
    def fails(self, Z, halo):
        raise error

    monkeypatch.setattr(StandIn, "compute_clustering_ADP", fails)
    found = density_peaks(*brute_neighbors(gaussian(rng, 40, 2), 12))
    assert found.status is Status.NO_SOLUTION
    assert (found.assignment == -1).all()
    assert (found.centers.size, found.n_at_limit) == (0, 37)
    np.testing.assert_array_equal(found.log_density, np.arange(40.0))


def lists(points, k=8):
    return brute_neighbors(points, k)


@pytest.mark.parametrize(
    ("points", "k", "dimension", "status"),
    [
        (np.zeros((20, 2)), 8, None, Status.CONSTANT),
        (np.zeros((20, 2)), 8, 2.0, Status.CONSTANT),
        (np.arange(9.0)[:, None], 8, 2.0, Status.TOO_FEW_POINTS),
        (np.arange(20.0)[:, None] ** 2, 3, 2.0, Status.TOO_FEW_NEIGHBORS),
        (np.arange(20.0)[:, None] ** 2, 1, None, Status.TOO_FEW_NEIGHBORS),
        (np.exp(2j * np.pi * np.arange(20) / 20).view(float).reshape(20, 2).round(9), 8, None, Status.OK),
    ],
)
def test_says_why_there_are_no_clusters(points, k, dimension, status, stand_in):
    found = density_peaks(*lists(points, k), intrinsic_dimension=dimension)
    assert found.status is status
    if status is not Status.OK:
        assert not stand_in
        assert (found.assignment == -1).all()
        assert found.centers.size == 0
        assert np.isnan(found.log_density).all()


def refused(points=None, change=None, **kwargs):
    distances, indices = lists(np.arange(20.0)[:, None] ** 2 if points is None else points)
    if change is not None:
        distances, indices = change(distances, indices)
    return density_peaks(distances, indices, **kwargs)


COPIES = np.repeat(np.arange(15.0) ** 2, [1] * 10 + [2] * 5)[:, None]


def without_a_list(distances, indices):
    distances[4], indices[4] = np.nan, -1
    return distances, indices


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: refused(),
            r"clusters: DADApy cannot be imported here .*'dadapy==0\.3\.4' in .*: cluster the stored lists",
        ),
        (
            lambda: refused(COPIES),
            r"10 of 20 points have a copy at distance zero, and 0 have no list; a density",
        ),
        (
            lambda: refused(change=without_a_list),
            r"0 of 20 points .* and 1 have no list; .*distinct points alone",
        ),
        (lambda: refused(change=lambda d, i: (d, i[:, :5])), r"distances have shape \(20, 8\) and indices"),
        (
            lambda: refused(change=lambda d, i: (d, i + 5)),
            r"row \d+, column \d+ is 2\d, expected a row number in",
        ),
        (lambda: refused(change=lambda d, i: (d, i * 1.0)), r"indices: expected integers"),
        (
            lambda: refused(intrinsic_dimension=0.0),
            r"intrinsic_dimension: expected a positive number, found 0\.0",
        ),
        (lambda: refused(z=-1.0), r"z: expected a positive number, found -1\.0; pass None"),
        (
            lambda: adjusted_rand(np.zeros(3), np.zeros(3, int)),
            r"labels_a: expected integers of shape \(points\)",
        ),
        (
            lambda: adjusted_rand(np.zeros(3, int), np.zeros(2, int)),
            r"of 3 and of 2 points; .*, pass the rows they share",
        ),
        (
            lambda: adjusted_rand(np.zeros(3, int), np.array([0, -1, 1])),
            r"labels_b: row 1 is -1, expected clust",
        ),
    ],
)
def test_refuses_what_cannot_be_clustered(call, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "dadapy", None)
    with pytest.raises(InputError, match=message):
        call()
