"""Exact distances of eight rows at a time: against sums from left to right."""

from __future__ import annotations

import numpy as np
import pytest
from search_oracle import oracle_distances

from hpcgeom.search import compiled, distances


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 7, 8, 9, 40, 131])
def test_sums_are_those_from_left_to_right(dtype, n_features, rng):
    base = (rng.standard_normal((30, n_features)) * 10.0 ** rng.integers(-9, 9, (30, 1))).astype(dtype)
    query, chosen = rng.standard_normal(n_features), rng.permutation(30)[:8]
    squared = np.full(8, np.nan)
    distances.squared_distances(query, base, chosen, squared)
    difference = query - base[chosen].astype(np.float64)
    np.testing.assert_array_equal(squared, np.cumsum(np.square(difference), axis=1)[:, -1])


@pytest.mark.parametrize("n", [1, 5, 8])
def test_squares_that_do_not_fit_float64_are_scaled(n, rng):
    base = rng.standard_normal((8, 11)) * np.array([1e-200, 1e200, 1, 0, 1e-300, 1e299, 3, 1e-160])[:, None]
    query, found = base[3] + 0.0, np.full(8, np.nan)
    distances.distances(query, base, np.arange(8), n, found)
    np.testing.assert_array_equal(found[:n], oracle_distances(query, base)[:n])


def test_rows_that_are_not_contiguous_are_not_measured(rng):
    """They would be read as if they were."""
    rows, keys, counts = rng.standard_normal((6, 8)), np.zeros((3, 1), np.int64), np.ones(3, np.int32)
    with pytest.raises(Exception, match="distances are measured of contiguous rows"):
        compiled.measure(rows[:3], rows[:, ::2], 0, keys, counts, np.empty((3, 1)))
