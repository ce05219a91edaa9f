import numpy as np
import pytest
from known_clouds import brute_neighbors, gaussian, tree_neighbors

from hpcgeom.errors import InputError
from hpcgeom.geometry import gride, half_sample_errors, twonn_mle
from hpcgeom.geometry.half_samples import MAX_SHORT_SHARE


def two_neighbors(lists):
    return twonn_mle(lists).value


def test_is_the_difference_of_clouds_that_are_searched_again(rng):
    points = gaussian(rng, 101, 3)
    distances, indices = brute_neighbors(points, 60)
    generator = np.random.Generator(np.random.PCG64(5))
    squares = []
    for _ in range(7):
        side = generator.permutation(101) % 2
        a, b = (gride(brute_neighbors(points[side == half], 8)[0], 8).value for half in (0, 1))
        squares.append((a - b) ** 2)
    found = half_sample_errors(lambda lists: gride(lists, 8).value, distances, indices, 8, n_splits=7, seed=5)
    np.testing.assert_allclose(found, np.sqrt(np.mean(squares, axis=0)) / 2, rtol=1e-9)


@pytest.mark.parametrize("n2", [4, 16])
def test_is_the_spread_over_clouds_where_points_share_neighbors(n2):
    values, errors, plain = [], [], []
    for seed in range(80):
        distances, indices = tree_neighbors(np.random.default_rng(seed).random((300, 2)), 48, period=1.0)
        result = gride(distances, n2)
        values.append(result.value[-1])
        plain.append(result.error[-1])
        errors.append(
            half_sample_errors(lambda lists: gride(lists, n2).value[-1], distances, indices, n2, n_splits=8)
        )
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)
    assert np.mean(plain) < 0.85 * np.std(values)


def test_a_measure_of_one_number_has_one_error(two_gaussians):
    found = half_sample_errors(two_neighbors, *two_gaussians, 2)
    assert found.shape == ()
    assert 0.1 < found < 0.6


def test_the_seed_decides(two_gaussians):
    first, again, other = (half_sample_errors(two_neighbors, *two_gaussians, 2, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_lists_that_end_too_soon_have_no_error(rng):
    points = gaussian(rng, 2000, 2)
    distances, indices = tree_neighbors(points, 64)
    assert half_sample_errors(two_neighbors, distances, indices, 25) > 0  # as the docstring says
    for depth in (28, 31):  # 13 % and 40 % of the lists are too short
        assert np.isnan(half_sample_errors(two_neighbors, distances, indices, depth))


def test_no_neighbor_is_in_no_half(rng):
    distances, indices = brute_neighbors(gaussian(rng, 400, 2), 40)
    padded = np.pad(distances, ((0, 0), (0, 30)), constant_values=np.nan)
    names = np.pad(indices, ((0, 0), (0, 30)), constant_values=-1)
    expected = half_sample_errors(two_neighbors, distances, indices, 13)
    assert half_sample_errors(two_neighbors, padded, names, 13) == expected > 0


def test_rows_that_cannot_be_measured_in_a_half_are_nan(two_gaussians):
    seen = []

    def measure(lists):
        seen.append(np.isnan(lists).all(axis=1).mean())
        assert (np.isnan(lists).any(axis=1) == np.isnan(lists).all(axis=1)).all()
        return 1.0

    distances, indices = (array[:, :10] for array in two_gaussians)
    assert half_sample_errors(measure, distances, indices, 2) == 0.0
    assert 0 < np.mean(seen) < MAX_SHORT_SHARE


def test_rows_without_a_list_or_at_distance_zero_take_no_part(rng):
    """Rows without a list are second copies of a point, in lists over distinct points."""
    points = gaussian(rng, 200, 2)
    distances, indices = brute_neighbors(points, 20)
    holed_distances = np.insert(distances, [0, 100], np.nan, axis=0)
    holed_indices = np.insert(indices + 1 + (indices >= 100), [0, 100], -1, axis=0)
    sizes = []
    half_sample_errors(lambda lists: sizes.append(len(lists)) or 1.0, holed_distances, holed_indices, 2)
    assert set(sizes) == {100}
    np.testing.assert_array_equal(
        half_sample_errors(two_neighbors, holed_distances, holed_indices, 2),
        half_sample_errors(two_neighbors, distances, indices, 2),
    )
    distances[:20, 0] = 0.0
    counts = []
    half_sample_errors(
        lambda lists: counts.append(np.count_nonzero(lists[:, 0] > 0)) or 1.0,
        distances,
        indices,
        2,
        n_splits=1,
    )
    assert sum(counts) == 180


def test_leaves_its_input_alone(two_gaussians):
    distances, indices = (array.copy() for array in two_gaussians)
    half_sample_errors(two_neighbors, distances, indices, 2)
    np.testing.assert_array_equal(distances, two_gaussians[0])
    np.testing.assert_array_equal(indices, two_gaussians[1])


@pytest.mark.parametrize("n_points", [0, 2, 3, 10])
def test_too_few_points_have_no_error(rng, n_points):
    k = max(n_points - 1, 0)
    distances, indices = (
        brute_neighbors(gaussian(rng, n_points, 2), k) if n_points else (np.ones((0, 3)),) * 2
    )
    assert np.isnan(half_sample_errors(two_neighbors, distances, indices.astype(int), 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d, i: half_sample_errors(two_neighbors, d, i.astype(float), 2),
            r"indices: expected integers",
        ),
        (
            lambda d, i: half_sample_errors(two_neighbors, d, i[:, :5], 2),
            r"shape \(100, 64\) and indices \(100, 5\); expected one shape",
        ),
        (
            lambda d, i: half_sample_errors(two_neighbors, d, i + 1, 2),
            r"row numbers in 0\.\.99, or -1, found 1\.\.100; pass lists over all",
        ),
        (
            lambda d, i: half_sample_errors(two_neighbors, d, i, 0),
            r"depth: expected 1 or more, found 0; 2 is",
        ),
        (
            lambda d, i: half_sample_errors(two_neighbors, d, i, 2, n_splits=0),
            r"n_splits: expected 1 or more, found 0; 32 is usual",
        ),
        (lambda d, i: half_sample_errors(two_neighbors, -d, i, 2), r"distances: row 0, column 0"),
    ],
)
def test_refuses_what_cannot_be_halved(two_gaussians, call, message):
    with pytest.raises(InputError, match=message):
        call(*two_gaussians)
