"""The bound of every kernel holds for its scores, those in half precision above all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from search_kernels import ALL

from hpcgeom.search import ArrayRows, bounds
from hpcgeom.search.candidates import Candidates
from hpcgeom.search.compiled import least_score, score_limit, score_of
from hpcgeom.search.kernels import rounding
from hpcgeom.search.kernels.device import DeviceKernel, _rounded_up
from hpcgeom.search.scan import Centering
from hpcgeom.search.tiles import Tile

HALVES = ["bfloat16", "float16-cpu", "bfloat16-cpu"]


@pytest.fixture(params=list(ALL))
def kernel(request):
    return ALL[request.param]()


def tiles(kernel, rows, centering, start, stop):
    """All rows as a tile, and rows start to stop - 1 once more as a tile of queries."""
    whole = kernel.load(ArrayRows(rows), 0, len(rows), centering, is_base=True, threads=1)
    part = kernel.load(ArrayRows(rows), start, stop, centering, is_base=False, threads=1)
    return whole, Tile(len(rows), len(rows) + stop - start, part.rounded, part.norms, False)


def empty(kernel, tile, k, n_features):
    return Candidates.empty(tile.start, tile.norms, k, kernel.bound(n_features))


def meet(kernel, *tiles_and_lists, threads=1):
    """Let two tiles meet, each given with its lists."""
    kernel.meet(
        [tuple(tile for tile, _ in tiles_and_lists)], {t.start: c for t, c in tiles_and_lists}, threads
    )


def pairwise(kernel, rows, centering, start, stop):
    """Scores that a kernel gives rows start to stop - 1 and all others: every one a candidate."""
    n = len(rows)
    whole, queries = tiles(kernel, rows, centering, start, stop)
    lists = empty(kernel, queries, n, rows.shape[1])
    meet(kernel, (whole, empty(kernel, whole, n, rows.shape[1])), (queries, lists))
    assert (lists.counts == n).all()
    score_RN = np.full((stop - start, n), np.nan)
    for r in range(stop - start):
        for key in lists.keys[r, :n]:
            score_RN[r, int(key) & 0x7FFFFFFF] = score_of(key)
    return score_RN, queries.norms


@pytest.mark.parametrize("queries_first", [False, True])
def test_what_is_left_out_scored_at_least_the_threshold(kernel, queries_first, rng):
    rows, centering = rng.standard_normal((300, 4)), Centering(np.zeros(4), 2.0**-4)
    score_RN, _ = pairwise(kernel, rows, centering, 0, 100)
    whole, queries = tiles(kernel, rows, centering, 0, 100)
    whole_lists, lists = empty(kernel, whole, 5, 4), empty(kernel, queries, 5, 4)
    pair = [(whole, whole_lists), (queries, lists)][:: -1 if queries_first else 1]
    meet(kernel, *pair, threads=3)
    assert whole_lists.counts.max() == 0
    for _ in range(2):
        for r in range(100):
            kept = lists.keys[r, : lists.counts[r]] & 0x7FFFFFFF
            assert 5 <= len(kept) < 60
            assert np.delete(score_RN[r], kept).min() >= lists.thresholds[r] * (1 - 1e-5)
        lists.settle()


@pytest.mark.parametrize("threshold", [0.0, np.inf])
def test_a_score_that_is_not_a_number_becomes_a_candidate_on_the_device(monkeypatch, threshold, rng):
    """Whether candidates are picked by threshold or by rank."""
    kernel, rows = DeviceKernel("float16", "cpu"), rng.standard_normal((300, 4))
    whole, queries = tiles(kernel, rows, Centering(np.zeros(4), 2.0**-4), 0, 100)
    lists = empty(kernel, queries, 5, 4)
    lists.thresholds[:] = threshold
    scores = kernel._scores(whole.rounded, slice(None), queries.rounded)
    scores[8, 50] = np.nan
    monkeypatch.setattr(kernel, "_scores", lambda *given: scores)
    meet(kernel, (whole, empty(kernel, whole, 5, 4)), (queries, lists))
    bad = [
        (r, int(key) & 0x7FFFFFFF) for r in range(100) for key in lists.keys[r, : lists.counts[r]] if key < 0
    ]
    assert bad == [(50, 8)]


def test_thresholds_are_rounded_up():
    threshold = np.array([0.1, 0.5, 1 + 2**-30, np.inf])
    assert _rounded_up(threshold).astype(float).tolist() == [np.float32(0.1), 0.5, 1 + 2**-23, np.inf]
    assert (_rounded_up(threshold) >= threshold).all()


HARD = {
    "centered": lambda rng: rng.standard_t(2, (200, 48)),
    "not centered": lambda rng: 50 + rng.standard_t(2, (200, 48)),
    "one feature": lambda rng: rng.standard_normal((200, 1)),
    "nearly equal": lambda rng: np.tile(rng.standard_normal((100, 48)), (2, 1)) * (1 + 3e-7),
    "norms from 1 to 1e-30": lambda rng: rng.standard_normal((200, 48)) * np.logspace(0, -30, 200)[:, None],
    "norms from 1 to 1e-44": lambda rng: rng.standard_normal((200, 5)) * np.logspace(0, -44, 200)[:, None],
    "features from 1 to 1e-12": lambda rng: rng.standard_normal((200, 48)) * np.logspace(0, -12, 48),
    "4096 features": lambda rng: np.abs(rng.standard_normal((60, 4096))),
}


@pytest.mark.parametrize("hard", HARD)
def test_the_bound_holds_for_every_pair(kernel, hard, rng):
    rows = HARD[hard](rng)
    largest = np.linalg.norm(rows, axis=1).max()
    centering = Centering(np.zeros(rows.shape[1]), 2.0 ** -np.ceil(np.log2(largest)))
    score_RN, norm_R = pairwise(kernel, rows, centering, 20, 60)
    constants = kernel.bound(rows.shape[1]).constants
    wide = rows.astype(np.longdouble)
    for r in range(40):
        exact_N = np.sqrt(np.square(wide[20 + r] - wide).sum(axis=1)).astype(np.float64)
        for distance, score in zip(exact_N, score_RN[r], strict=True):
            assert score <= score_limit(distance, centering.scale, norm_R[r], constants)
            assert score >= least_score(distance, centering.scale, norm_R[r], constants)


@pytest.mark.parametrize("name", HALVES)
def test_the_bound_of_halves_is_not_idle(name, rng):
    """Some honest error comes within a factor of thirty of the bound."""
    rows, kernel = rng.standard_normal((200, 4)) + 3, ALL[name]()
    score_RN, norm_R = pairwise(kernel, rows, Centering(np.zeros(4), 2.0**-4), 0, 100)
    share = []
    for r in range(100):
        for distance, score in zip(np.linalg.norm(rows[r] - rows, axis=1), score_RN[r], strict=True):
            limit = score_limit(distance, 2.0**-4, norm_R[r], kernel.bound(4).constants)
            share.append((score - (distance / 16) ** 2) / (limit - (distance / 16) ** 2))
    assert 1 / 30 < max(share) <= 1


def test_rows_are_rounded_to_the_nearest_bfloat16():
    values = np.array([[1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, 0.0, -0.0, 2e-40]], np.float32)
    bits = rounding.bfloat16_bits(values)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    assert torch.equal(torch.from_numpy(bits).view(torch.bfloat16), expected)
    np.testing.assert_array_equal(rounding.bfloat16_values(bits), expected.float().numpy())


def test_rows_in_float16_keep_eleven_bits_whatever_their_size(rng):
    rows = rng.standard_normal((30, 16)) * np.logspace(0, -30, 30)[:, None]
    rows[3] = 0
    value, shift = rounding.scaled_float16(rows)
    largest = np.delete(np.abs(value).max(axis=1), 3)
    assert (largest >= 2**14).all()  # the proof needs 2^13
    assert (largest <= 2**15).all()
    back = np.ldexp(value.astype(np.float64), -shift[:, None])
    np.testing.assert_allclose(back, rows, rtol=2**-11)


def test_half_bounds_are_wider_than_those_of_float32():
    narrow = bounds.float32_bound(512)
    for dtype, wider in [("float16", 2**13), ("bfloat16", 2**16)]:
        half = bounds.half_bound(512, dtype)
        assert half.rounding == pytest.approx(wider * narrow.rounding, rel=0.05)
        assert half.relative < bounds.half_bound(512, dtype, bounds.TENSOR_CORE_ROUNDOFF).relative
