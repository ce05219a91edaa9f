"""Retrieval of labels by queries, against loops and against scikit-learn's classifier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from hpcgeom.errors import InputError
from hpcgeom.geometry import retrieval


def by_loops(indices, base, query, k):
    """Whether each query finds its label among k, and which share of the k has it."""
    hits, shares = [], []
    for row, own in zip(indices.tolist(), query.tolist(), strict=True):
        n_found = len([j for j in row[:k] if j >= 0 and base[j] == own])
        hits.append(n_found > 0)
        shares.append(n_found / k)
    return hits, shares


@settings(max_examples=60, deadline=None)
@given(
    n_base=st.integers(1, 30),
    n_queries=st.integers(1, 12),
    n_labels=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_number_is_that_of_loops_over_queries(n_base, n_queries, n_labels, seed):
    rng = np.random.default_rng(seed)
    indices = np.array([rng.permutation(n_base) for _ in range(n_queries)])
    indices[rng.random(indices.shape) < 0.1] = -1
    base, query = rng.integers(0, n_labels, n_base), rng.integers(0, n_labels + 1, n_queries)
    ks = list(range(n_base, 0, -1))
    found = retrieval(indices, base, query, ks)
    for column, k in enumerate(ks):
        hits, shares = by_loops(indices, base, query, k)
        p, mean = sum(hits) / n_queries, sum(shares) / n_queries
        spread = sum((share - mean) ** 2 for share in shares) / n_queries
        assert found.accuracy[column] == pytest.approx(p, abs=1e-14)
        assert found.accuracy_error[column] == pytest.approx((p * (1 - p) / n_queries) ** 0.5, abs=1e-14)
        assert found.overlap[column] == pytest.approx(mean, abs=1e-14)
        assert found.overlap_error[column] == pytest.approx((spread / n_queries) ** 0.5, abs=1e-7)
    assert found.n_queries == n_queries
    assert found.n_unknown_label == sum(label not in base.tolist() for label in query.tolist())


def test_the_nearest_neighbor_classifier_of_scikit_learn_is_as_accurate():
    rng = np.random.default_rng(4)
    base, queries = rng.standard_normal((400, 5)), rng.standard_normal((150, 5))
    base_labels = (base[:, 0] > 0).astype(int) + 2 * (base[:, 1] > 0)
    query_labels = (queries[:, 0] > 0).astype(int) + 2 * (queries[:, 1] > 0)
    squares = ((queries[:, None] - base[None]) ** 2).sum(axis=2)
    found = retrieval(np.argsort(squares, axis=1)[:, :3], base_labels, query_labels, [1, 3])
    classifier = KNeighborsClassifier(1).fit(base, base_labels)
    assert found.accuracy[0] == pytest.approx(classifier.score(queries, query_labels), abs=1e-14)
    assert 0.5 < found.accuracy[0] < found.accuracy[1] < 1.0
    assert found.overlap[0] == found.accuracy[0]  # one neighbor: a share is a hit


def test_the_binomial_error_is_the_spread_of_accuracies_of_other_queries():
    rng = np.random.default_rng(5)
    base, n_queries = np.array([0, 1, 1, 1]), 200
    drawn = [
        retrieval(rng.integers(0, 4, (n_queries, 1)), base, np.ones(n_queries, int), [1]) for _ in range(400)
    ]
    spread = np.std([each.accuracy[0] for each in drawn])
    assert np.mean([each.accuracy_error[0] for each in drawn]) == pytest.approx(spread, rel=0.1)


def test_a_label_that_the_base_lacks_is_missed_and_counted():
    found = retrieval(np.array([[0], [1], [1]]), np.array([0, 1]), np.array([0, 7, 1]), [1])
    assert (found.accuracy[0], found.n_unknown_label) == (2 / 3, 1)


def test_without_queries_there_is_no_number():
    found = retrieval(np.empty((0, 3), int), np.array([0, 1, 2]), np.empty(0, int), [1, 2])
    numbers = (found.accuracy, found.accuracy_error, found.overlap, found.overlap_error)
    assert all(np.isnan(each).all() and each.shape == (2,) for each in numbers)
    assert (found.n_queries, found.n_unknown_label) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"indices": np.array([0, 1])}, r"indices: expected integers of shape \(queries, neighbors\)"),
        ({"indices": np.array([[0, 3]])}, r"row 0, column 1 is 3, expected a base row in 0\.\.2, or -1"),
        ({"indices": np.array([[-2, 0]])}, r"row 0, column 0 is -2"),
        ({"query_labels": np.array([0, 1])}, "expected one for each of the 1 lists, found 2"),
        ({"base_labels": np.array([0.0, 1.0, 2.0])}, "base_labels: expected integers of shape .* float64"),
        ({"query_labels": ["a"]}, "query_labels: expected integers of shape .*found list"),
        ({"ks": [3]}, r"k = 3 is not in 1\.\.2, the length of the neighbor lists"),
        ({"ks": []}, "expected at least one k, found none"),
    ],
)
def test_refuses(changes, expected):
    good = {
        "indices": np.array([[0, 1]]),
        "base_labels": np.array([0, 1, 2]),
        "query_labels": np.array([0]),
        "ks": [1],
    }
    with pytest.raises(InputError, match=expected):
        retrieval(**{**good, **changes})
