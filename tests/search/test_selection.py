"""Selection: against NumPy, which sees all scores at once, in any order of tiles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.search import compiled, selection
from hpcgeom.search.bounds import float32_bound
from hpcgeom.search.candidates import Candidates, capacity, most_kept, offer
from hpcgeom.search.keys import INDEX_BITS, key_of, score_of

N_FEATURES = 4
BOUND = float32_bound(N_FEATURES)


def rounded_rows(rng, kind, n):
    if kind == "far apart":
        rows = rng.standard_normal((n, N_FEATURES)) / 12
    elif kind == "crowded":
        rows = 0.4 + 2.0**-14 * rng.standard_normal((n, N_FEATURES))
    elif kind == "tied":
        rows = rng.integers(0, 3, (n, N_FEATURES)) / 8
    else:
        rows = rng.standard_normal((n, N_FEATURES)) * 2.0 ** -rng.integers(3, 70, (n, 1))
    return rows.astype(np.float32)


def norms_of(rows_ND):
    return np.sqrt(np.square(rows_ND.astype(np.float64)).sum(axis=1))


def expected(score_B, index_B, norm, k):
    """Keys (score, index) that stay of one row, in order, and its threshold."""
    order = np.lexsort((index_B, score_B))
    if len(order) < k:
        return score_B[order], index_B[order], np.inf
    kth = float(score_B[order[k - 1]])
    threshold = compiled.limit_at(compiled.farthest(kth, norm, BOUND.constants), norm, BOUND.constants)
    order = order[score_B[order] <= threshold]
    if len(order) > most_kept(k):
        order = order[: most_kept(k)]
        threshold = float(score_B[order[-1]])
    return score_B[order], index_B[order], threshold


def assert_expected(found, product_NN, norm_N, k, members, rows=None):
    square_N = norm_N * norm_N
    score_NN = np.maximum(square_N[:, None] + square_N - 2 * product_NN.astype(np.float64), 0)
    score_NN = score_NN.astype(np.float32)
    for i in range(len(norm_N)) if rows is None else rows:
        others = members[members != i]
        score, index, threshold = expected(score_NN[i, others], others, norm_N[i], k)
        keys = found.keys[i, : found.counts[i]]
        np.testing.assert_array_equal(keys & INDEX_BITS, index)
        np.testing.assert_array_equal([score_of(key) for key in keys], score)
        assert found.thresholds[i] == threshold


def select_all(product_NN, norm_N, k, panels, n_base):
    """Offer all pairs of panels; rows from n_base on are offered to nobody."""
    n = len(norm_N)
    found = Candidates.empty(0, norm_N, k, BOUND)
    cuts = [*range(0, n_base, 45), *range(n_base, n, 45), n]
    ranges = [(low, high) for low, high in pairwise(cuts) if high > low]
    for a, b in panels(len(ranges)):
        one, other = ranges[a], ranges[b]
        offer(
            np.ascontiguousarray(product_NN[slice(*one), slice(*other)]),
            found.part(*one),
            found.part(*other),
            to_rows=other[0] < n_base,
            to_columns=one[0] < n_base,
        )
    found.settle()
    return found


def in_order(n):
    return [(a, b) for a in range(n) for b in range(a, n)]


@pytest.mark.parametrize("kind", ["far apart", "crowded", "tied", "all sizes"])
@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("n_base", [200, 131])
def test_what_stays_is_what_numpy_keeps_in_any_order_of_panels(rng, kind, k, n_base):
    rows = rounded_rows(rng, kind, 200)
    product, norm = rows @ rows.T, norms_of(rows)
    product = np.triu(product) + np.triu(product, 1).T  # as read from above the diagonal

    def shuffled(n):
        pairs = in_order(n)
        return [pairs[i] if rng.random() < 0.5 else pairs[i][::-1] for i in rng.permutation(len(pairs))]

    for panels in (in_order, shuffled, shuffled):
        found = select_all(product, norm, k, panels, n_base)
        assert_expected(found, product, norm, k, np.arange(n_base))


@pytest.mark.parametrize("kind", ["far apart", "crowded", "tied"])
def test_poured_lists_are_those_of_all_at_once(rng, kind):
    """Half of the columns in one search and half in the other, poured into a third for some of the rows."""
    rows = rounded_rows(rng, kind, 180)
    product, norm, k = rows @ rows.T, norms_of(rows), 9
    chosen = np.array([3, 40, 41, 99])
    merged = Candidates.empty(0, norm[chosen], k, BOUND)
    for low, high in ((100, 140), (140, 180)):
        part, columns = (Candidates.empty(s, norm[s:e], k, BOUND) for s, e in ((0, 100), (low, high)))
        offer(np.ascontiguousarray(product[:100, low:high]), part, columns, to_rows=True, to_columns=False)
        part.settle()
        merged.pour(chosen, part.keys[part.is_filled()], part.counts, part.thresholds)
    merged.settle()
    square = norm * norm
    for r, i in enumerate(chosen):
        score = square[i] + square[100:] - 2 * product[i, 100:].astype(np.float64)
        _, index, threshold = expected(
            np.maximum(score, 0).astype(np.float32), np.arange(100, 180), norm[i], k
        )
        np.testing.assert_array_equal(merged.keys[r, : merged.counts[r]] & INDEX_BITS, index)
        assert merged.thresholds[r] == threshold


def test_a_first_panel_gives_what_its_kth_score_allows(rng):
    """Or one of the next: nothing that comes before it is known stays, but in a panel that is too small."""
    rows = rounded_rows(rng, "far apart", 300)
    product, norm, k = rows @ rows.T, norms_of(rows), 40
    product[5, 290] = np.nan
    score = np.maximum(norm[:, None] ** 2 + norm**2 - 2 * product.astype(np.float64), 0).astype(np.float32)
    np.fill_diagonal(score, np.inf)
    ordered = np.sort(score, axis=1)[:, k - 1 : k + k // 8]  # NaN comes last
    for n in (300, k):
        lists = Candidates.empty(0, norm[:n], k, BOUND)
        offer(np.ascontiguousarray(product[:n, :n]), lists, lists, to_rows=True, to_columns=True)
        if n == k:
            assert (lists.thresholds == np.inf).all()
            assert (lists.counts == k - 1).all()
            continue
        for i in range(n):
            limits = [
                compiled.limit_at(compiled.farthest(s, norm[i], BOUND.constants), norm[i], BOUND.constants)
                for s in ordered[i].tolist()
            ]
            assert lists.thresholds[i] in limits
            assert lists.counts[i] == np.sum(~(score[i] > lists.thresholds[i]))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 4), window=st.integers(20, 3000))
def test_crowded_lists_do_not_depend_on_the_order_of_rows(seed, k, window):
    """One row and columns that come one by one, with about as many within the limit as are kept."""
    rng = np.random.default_rng(seed)
    product = (0.125 - rng.integers(0, window, (1, 90)) * 2.0**-27).astype(np.float32)
    norm = np.full(91, 0.5)
    score = np.maximum(0.5 - 2 * product[0].astype(np.float64), 0).astype(np.float32)
    keys, index, threshold = expected(score, np.arange(1, 91), 0.5, k)
    for _ in range(3):
        found = Candidates.empty(0, norm[:1], k, BOUND)
        for j in rng.permutation(90):
            column = Candidates.empty(int(j) + 1, norm[1:2], k, BOUND)
            offer(product[:, j : j + 1].copy(), found, column, to_rows=True, to_columns=False)
        found.settle()
        np.testing.assert_array_equal(found.keys[0, : found.counts[0]] & INDEX_BITS, index)
        np.testing.assert_array_equal([score_of(c) for c in found.keys[0, : found.counts[0]]], keys)
        assert found.thresholds[0] == threshold


def test_products_that_are_no_numbers_are_always_candidates(rng):
    rows = rounded_rows(rng, "far apart", 300)
    product = rows @ rows.T
    product[5, 290] = np.nan
    found = select_all(product, norms_of(rows), 4, in_order, 300)
    for row, other in ((5, 290), (290, 5)):
        assert found.keys[row, 0] & INDEX_BITS == other
        assert score_of(found.keys[row, 0]) == selection.NOT_A_SCORE


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    k=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_a_cut_keeps_the_smallest(keys, k, seed):
    """Scores of a few values that are far apart, so that the K-th score decides, and `most` where tied."""
    score = np.float32(2.0) ** -np.array(keys, np.float32)
    packed = np.array([key_of(s, i) for i, s in enumerate(score)])
    np.random.default_rng(seed).shuffle(packed)
    most = most_kept(k)
    values, index, threshold = expected(score, np.arange(len(score)), 0.25, k)
    count, found = selection.cut(packed, len(packed), k, most, 0.25, np.inf, BOUND.constants)
    assert found == threshold
    kept = np.sort(packed[:count])
    np.testing.assert_array_equal(kept & INDEX_BITS, index)
    np.testing.assert_array_equal([score_of(key) for key in kept], values)
    # Only a list of fewer than k keeps more than `most`, of which there are more than k.
    assert k < most < capacity(k)


exponents = st.integers(-80, 0)
sizes = st.one_of(st.just(0.0), st.builds(np.ldexp, st.floats(0.5, 1), exponents))


@settings(max_examples=600, deadline=None)
@given(
    norm=sizes,
    other=st.one_of(sizes, st.floats(-1e-6, 1e-6)),
    cosine=st.one_of(st.floats(-1, 1), st.floats(1 - 1e-6, 1)),
    gamma=st.sampled_from([0.0, 1e-6, 1 / 3]),
    larger=st.sampled_from([0.0, 2.0**-52, 2.0**-30, 0.1]),
)
def test_the_bar_rejects_no_score_within_the_threshold(norm, other, cosine, gamma, larger):
    """In the float32 arithmetic of the loop; `other` is a norm, or how far it is from the first one."""
    other = other if other > 1e-6 else norm * (1 + other)
    product = np.float32(norm * other * min(cosine * (1 + gamma), 1 + gamma))
    score = max(norm * norm + other * other - 2 * np.float64(product), 0)
    threshold = float(np.float32(score)) * (1 + larger)
    half = np.float32(0.5 * other**2)
    assert not product - half < np.float32(selection.bar(norm, threshold))


def test_the_bar_is_not_idle():
    """It rejects what is a millionth of the squared norm above the threshold."""
    norm, threshold = 0.5, 0.01
    product = np.float32((norm**2 + 0.3**2 - threshold) / 2 - 2e-6)
    assert product - np.float32(0.5 * 0.3**2) < np.float32(selection.bar(norm, threshold))


@given(score=st.floats(0, 4, width=32), index=st.integers(0, 2**31 - 1), more=st.integers(0, 5))
def test_keys_are_ordered_as_scores_and_numbers(score, index, more):
    key = key_of(score, index)
    assert score_of(key) == score
    assert key & INDEX_BITS == index
    higher = float(np.nextafter(np.float32(score), np.float32(5)))
    assert key < key_of(higher, 0)
    if index + more < 2**31:
        assert key <= key_of(score, index + more)
