import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import gaussian

from hpcgeom.errors import InputError
from hpcgeom.geometry import Covariance, pca_components, spectrum
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)


def seen(points, n_blocks=1):
    covariance = Covariance(points.shape[1], n_blocks)
    covariance.add(points)
    return covariance


def ratio_by_eigenvalues(points):
    values = np.linalg.eigvalsh(np.cov(points, rowvar=False))
    return values.sum() ** 2 / np.sum(values**2)


def test_eigenvalues_are_those_of_scikit_learn(rng):
    from sklearn.decomposition import PCA

    points = gaussian(rng, 300, 12) @ rng.standard_normal((12, 12)) + 3.0
    theirs = PCA().fit(points)
    result = spectrum(seen(points))
    np.testing.assert_allclose(result.eigenvalues, theirs.explained_variance_, rtol=1e-10)
    fractions = (0.5, 0.8, 0.9, 0.99)
    expected = [PCA(n_components=fraction).fit(points).n_components_ for fraction in fractions]
    assert pca_components(result.eigenvalues, fractions).tolist() == expected
    assert (result.n_points, result.status) == (300, Status.OK)


def test_covariance_and_mean_are_those_of_numpy(rng):
    points = gaussian(rng, 50, 7)
    covariance = seen(points, n_blocks=3)
    np.testing.assert_allclose(covariance.matrix(), np.cov(points, rowvar=False), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(covariance.mean(), points.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(covariance.matrix(), covariance.matrix().T)


@settings(max_examples=40, deadline=None)
@given(
    n_rows=st.integers(2, 60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    n_blocks=st.integers(1, 5),
    n_first=st.integers(0, 60),
    seed=seeds,
)
def test_blocks_and_merges_are_the_whole(n_rows, cuts, n_blocks, n_first, seed):
    points = gaussian(np.random.default_rng(seed), n_rows, 4) + 100.0
    first, second = Covariance(4, n_blocks), Covariance(4, n_blocks)
    for part in np.split(points[:n_first], sorted(cuts)):
        first.add(part)
    for part in np.split(points[n_first:], sorted(cuts)):
        second.add(part)
    first.merge(second)
    assert first.n_rows == n_rows
    np.testing.assert_allclose(first.matrix(), np.cov(points, rowvar=False), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(first.mean(), points.mean(axis=0), rtol=1e-14)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=5), n_blocks=st.integers(2, 7), seed=seeds)
def test_rows_are_dealt_in_turn_whatever_the_blocks(cuts, n_blocks, seed):
    points = gaussian(np.random.default_rng(seed), 40, 3)
    covariance = Covariance(3, n_blocks)
    for part in np.split(points, sorted(cuts)):
        covariance.add(part)
    whole = spectrum(seen(points, n_blocks))
    result = spectrum(covariance)
    assert result.participation_ratio == pytest.approx(whole.participation_ratio, rel=1e-12)
    assert result.participation_ratio_error == pytest.approx(whole.participation_ratio_error, rel=1e-8)


def test_merging_leaves_the_other_as_it_is(rng):
    first, second = seen(gaussian(rng, 20, 3)), seen(gaussian(rng, 20, 3))
    before = second.matrix().copy()
    first.merge(second)
    first.add(gaussian(rng, 20, 3))
    np.testing.assert_array_equal(second.matrix(), before)
    empty = Covariance(3)
    empty.merge(second)
    empty.merge(Covariance(3))
    empty.add(gaussian(rng, 20, 3))
    np.testing.assert_array_equal(second.matrix(), before)


def test_a_large_offset_costs_no_digits(rng):
    small = np.round(gaussian(rng, 500, 6) * 2**20) / 2**20  # exact with the offset added
    offset = np.array([2.0**30, 0.0, -(2.0**25), 1.0, 2.0**31, 0.0])
    moved = Covariance(6, n_blocks=5)
    for part in np.split(small + offset, [1, 100, 350]):
        moved.add(part)
    np.testing.assert_allclose(moved.matrix(), np.cov(small, rowvar=False), rtol=1e-11, atol=1e-13)
    plain, offset_one = spectrum(seen(small, 5)), spectrum(moved)
    assert offset_one.participation_ratio_error == pytest.approx(plain.participation_ratio_error, rel=1e-8)


def test_merged_offsets_cost_no_digits(rng):
    small = np.round(gaussian(rng, 200, 3) * 2**20) / 2**20
    left, right = seen(small[:100] + 2.0**30), seen(small[100:] + 2.0**30)
    left.merge(right)
    np.testing.assert_allclose(left.matrix(), np.cov(small, rowvar=False), rtol=1e-11, atol=1e-13)


def test_participation_ratio_is_that_of_its_eigenvalues(rng):
    points = gaussian(rng, 100, 8) * np.arange(1, 9)
    result = spectrum(seen(points))
    assert result.participation_ratio == pytest.approx(ratio_by_eigenvalues(points), rel=1e-12)
    assert np.isnan(result.participation_ratio_error)


def test_participation_ratio_counts_directions(rng):
    n_points, d = 20_000, 10
    flat = np.zeros((n_points, 40))
    flat[:, :d] = gaussian(rng, n_points, d)
    rotation = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    assert spectrum(seen(flat @ rotation)).participation_ratio == pytest.approx(
        1 / (1 / d + 1 / n_points), rel=1e-3
    )
    line = np.outer(rng.standard_normal(50), rng.standard_normal(6))
    assert spectrum(seen(line)).participation_ratio == pytest.approx(1.0, rel=1e-12)


def test_few_points_lower_the_ratio_as_is_said(rng):
    d, n_points = 20, 100
    found = [spectrum(seen(gaussian(rng, n_points, d))).participation_ratio for _ in range(200)]
    assert np.mean(1 / np.array(found)) == pytest.approx(1 / d + 1 / n_points, rel=0.01)


def test_error_is_the_jackknife_over_groups_of_rows(rng):
    points, n_blocks = gaussian(rng, 203, 5) * np.arange(1, 6) + 7.0, 10
    result = spectrum(seen(points, n_blocks))
    group = np.arange(203) % n_blocks
    without = np.array([ratio_by_eigenvalues(points[group != g]) for g in range(n_blocks)])
    expected = np.sqrt(0.9 * np.sum((without - without.mean()) ** 2))
    assert result.participation_ratio_error == pytest.approx(expected, rel=1e-9)


def test_error_is_the_spread_over_clouds(rng):
    scale = 1 / np.sqrt(np.arange(1, 9))
    found = [spectrum(seen(gaussian(rng, 400, 8) * scale, 20)) for _ in range(200)]
    spread = np.std([result.participation_ratio for result in found])
    assert np.mean([result.participation_ratio_error for result in found]) == pytest.approx(spread, rel=0.12)


def test_rows_in_the_order_of_their_classes_have_the_error_of_shuffled_ones(rng):
    points = np.concatenate([gaussian(rng, 200, 4) + center for center in 5 * gaussian(rng, 10, 4)])
    ordered = spectrum(seen(points, 20)).participation_ratio_error
    shuffled = [spectrum(seen(rng.permutation(points), 20)).participation_ratio_error for _ in range(20)]
    assert ordered < 1.5 * np.mean(shuffled)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, exponent=st.floats(-30.0, 30.0))
def test_ignores_rotation_translation_and_unit(seed, exponent):
    rng = np.random.default_rng(seed)
    points = gaussian(rng, 40, 5) * np.arange(1, 6)
    rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    here = spectrum(seen(points, 4))
    there = spectrum(seen((points @ rotation + rng.standard_normal(5)) * 10.0**exponent, 4))
    assert there.participation_ratio == pytest.approx(here.participation_ratio, rel=1e-10)
    assert there.participation_ratio_error == pytest.approx(here.participation_ratio_error, rel=1e-7)
    np.testing.assert_allclose(there.eigenvalues, here.eigenvalues * 100.0**exponent, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.uint8])
def test_takes_any_real_type_in_double_precision(rng, dtype):
    points = (100 + 20 * gaussian(rng, 80, 3)).astype(dtype)
    expected = np.cov(points.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(seen(points).matrix(), expected, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("n_points", [2, 3, 10, 1000])
def test_equal_rows_are_constant(value, n_points):
    covariance = seen(np.full((n_points, 4), value), n_blocks=2)
    covariance.merge(seen(np.full((n_points, 4), value), n_blocks=2))
    result = spectrum(covariance)
    assert result.status is Status.CONSTANT
    assert result.eigenvalues.tolist() == [0.0] * 4
    assert np.isnan([result.participation_ratio, result.participation_ratio_error]).all()
    assert pca_components(result.eigenvalues).tolist() == [0, 0, 0]


@pytest.mark.parametrize("n_points", [0, 1])
def test_fewer_than_two_rows_are_too_few(n_points):
    covariance = seen(np.ones((n_points, 3)))
    result = spectrum(covariance)
    assert (result.status, result.n_points) == (Status.TOO_FEW_POINTS, n_points)
    assert result.eigenvalues.shape == (3,)
    assert np.isnan([*result.eigenvalues, result.participation_ratio, *covariance.matrix().ravel()]).all()
    assert np.isnan(covariance.mean()).all() == (n_points == 0)


def test_few_rows_have_a_ratio_but_no_error_without_enough_groups(rng):
    for n_points, known in ((2, False), (3, True), (10, True)):
        result = spectrum(seen(gaussian(rng, n_points, 6), n_blocks=3))
        assert 1 - 1e-12 <= result.participation_ratio <= n_points - 1 + 1e-9
        assert np.isnan(result.participation_ratio_error) != known
    for _ in range(20):  # one row is left without the two others: rounding must not pass for its variance
        assert np.isnan(spectrum(seen(gaussian(rng, 3, 6), n_blocks=2)).participation_ratio_error)


@pytest.mark.parametrize("percent", [0, 1, 5, 20])
def test_copies_of_rows_are_rows(rng, percent):
    points = gaussian(rng, 200, 4)
    points[: 2 * percent] = points[2 * percent : 4 * percent]
    np.testing.assert_allclose(seen(points).matrix(), np.cov(points, rowvar=False), rtol=1e-10, atol=1e-13)


def test_components_hold_their_share_and_no_fewer_do():
    assert pca_components([4.0, 3.0, 2.0, 1.0], (0.39, 0.4, 0.41, 0.7, 0.9, 0.99)).tolist() == [
        1,
        1,
        2,
        2,
        3,
        4,
    ]
    assert pca_components([1.0], (0.5,)).dtype == np.int64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Covariance(0), r"n_features: expected 1 or more, found 0; raise it"),
        (lambda: Covariance(3, 0), r"n_blocks: expected 1 or more, found 0; raise it"),
        (
            lambda: seen(np.ones((2, 3))).add(np.ones((2, 4))),
            r"rows: expected shape \(rows, 3\), found \(2, 4\)",
        ),
        (lambda: Covariance(3).add(np.ones(3)), r"rows: expected shape \(rows, 3\), found \(3,\)"),
        (lambda: Covariance(1).add([[1.0]]), r"rows: expected an array of real numbers, found list"),
        (lambda: Covariance(1).add(np.ones((1, 1), complex)), r"real numbers, found complex128; pass"),
        (
            lambda: seen(np.ones((4, 2))).add(np.array([[1.0, 2.0], [np.nan, 1.0]])),
            r"rows: row 5 in order of addition has NaN or a number of 1e\+140 or more.*leave the row out",
        ),
        (lambda: Covariance(1).add(np.array([[-np.inf]])), r"row 0 in order of addition"),
        (lambda: Covariance(1).add(np.array([[1e200]])), r"row 0 in order of addition"),
        (
            lambda: Covariance(2).merge(Covariance(3)),
            r"expected \(n_features, n_blocks\) = \(2, 1\), found \(3, 1\)",
        ),
        (lambda: pca_components([1.0, 2.0]), r"eigenvalues: expected finite numbers in descending order"),
        (lambda: pca_components([np.nan]), r"eigenvalues: expected finite numbers"),
        (lambda: pca_components([]), r"eigenvalues: .* found shape \(0,\); pass those of spectrum"),
        (lambda: pca_components([1.0], (1.0,)), r"fractions: expected numbers in \(0, 1\), found 1.0"),
    ],
)
def test_refuses_what_has_no_covariance(call, message):
    with pytest.raises(InputError, match=message):
        call()
