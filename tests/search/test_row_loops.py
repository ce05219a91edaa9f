"""Loops over whole rows and over keys, against NumPy and Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.search import duplicates, row_loops
from hpcgeom.search.kth import MOST_COUNTED, kth_smallest, put_in_order


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=150
    ),
    k=st.integers(1, 150),
)
def test_the_kth_smallest_is_that_of_a_sort(values, k):
    k = min(k, len(values))
    array = np.array([*values, -(2**63)], np.int64)  # the last one does not count
    assert kth_smallest(array, len(values), k) == sorted(values)[k - 1]
    assert kth_smallest(array, len(values), k, 5) in sorted(values)[k - 1 : k + 5]
    narrow = (array >> 32).astype(np.int32)
    assert kth_smallest(narrow, len(values), k) == sorted(narrow[:-1].tolist())[k - 1]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=80),
    repeats=st.sampled_from([1, 4]),
)
def test_a_few_are_put_in_order_as_by_a_sort(values, repeats):
    """With equal ones, and with more than are counted."""
    array = np.array([*values * repeats, -(2**63)], np.int64)  # the last one does not count
    put_in_order(array, len(array) - 1, np.empty(len(array), np.int64))
    assert array.tolist() == [*sorted(values * repeats), -(2**63)]


@pytest.mark.parametrize("n", [64, MOST_COUNTED, MOST_COUNTED + 1])
def test_different_ones_are_put_in_order(rng, n):
    array = rng.permutation(3 * n)[:n] - n
    expected = np.sort(array)
    put_in_order(array, n, np.empty(n, np.int64))
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 7, 8, 21])
def test_rows_are_centered_scaled_and_rounded_as_numpy_does_it(rng, dtype, n_features):
    rows = rng.standard_normal((30, n_features)).astype(dtype)
    center, scale = rng.standard_normal(n_features), 2.0**-5
    rounded, norm = np.empty(rows.shape, np.float32), np.empty(30)
    row_loops.center_and_round(rows, center, scale, rounded, norm)
    np.testing.assert_array_equal(rounded, ((rows.astype(np.float64) - center) * scale).astype(np.float32))
    np.testing.assert_allclose(norm, np.linalg.norm(rounded.astype(np.float64), axis=1), rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_and_means_are_those_of_numpy(rng, dtype):
    rows = rng.standard_normal((50, 9)).astype(dtype)
    smallest, largest, mean = np.full(9, np.inf, dtype), np.full(9, -np.inf, dtype), np.zeros(9)
    limit = dtype(np.abs(rows).max())
    assert row_loops.look_over(rows, limit, 1 / 50, smallest, largest, mean) == 0
    np.testing.assert_array_equal(smallest, rows.min(axis=0))
    np.testing.assert_array_equal(largest, rows.max(axis=0))
    np.testing.assert_allclose(mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-13, atol=1e-15)
    rows[3, 2], rows[3, 4], rows[5, 0], rows[9, 8] = np.nan, -np.inf, np.inf, -2 * limit
    assert row_loops.look_over(rows, limit, 1 / 50, smallest, largest, mean) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hashes_are_the_upper_halves_of_sums_of_words_times_keys(rng, dtype):
    rows = rng.standard_normal((4, 5)).astype(dtype)
    hashes = duplicates.row_hashes(rows)
    words = rows.view(np.uint32)
    keys = duplicates._keys(words.shape[1])
    for row, found in zip(words.tolist(), hashes.tolist(), strict=True):
        sums = [sum(w * k for w, k in zip(row, of_one, strict=True)) % 2**64 for of_one in keys.tolist()]
        upper = [value >> 32 for value in sums]
        assert found == [(upper[0] << 32) + upper[1], (upper[2] << 32) + upper[3]]


def test_hashes_of_rows_of_small_integers_do_not_collide():
    """Many words that are equal, or nearly: 65,536 rows, all different."""
    rows = np.stack(np.meshgrid(*[np.arange(4.0)] * 8), axis=-1).reshape(-1, 8).astype(np.float32)
    hashes = duplicates.row_hashes(rows)
    assert len(np.unique(hashes, axis=0)) == len(rows) == 65_536
    for half in (hashes >> 32, hashes & np.uint64(2**32 - 1)):
        for column in half.T:  # each has the collisions of 32 random bits: half a one is expected
            assert len(rows) - len(np.unique(column)) < 8
