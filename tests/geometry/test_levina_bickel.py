import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, sphere, swiss_roll, tree_neighbors

from hpcgeom.errors import InputError
from hpcgeom.geometry import half_sample_errors, levina_bickel, twonn_mle
from hpcgeom.types import Status

AVERAGES = ["inverse", "plain"]
by_average = pytest.mark.parametrize("average", AVERAGES)


def pointwise(distances, k):
    """m_i of Levina and Bickel, equation 8, one point and one neighbor at a time."""
    return np.array([(k - 1) / sum(np.log(row[k - 1] / row[j]) for j in range(k - 1)) for row in distances])


@pytest.mark.parametrize("d", [1, 3, 8])
def test_agrees_with_scikit_dimension(rng, d):
    from skdim.id import MLE  # not in the environment of the parity tests

    distances, indices = brute_neighbors(gaussian(rng, 300, d), 20)
    for k in (4, 10, 20):
        near = (distances[:, :k], indices[:, :k])
        theirs = {
            name: MLE().fit(np.zeros((300, 2)), precomputed_knn_arrays=near, comb=comb).dimension_
            for name, comb in (("inverse", "mle"), ("plain", "mean"))
        }
        for name in AVERAGES:
            assert levina_bickel(distances, [k], average=name).value[0] == pytest.approx(
                theirs[name], rel=1e-11
            )


def test_is_the_formula_of_the_paper(two_gaussians):
    distances = two_gaussians[0]
    ks = (4, 5, 33, 64)
    inverse, plain = (levina_bickel(distances, ks, average=average) for average in AVERAGES)
    for at, k in enumerate(ks):
        m = pointwise(distances, k)
        assert inverse.value[at] == pytest.approx(1 / np.mean(1 / m), rel=1e-11)
        assert plain.value[at] == pytest.approx(np.mean(m), rel=1e-11)
        assert inverse.error[at] == pytest.approx(inverse.value[at] / np.sqrt(100 * (k - 1)), rel=1e-12)
        assert plain.error[at] == pytest.approx(np.std(m, ddof=1) / 10, rel=1e-9)
    assert inverse.k.tolist() == list(ks)
    assert inverse.n_points.tolist() == [100] * 4
    assert inverse.status.tolist() == [Status.OK] * 4


def test_two_neighbors_are_twonn(two_gaussians):
    """But for the factor N / (N - 1), which makes twonn_mle unbiased."""
    assert levina_bickel(two_gaussians[0], [2]).value[0] == pytest.approx(
        twonn_mle(two_gaussians[0]).value * 100 / 99, rel=1e-12
    )


def test_is_measured_in_blocks_of_rows_as_in_one(monkeypatch, two_gaussians):
    whole = levina_bickel(two_gaussians[0], [10])
    monkeypatch.setattr("hpcgeom.geometry.mle._BLOCK_ROWS", 7)
    assert levina_bickel(two_gaussians[0], [10]).value[0] == pytest.approx(whole.value[0], rel=1e-15)


@pytest.mark.parametrize("k", [4, 10, 20])
def test_averages_are_as_far_off_as_is_said(rng, k):
    d, n_points = 6.0, 20_000
    distances = np.ones((n_points, k))
    distances[:, :-1] = np.sort(rng.random((n_points, k - 1)), axis=1) ** (1 / d)
    inverse, plain = (levina_bickel(distances, [k], average=average) for average in AVERAGES)
    assert abs(inverse.value[0] - d) < 4 * inverse.error[0]
    assert abs(plain.value[0] - d * (k - 1) / (k - 2)) < 5 * plain.error[0]


@by_average
def test_error_with_indices_is_that_of_halves(rng, average):
    distances, indices = tree_neighbors(gaussian(rng, 300, 3), 40)
    result = levina_bickel(distances, [5, 12], indices, average)

    def measure(half):
        kept = half[~np.isnan(half[:, 0])]
        m = pointwise(kept, kept.shape[1])
        return 1 / np.mean(1 / m) if average == "inverse" else np.mean(m)

    expected = [half_sample_errors(measure, distances, indices, k) for k in (5, 12)]
    np.testing.assert_allclose(result.error, expected, rtol=1e-9)
    np.testing.assert_array_equal(result.value, levina_bickel(distances, [5, 12], average=average).value)


def test_error_with_indices_is_the_spread_over_clouds():
    clouds = [
        tree_neighbors(np.random.default_rng(seed).random((300, 2)), 30, period=1.0) for seed in range(200)
    ]
    found = [levina_bickel(distances, [10], indices) for distances, indices in clouds]
    plain = np.mean([levina_bickel(distances, [10]).error[0] for distances, _ in clouds])
    spread = np.std([result.value[0] for result in found])
    assert np.mean([result.error[0] for result in found]) == pytest.approx(spread, rel=0.2)
    assert plain < 0.9 * spread


def test_lists_that_are_too_short_for_halves_have_no_error(rng):
    distances, indices = tree_neighbors(gaussian(rng, 300, 3), 20)
    result = levina_bickel(distances, [5, 18], indices)
    assert np.isnan(result.error).tolist() == [False, True]
    assert result.status.tolist() == [Status.OK, Status.OK]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-100.0, 100.0), average=st.sampled_from(AVERAGES))
def test_ignores_order_and_unit(seed, exponent, average):
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.uniform(0.5, 1.0, (60, 16)), axis=1)
    here = levina_bickel(distances, [4, 16], average=average)
    there = levina_bickel(rng.permutation(distances) * 10.0**exponent, [4, 16], average=average)
    np.testing.assert_allclose(there.value, here.value, rtol=1e-12)
    np.testing.assert_allclose(there.error, here.error, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "d"), [(gaussian, 1), (gaussian, 2), (sphere, 2), (sphere, 5), (swiss_roll, 2), (gaussian, 10)]
)
def test_recovers_the_dimension(make, d):
    lists = [tree_neighbors(make(np.random.default_rng(seed), 4000, d), 10)[0] for seed in range(2)]
    values = np.mean([levina_bickel(distances, [5, 10]).value for distances in lists], axis=0)
    np.testing.assert_allclose(values, d, rtol=0.05 if d <= 5 else 0.12)


@pytest.mark.parametrize("percent", [0, 1, 5, 20])
def test_leaves_out_and_counts_zero_distances(rng, percent):
    points = gaussian(rng, 400, 2)
    n_copies = 4 * percent
    points[:n_copies] = points[n_copies : 2 * n_copies]
    distances = brute_neighbors(points, 10)[0]
    result = levina_bickel(distances, [5, 10])
    assert result.n_zero_distances == 2 * n_copies
    assert result.n_points.tolist() == [400 - 2 * n_copies] * 2
    np.testing.assert_array_equal(result.value, levina_bickel(distances[2 * n_copies :], [5, 10]).value)


def test_a_point_of_equal_distances_counts_as_no_ratio(two_gaussians):
    distances = two_gaussians[0][:, :10].copy()
    distances[3] = 1.0
    m = pointwise(np.delete(distances, 3, axis=0), 10)
    assert levina_bickel(distances, [10]).value[0] == pytest.approx(100 / np.sum(1 / m), rel=1e-11)
    assert levina_bickel(distances, [10], average="plain").status[0] == Status.NO_SOLUTION


@by_average
def test_equal_distances_everywhere_have_no_solution(average):
    result = levina_bickel(np.ones((30, 5)), [5], average=average)
    assert result.status.tolist() == [Status.NO_SOLUTION]
    assert np.isnan([result.value[0], result.error[0]]).all()


@by_average
@pytest.mark.parametrize(
    ("distances", "status"),
    [
        (np.zeros((30, 6)), [Status.CONSTANT, Status.CONSTANT]),
        (np.ones((2, 1)), [Status.TOO_FEW_POINTS] * 2),
        (np.ones((3, 2)), [Status.TOO_FEW_POINTS] * 2),
        (np.tile([0.0, 1.0, 1.0, 2.0, 2.0, 2.0], (30, 1)), [Status.DUPLICATES] * 2),
        (np.tile([1.0, 1.0, 1.0, 2.0], (10, 1)), [Status.OK, Status.TOO_FEW_NEIGHBORS]),
    ],
)
def test_says_why_there_is_no_value(average, distances, status):
    result = levina_bickel(distances, [4, 6], average=average)
    assert result.status.tolist() == status
    assert np.isnan(result.value).tolist() == [s is not Status.OK for s in status]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: levina_bickel(d, [1]),
            r"ks: expected 2 or more neighbors for the inverse average, found 1",
        ),
        (
            lambda d: levina_bickel(d, [5, 3], average="plain"),
            r"ks: expected 4 or more .* plain .*found 3; 10",
        ),
        (lambda d: levina_bickel(d, [2.5]), r"ks: expected integers"),
        (lambda d: levina_bickel(d, []), r"ks: expected at least one k"),
        (
            lambda d: levina_bickel(d, [5], average="mean"),
            r"average: expected one of \('inverse', 'plain'\), found 'mean'; choose one of them",
        ),
        (lambda d: levina_bickel(d, [5], np.zeros((100, 3), int)), r"expected one shape, pass both arrays"),
    ],
)
def test_refuses_what_cannot_be_measured(two_gaussians, call, message):
    with pytest.raises(InputError, match=message):
        call(two_gaussians[0])
