"""Points of a unit are put together from batches in any order; none is there that never came."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hpcgeom.stages.extract import UnitPoints


@given(order=st.permutations(range(7)), n_given=st.integers(0, 7), cut=st.integers(0, 7))
def test_what_never_comes_is_nan_whatever_was_in_the_memory(order, n_given, cut):
    expected = np.full((2, 7, 3), np.nan, np.float32)
    points = UnitPoints(np.full((2, 7, 3), 5.0, np.float32))
    for part in (order[:n_given][:cut], order[:n_given][cut:]):
        places = np.array(part, np.intp)
        values = np.random.default_rng(len(part)).standard_normal((2, len(part), 3)).astype(np.float32)
        points.put(places, values)
        expected[:, places] = values
    np.testing.assert_array_equal(points.whole(), expected)
