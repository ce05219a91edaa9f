import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_clouds import brute_neighbors, gaussian, random_lists

from hpcgeom.errors import InputError
from hpcgeom.geometry import (
    class_fraction_ks,
    label_overlap,
    label_overlap_balanced,
    label_overlap_counts,
    label_overlap_from_counts,
)
from hpcgeom.types import Status

CLASSES = np.array([0] * 20 + [1] * 20)
seeds = st.integers(0, 2**32 - 1)


def shares_by_loops(indices, labels, k):
    return np.array(
        [
            sum(j != -1 and labels[j] == labels[i] for j in row[:k]) / k
            for i, row in enumerate(indices.tolist())
        ]
    )


def class_mean(shares, labels):
    return np.mean([shares[labels == c].mean() for c in np.unique(labels)])


@settings(max_examples=50, deadline=None)
@given(n_points=st.integers(2, 25), n_classes=st.integers(1, 4), seed=seeds)
def test_counts_neighbors_of_the_own_class(n_points, n_classes, seed):
    rng = np.random.default_rng(seed)
    indices = random_lists(rng, 1, n_points, n_points - 1)[0]
    indices[rng.random(indices.shape) < 0.1] = -1
    labels = rng.integers(0, n_classes, n_points)
    ks = list(range(n_points - 1, 0, -1))
    counts = label_overlap_counts(indices, labels, ks)
    assert (counts.dtype, counts.shape) == (np.int64, (n_points, len(ks)))
    plain = label_overlap_from_counts(counts, ks)
    balanced = label_overlap_from_counts(counts, ks, labels)
    for i, k in enumerate(ks):
        shares = shares_by_loops(indices, labels, k)
        np.testing.assert_array_equal(counts[:, i], np.rint(shares * k))
        estimate = label_overlap(indices, labels, k)
        assert estimate.value == pytest.approx(shares.mean(), abs=1e-14)
        assert estimate.error == pytest.approx(shares.std() / np.sqrt(n_points), abs=1e-14)
        assert (plain[0][i], plain[1][i]) == pytest.approx((estimate.value, estimate.error), abs=1e-14)
        weighted = label_overlap_balanced(indices, labels, k)
        assert weighted.value == pytest.approx(class_mean(shares, labels), abs=1e-14)
        assert (balanced[0][i], balanced[1][i]) == pytest.approx((weighted.value, weighted.error), abs=1e-14)


def test_reproduces_the_reference_values(overlap_points):
    _, indices = brute_neighbors(overlap_points, 30)
    assert label_overlap(indices, CLASSES, 5).value == 1.0
    three = CLASSES.copy()
    three[30:] = 2
    ks = class_fraction_ks(three, 0.25)
    assert label_overlap(indices, three, ks).value == pytest.approx(0.675, rel=1e-12)
    assert label_overlap_balanced(indices, three, ks).value == pytest.approx(0.5666, abs=1e-4)


def test_a_k_for_each_point_counts_only_its_own_ranks(rng):
    indices = random_lists(rng, 1, 30, 10)[0]
    labels = rng.integers(0, 3, 30)
    ks = rng.integers(1, 11, 30)
    expected = np.array([shares_by_loops(indices, labels, k)[i] for i, k in enumerate(ks)])
    assert label_overlap(indices, labels, ks).value == pytest.approx(expected.mean(), rel=1e-14)
    assert label_overlap_balanced(indices, labels, ks).value == pytest.approx(
        class_mean(expected, labels), rel=1e-14
    )


def test_k_grows_with_the_class():
    labels = np.array([0] * 9 + [1] * 3 + [2])
    assert class_fraction_ks(labels, 0.5).tolist() == [4] * 9 + [1] * 3 + [1]
    assert class_fraction_ks(labels, 1.0).tolist() == [9] * 9 + [3] * 3 + [1]


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_ignores_the_names_of_classes_and_the_order_of_points(seed):
    rng = np.random.default_rng(seed)
    points, labels = gaussian(rng, 40, 2), rng.integers(0, 3, 40)
    order, names = rng.permutation(40), rng.permutation(3)
    for measure in (label_overlap, label_overlap_balanced):
        here = measure(brute_neighbors(points, 6)[1], labels, 6)
        there = measure(brute_neighbors(points[order], 6)[1], names[labels][order], 6)
        assert (there.value, there.error) == pytest.approx((here.value, here.error), abs=1e-14)


def test_equal_classes_need_no_balance(rng):
    indices = random_lists(rng, 1, 40, 10)[0]
    plain, balanced = label_overlap(indices, CLASSES, 10), label_overlap_balanced(indices, CLASSES, 10)
    assert balanced.value == pytest.approx(plain.value, rel=1e-12)
    assert balanced.error == pytest.approx(plain.error, rel=0.1)


def test_balance_gives_rare_classes_their_weight():
    labels = np.array([0] * 8 + [1] * 2)
    indices = np.where(np.arange(10)[:, None] < 8, (np.arange(10)[:, None] + 1) % 8, [[0]])
    assert label_overlap(indices, labels, 1).value == pytest.approx(0.8)
    assert label_overlap_balanced(indices, labels, 1).value == pytest.approx(0.5)


def test_balanced_errors_are_the_spread_over_drawn_points(rng):
    n_points, k = 300, 10
    estimates = []
    for _ in range(500):
        labels = (rng.random(n_points) < 0.2).astype(int)
        rate = np.where(labels == 1, 0.3, 0.8)
        counts = rng.binomial(k, rate)[:, None]
        value, error = label_overlap_from_counts(counts, [k], labels)
        estimates.append((value[0], error[0]))
    values, errors = np.array(estimates).T
    assert values.mean() == pytest.approx(0.55, abs=0.003)
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)


def test_one_class_has_overlap_one_and_unlike_neighbors_have_none(rng):
    indices = random_lists(rng, 1, 20, 5)[0]
    assert label_overlap(indices, np.zeros(20, int), 5).value == 1.0
    assert label_overlap(indices, np.arange(20), 5).value == 0.0


def test_blocks_of_points_are_those_of_the_whole(rng):
    indices = random_lists(rng, 1, 30, 6)[0]
    labels = rng.integers(0, 4, 30)
    whole = label_overlap_counts(indices, labels, [2, 6])
    rows = rng.permutation(30)[:13]
    np.testing.assert_array_equal(label_overlap_counts(indices[rows], labels, [2, 6], rows), whole[rows])


@pytest.mark.parametrize("measure", [label_overlap, label_overlap_balanced])
def test_no_points_have_no_overlap(measure):
    estimate = measure(np.empty((0, 4), int), np.empty(0, int), 2)
    assert np.isnan(estimate.value)
    assert estimate.status is Status.TOO_FEW_POINTS
    assert np.isnan(label_overlap_from_counts(np.empty((0, 2), int), [1, 2])[0]).all()


LISTS = np.array([[1, 2], [0, 2], [0, 1]])
LABELS = np.array([0, 0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: label_overlap(LISTS * 1.0, LABELS, 1),
            r"indices: expected integers of shape \(points, neighbors\)",
        ),
        (
            lambda: label_overlap(LISTS, LABELS[:2], 1),
            r"labels: expected one for each of the 3 lists, found 2",
        ),
        (
            lambda: label_overlap_counts(LISTS, LABELS, [1], rows=np.arange(2)),
            r"each of the 3 lists, found 2",
        ),
        (
            lambda: label_overlap(LISTS, LABELS * 1.0, 1),
            r"labels: expected integers .* found float64 of shape \(3,\); number the classes",
        ),
        (
            lambda: label_overlap(LISTS, ["a", "b", "c"], 1),
            r"labels: expected integers of shape \(points,\), found list",
        ),
        (
            lambda: label_overlap(LISTS, np.array([0, -1, 2]), 1),
            r"labels: row 1 is -1, expected a class from 0 on; leave",
        ),
        (
            lambda: label_overlap(LISTS + 1, LABELS, 1),
            r"indices: row 0, column 1 is 3, expected a row number in 0\.\.2, or -1",
        ),
        (
            lambda: label_overlap(LISTS - 2, LABELS, 1),
            r"indices: row 1, column 0 is -2, expected a row number",
        ),
        (lambda: label_overlap(LISTS, LABELS, 3), r"k: k = 3 is not in 1\.\.2"),
        (lambda: label_overlap(LISTS, LABELS, 1.5), r"k: expected integers, found \[1.5\]"),
        (
            lambda: label_overlap(LISTS, LABELS, np.array([1, 2])),
            r"k: expected one number or shape \(3,\), found shape \(2,\)",
        ),
        (lambda: label_overlap(LISTS, LABELS, np.array([1, 2, 0])), r"k: k = 0 is not in 1\.\.2"),
        (lambda: label_overlap_counts(LISTS, LABELS, [1, 3]), r"ks: k = 3 is not in 1\.\.2"),
        (lambda: class_fraction_ks(LABELS, 0.0), r"class_fraction: expected a number in \(0, 1\], found 0.0"),
        (lambda: class_fraction_ks(LABELS - 1, 0.5), r"labels: row 0 is -1"),
    ],
)
def test_refuses_what_cannot_be_counted(call, message):
    with pytest.raises(InputError, match=message):
        call()
