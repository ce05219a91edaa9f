import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian

from hpcgeom.errors import InputError
from hpcgeom.geometry import first_two_within, subsets

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(n_points=st.integers(1, 300), data_fraction=st.floats(0.01, 1.0), seed=seeds)
def test_subsets_are_disjoint_sorted_rows_of_one_size(n_points, data_fraction, seed):
    drawn = subsets(n_points, data_fraction, seed)
    assert len(drawn) == round(1 / data_fraction)
    together = np.concatenate(drawn)
    assert np.unique(together).size == together.size
    assert together.size == 0 or (together.min() >= 0 and together.max() < n_points)
    for rows in drawn:
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        assert rows.size == drawn[0].size <= round(data_fraction * n_points)


@pytest.mark.parametrize(
    ("n_points", "data_fraction", "n_subsets", "size"),
    [
        (100, 1.0, 1, 100),
        (100, 0.5, 2, 50),
        (101, 0.25, 4, 25),
        (1000, 1 / 32, 32, 31),
        (100, 0.6, 2, 50),
        (90, 0.4, 2, 36),
    ],
)
def test_subsets_hold_their_share(n_points, data_fraction, n_subsets, size):
    assert [rows.size for rows in subsets(n_points, data_fraction, 0)] == [size] * n_subsets


def test_the_seed_decides_the_subsets():
    first, again, other = (subsets(1000, 0.25, seed) for seed in (3, 3, 4))
    for here, there in zip(first, again, strict=True):
        np.testing.assert_array_equal(here, there)
    assert not np.array_equal(first[0], other[0])


def test_subsets_are_cut_from_a_permutation_by_pcg64():
    order = np.random.Generator(np.random.PCG64(7)).permutation(20)
    np.testing.assert_array_equal(subsets(20, 0.5, 7)[1], np.sort(order[10:]))


def test_rows_are_drawn_evenly():
    drawn = np.bincount(np.concatenate([subsets(50, 0.2, seed)[0] for seed in range(2000)]), minlength=50)
    assert drawn.mean() == 400.0
    assert abs(drawn - 400).max() < 5 * np.sqrt(400 * 0.8)


@settings(max_examples=50, deadline=None)
@given(n_points=st.integers(3, 60), data_fraction=st.sampled_from([1.0, 0.5, 0.25]), seed=seeds)
def test_walks_to_the_neighbors_that_a_search_in_the_subset_finds(n_points, data_fraction, seed):
    points = gaussian(np.random.default_rng(seed), n_points, 2)
    distances, indices = brute_neighbors(points, n_points - 1)
    for members in subsets(n_points, data_fraction, seed):
        found, short = first_two_within(distances, indices, members)
        if members.size < 3:
            assert short.all()
            assert np.isnan(found).all()
        else:
            assert not short.any()
            np.testing.assert_array_equal(found, brute_neighbors(points[members], 2)[0])


def test_flags_lists_that_end_too_soon(rng):
    points = gaussian(rng, 200, 2)
    distances, indices = brute_neighbors(points, 10)
    members = subsets(200, 0.25, 1)[2]
    found, short = first_two_within(distances, indices, members)
    truth = brute_neighbors(points[members], 2)[0]
    inside = np.isin(indices[members], members).sum(axis=1)
    np.testing.assert_array_equal(short, inside < 2)
    assert 0 < short.sum() < members.size
    np.testing.assert_array_equal(found[~short], truth[~short])
    assert np.isnan(found[short]).all()


def test_missing_neighbors_are_in_no_subset():
    distances = np.array([[1.0, np.nan, np.nan], [1.0, np.nan, np.nan], [2.0, 3.0, np.nan]])
    indices = np.array([[1, -1, -1], [0, -1, -1], [0, 1, -1]])
    found, short = first_two_within(distances, indices, np.array([0, 1, 2]))
    assert short.tolist() == [True, True, False]
    assert found[2].tolist() == [2.0, 3.0]


def test_leaves_its_input_alone(rng):
    distances, indices = brute_neighbors(gaussian(rng, 30, 2), 8)
    before = indices.copy()
    first_two_within(distances, indices, np.arange(0, 30, 2))
    np.testing.assert_array_equal(indices, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subsets(0, 0.5, 1), r"n_points: expected 1 or more, found 0"),
        (
            lambda: subsets(10, 0.0, 1),
            r"data_fraction: expected a number in \(0, 1\], found 0.0; pass the share",
        ),
        (lambda: subsets(10, 1.5, 1), r"data_fraction: .* found 1.5"),
        (lambda: subsets(10, float("nan"), 1), r"data_fraction: .* found nan"),
        (
            lambda: first_two_within(np.ones((3, 2)), np.ones((3, 2)), np.arange(3)),
            r"indices: expected integers",
        ),
        (
            lambda: first_two_within(np.ones((3, 1)), np.ones((3, 2), int), np.arange(3)),
            r"shape \(3, 1\) and indices \(3, 2\)",
        ),
        (
            lambda: first_two_within(np.ones((3, 2)), np.full((3, 2), 3), np.arange(3)),
            r"row numbers in 0\.\.2, or -1, found 3\.\.3",
        ),
    ],
)
def test_refuses_what_cannot_be_drawn(call, message):
    with pytest.raises(InputError, match=message):
        call()
