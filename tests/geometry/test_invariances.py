"""From points to numbers: what moving, turning, scaling, renaming and reordering points leaves as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian
from scipy.stats import ortho_group

from hpcgeom.geometry import (
    gride,
    label_overlap,
    label_overlap_balanced,
    overlap,
    overlap_matrix,
    twonn,
    twonn_bayes,
    twonn_mle,
    twonn_mle_censored,
)

K = 16
ESTIMATORS = (twonn, twonn_mle, twonn_mle_censored, twonn_bayes)
moved_clouds = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "n_points": st.integers(40, 120),
        "d": st.integers(2, 6),
        "exponent": st.floats(-6.0, 6.0),
        "offset": st.floats(-100.0, 100.0),
    }
)


class Moved:
    """Two layers of points with labels, before and after; neither has ties."""

    def __init__(self, seed, n_points, d, exponent, offset):
        rng = np.random.default_rng(seed)
        points = gaussian(rng, n_points, d)
        layers = [points, points + 0.3 * gaussian(rng, n_points, d)]
        order, names = rng.permutation(n_points), rng.permutation(4)
        self.before = [brute_neighbors(each, K) for each in layers]
        self.after = [
            brute_neighbors((each[order] @ ortho_group(d).rvs(random_state=rng) + offset) * 10.0**exponent, K)
            for each in layers
        ]
        self.labels = rng.integers(0, 3, n_points)
        self.new_labels = names[self.labels[order]]
        self.scale = 10.0**exponent


@settings(max_examples=40, deadline=None)
@given(made=moved_clouds)
def test_dimensions_stay(made):
    moved = Moved(**made)
    distances, others = moved.before[0][0], moved.after[0][0]
    for estimator in ESTIMATORS:
        before = estimator(distances, indices=moved.before[0][1])
        after = estimator(others, indices=moved.after[0][1])
        assert after.value == pytest.approx(before.value, rel=1e-6)
        assert after.error == pytest.approx(before.error, rel=1e-6)
    for mu_filter in ("none", "dadapy"):
        here, there = (gride(each, K, mu_filter) for each in (distances, others))
        np.testing.assert_allclose(there.value, here.value, rtol=1e-6)
        np.testing.assert_allclose(there.error, here.error, rtol=1e-6)
        np.testing.assert_allclose(there.distance, here.distance * moved.scale, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(made=moved_clouds)
def test_overlaps_stay_also_where_each_layer_moves_in_its_own_way(made):
    moved = Moved(**made)
    before, after = (np.stack([each[1] for each in side]) for side in (moved.before, moved.after))
    ks = [1, 5, K]
    np.testing.assert_array_equal(overlap_matrix(after, ks), overlap_matrix(before, ks))
    for k in ks:
        assert overlap(*after, k).error == pytest.approx(overlap(*before, k).error, rel=1e-12)
        for measure in (label_overlap, label_overlap_balanced):
            here = measure(before[0], moved.labels, k)
            there = measure(after[0], moved.new_labels, k)
            assert there.value == pytest.approx(here.value, rel=1e-12)
            assert there.error == pytest.approx(here.error, rel=1e-12)
