"""Bounds of scores: against distances in long double, for all precisions that rows are multiplied in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.errors import InputError
from hpcgeom.search import ArrayRows, bounds, compiled
from hpcgeom.search.scan import scan_rows


def bfloat16(rows):
    """The nearest numbers of eight significant bits, ties to even, as float32."""
    bits = rows.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def float32(rows):
    return rows.astype(np.float32)


def float64(rows):
    return rows.astype(np.float64)


def bfloat16_bound(n_features):
    return bounds.half_bound(n_features, "bfloat16")


PRECISIONS = {
    "float32": (float32, bounds.float32_bound),
    "float64": (float64, bounds.float64_bound),
    "bfloat16": (bfloat16, bfloat16_bound),
}


def scored(rows_ND, name):
    """Scores as kernels compute them, norms of the rounded rows and the bound."""
    rounding, bound = PRECISIONS[name]
    rounded_ND = rounding(rows_ND)
    product_NN = (rounded_ND @ rounded_ND.T).astype(np.float64)
    norm_N = np.sqrt(np.square(rounded_ND.astype(np.float64)).sum(axis=1))
    score_NN = np.maximum(np.square(norm_N)[:, None] + np.square(norm_N) - 2 * product_NN, 0)
    if name != "float64":
        score_NN = score_NN.astype(np.float32).astype(np.float64)
    return score_NN, norm_N, bound(rows_ND.shape[1])


def true_distances(rows_ND):
    rows = rows_ND.astype(np.longdouble)
    return np.sqrt(np.square(rows[:, None] - rows).sum(axis=2)).astype(np.float64)


def assert_bounded(rows_ND, name):
    """Limits from above and below, and the farthest distance a score can mean."""
    score_NN, norm_N, bound = scored(rows_ND, name)
    assert norm_N.max() <= 1.01
    distance_NN = true_distances(rows_ND)
    for i, norm in enumerate(norm_N):
        for score, distance in zip(score_NN[i], distance_NN[i], strict=True):
            assert score <= compiled.score_limit(distance, 1.0, norm, bound.constants)
            assert score >= compiled.least_score(distance, 1.0, norm, bound.constants)
            assert compiled.farthest(score, norm, bound.constants) >= distance


def scaled(points, offset):
    """Brought to norms of at most 1, and not centered, so that offsets strain the scores."""
    scale = scan_rows(ArrayRows(points - np.float32(offset)), 300).centering.scale
    return points.astype(np.float64) * scale / 2.0 ** np.ceil(np.log2(1 + offset))


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("n_features", [1, 3, 64, 384])
@pytest.mark.parametrize("offset", [0.0, 1.0, 50.0])
def test_the_bounds_hold_for_every_pair(rng, name, n_features, offset):
    points = (offset + rng.standard_t(2, (60, n_features))).astype(np.float32)
    points[30:] = points[:30] * np.float32(1 + 3e-7)
    assert_bounded(scaled(points, offset), name)


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("exponent", [-5, -9, -11, -13, -20, -62, -75, -120, -140, -600])
def test_the_bounds_hold_where_numbers_underflow(rng, name, exponent):
    assert_bounded(np.ldexp(rng.uniform(-0.5, 0.5, (50, 3)), exponent), name)


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_bounds_hold_between_sizes(rng, name):
    rows = rng.standard_normal((60, 5))
    rows *= np.ldexp(1 / np.linalg.norm(rows, axis=1), rng.integers(-30, 1, 60))[:, None]
    assert_bounded(rows, name)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_bound_is_not_idle(name):
    """Some honest error comes near the bound, so that it is not merely large."""
    rng = np.random.default_rng(0)
    rows = (10 + rng.standard_normal((200, 4))) / 64
    score_NN, norm_N, bound = scored(rows, name)
    exact_NN = true_distances(rows)
    share = [
        (score_NN[i, j] - exact_NN[i, j] ** 2)
        / (compiled.score_limit(exact_NN[i, j], 1.0, norm_N[i], bound.constants) - exact_NN[i, j] ** 2)
        for i, j in np.ndindex(100, 200)
        if i != j
    ]
    assert 3e-3 < max(share) <= 1


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(PRECISIONS)),
    n_features=st.sampled_from([1, 2, 30, 4096, 2**18]),
    norm=st.one_of(st.just(0.0), st.floats(2.0**-600, 1)),
    score=st.one_of(st.just(0.0), st.floats(2.0**-149, 4), st.integers(-140, 2).map(lambda e: 2.0**e)),
)
def test_what_is_as_far_as_a_score_allows_has_a_score_within_the_limit(name, n_features, norm, score):
    """The threshold of a cut: no row as near as the K-th can have a score above it."""
    bound = PRECISIONS[name][1](n_features)
    distance = compiled.farthest(score, norm, bound.constants)
    assert compiled.limit_at(distance, norm, bound.constants) >= score * (1 - 2.0**-50)
    further = compiled.farthest(score * (1 + 2.0**-20) + 2.0**-149, norm, bound.constants)
    assert further >= distance
    assert compiled.limit_at(further, norm, bound.constants) >= compiled.limit_at(
        distance, norm, bound.constants
    )


@settings(max_examples=300, deadline=None)
@given(
    n_features=st.sampled_from([1, 100, 2**22]),
    norm=st.one_of(st.just(0.0), st.floats(2.0**-400, 1)),
    distance=st.one_of(st.just(0.0), st.floats(2.0**-400, 2)),
)
def test_limits_are_the_formulas_in_long_double(n_features, norm, distance):
    """(d + p reach + q)^2 + g reach^2 + t, never below and at most 2^-26 above; `farthest` solves it."""
    bound = bounds.float32_bound(n_features)
    p, q, g, t = (np.longdouble(c) for c in bound.constants)
    d = np.longdouble(distance)
    reach = 2 * np.longdouble(norm) + d
    exact = (d + p * reach + q) ** 2 + g * reach**2 + t
    found = compiled.score_limit(distance, 1.0, norm, bound.constants)
    assert exact <= found <= exact * (1 + np.longdouble(2.0**-26))
    lowest = max(d - p * reach - q, np.longdouble(0)) ** 2 - g * reach**2 - t
    assert compiled.least_score(distance, 1.0, norm, bound.constants) <= lowest
    score = float(np.nextafter(float(lowest), 10.0))
    assert compiled.farthest(score, norm, bound.constants) >= distance


@pytest.mark.parametrize("bound", [bounds.float32_bound, bounds.float64_bound])
def test_more_features_than_the_proof_covers_are_refused(bound):
    bound(2**22)
    with pytest.raises(
        InputError, match=r"points have 4194305 features, and exactness is proven up to 4194304: pool"
    ):
        bound(2**22 + 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_more_features_than_halves_cover_are_refused(dtype):
    bounds.half_bound(2**18, dtype)
    with pytest.raises(
        InputError, match=rf"points have 262145 features, and exactness in {dtype} is proven up to 262144"
    ):
        bounds.half_bound(2**18 + 1, dtype)
