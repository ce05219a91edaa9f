"""Labels beyond plain overlaps: another family's neighbors, the nearest one, the layer of least dimension."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
import run_oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.geometry.exclusion import other_neighbors, other_points
from hpcgeom.search import ArrayRows
from hpcgeom.stages import label_profile

LAYERS = [
    (model, layer, points)
    for model, layers in arrays_run.clouds().items()
    for layer, points in layers.items()
    if np.ptp(points) > 0.0
]
LABELS = arrays_run.labels()


def by_loops(points, classes, families, k):
    """Mean share, its error, and the accuracy of the nearest, over neighbors of other families."""
    order = run_oracle.neighbors(points, len(points) - 1)[1]
    shares, right = [], []
    for row, neighbors in enumerate(order.tolist()):
        others = [each for each in neighbors if families[each] != families[row]]
        if len(others) >= k:
            shares.append(sum(classes[each] == classes[row] for each in others[:k]) / k)
        if others:
            right.append(classes[others[0]] == classes[row])
    return np.mean(shares), np.std(shares) / np.sqrt(len(shares)), np.mean(right), len(shares)


@pytest.mark.parametrize(("model", "layer", "points"), LAYERS)
def test_neighbors_of_the_own_family_are_left_out_and_others_searched_again(measured, model, layer, points):
    here = measured.results.sel(model=model, layer=layer, label="third")
    for k in (1, 5, 32):
        # Of 64 neighbors about half are of the other parity: with k = 32 many lists end too soon.
        value, error, right, n = by_loops(points, LABELS["third"], LABELS["parity"], k)
        at = here.sel(k=k)
        assert at.label_overlap_excluded == pytest.approx(value, abs=1e-12)
        assert at.label_overlap_excluded_error == pytest.approx(error, abs=1e-12)
        assert at.label_overlap_excluded_n_points == n == arrays_run.N
        assert here.top_1_accuracy_excluded == pytest.approx(right, abs=1e-12)


def test_only_the_label_that_was_named_has_neighbors_left_out(measured):
    assert measured.results.attrs["exclude_same"] == "third: parity"
    parity = measured.results.sel(label="parity")
    for name in ("label_overlap_excluded", "top_1_accuracy_excluded", "label_overlap_excluded_chance"):
        assert np.isnan(parity[name]).all(), name
    assert (parity.label_overlap_excluded_n_points == 0).all()


def test_chance_is_the_share_among_all_points_of_other_families(measured):
    third, parity = LABELS["third"], LABELS["parity"]
    shares = []
    for row, family in enumerate(parity):
        others = [each for each in range(arrays_run.N) if parity[each] != family]
        shares.append(sum(third[each] == third[row] for each in others) / len(others))
    found = measured.results.label_overlap_excluded_chance.sel(model="wide", layer=0, label="third")
    assert found == pytest.approx(np.mean(shares), abs=1e-12)


def test_the_accuracy_of_the_nearest_neighbor_is_the_overlap_at_one(measured):
    results = measured.results
    np.testing.assert_allclose(results.top_1_accuracy, results.label_overlap.sel(k=1), rtol=1e-12)
    p = results.top_1_accuracy
    np.testing.assert_allclose(results.top_1_accuracy_error, np.sqrt(p * (1 - p) / arrays_run.N), rtol=1e-12)


def test_a_constant_layer_has_no_accuracy(measured):
    here = measured.results.sel(model="deep", layer=1)
    for name in ("top_1_accuracy", "top_1_accuracy_excluded", "label_overlap_excluded"):
        assert np.isnan(here[name]).all(), name


def test_the_layer_of_least_dimension_is_named_with_its_label_overlap(measured):
    results = measured.results
    for model in ("wide", "deep"):
        for estimator in results.estimator.values:
            curve = results.intrinsic_dimension.sel(model=model, estimator=estimator)
            expected = int(curve.layer[np.nanargmin(curve)])
            assert results.minimum_layer.sel(model=model, estimator=estimator) == expected
            np.testing.assert_array_equal(
                results.label_overlap_at_minimum.sel(model=model, estimator=estimator),
                results.label_overlap.sel(model=model, layer=expected),
            )
        last = arrays_run.LAYERS[model][-1]
        np.testing.assert_array_equal(
            results.label_overlap_at_last.sel(model=model), results.label_overlap.sel(model=model, layer=last)
        )


@settings(max_examples=50, deadline=None)
@given(data=st.data(), n=st.integers(2, 12), n_families=st.integers(1, 4))
def test_lists_of_other_families_are_those_of_loops(data, n, n_families):
    families = np.array(data.draw(st.lists(st.integers(0, n_families - 1), min_size=n, max_size=n)))
    k_list, k = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    indices = np.stack([rng.permutation(np.delete(np.arange(n), row))[:k_list] for row in range(n)])
    found = other_neighbors(indices, families, k)
    for row in range(n):
        others = [each for each in indices[row] if families[each] != families[row]][:k]
        assert found[row].tolist() == others + [-1] * (k - len(others))
    classes = rng.integers(0, 2, n)
    known = other_points(classes, families)
    for row in range(n):
        others = families != families[row]
        assert known.n_others[row] == others.sum()
        assert known.n_same[row] == (others & (classes == classes[row])).sum()


def test_points_with_fewer_other_points_than_k_enter_no_number_and_are_counted():
    points = np.random.default_rng(0).standard_normal((9, 2))
    families = np.array([0] * 7 + [1, 2])
    found = label_profile._searched(
        run_oracle.neighbors(points, 3)[1], families, 3, ArrayRows(points), "euclidean"
    )
    assert (found >= 0).sum(axis=1).tolist() == [2] * 7 + [3, 3]
    values = label_profile._beyond_families(found, np.zeros(9, dtype=int), families, [1, 2, 3])
    assert values["label_overlap_excluded_n_points"].tolist() == [9, 9, 2]
    assert values["label_overlap_excluded"].tolist() == [1.0, 1.0, 1.0]


def test_one_family_leaves_nobody():
    points, families = np.random.default_rng(0).standard_normal((6, 2)), np.zeros(6, dtype=int)
    found = label_profile._searched(
        run_oracle.neighbors(points, 3)[1], families, 2, ArrayRows(points), "euclidean"
    )
    values = label_profile._beyond_families(found, np.arange(6), families, [2])
    assert np.isnan(values["label_overlap_excluded"]).all()
    assert values["label_overlap_excluded_n_points"] == [0]
    assert np.isnan(values["label_overlap_excluded_chance"])
    assert np.isnan(values["top_1_accuracy_excluded"])
    assert values["n_unmatched_points_excluded"] == 6
