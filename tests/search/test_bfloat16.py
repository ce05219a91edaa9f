"""Products in bfloat16: rounding, compiled loops, and when a trial says that they are enough."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import gaussian
from hypothesis import example, given, settings
from hypothesis import strategies as st
from search_oracle import assert_same_lists, lists, oracle, oracle_distances, search

from hpcgeom.search import ArrayRows, Settings, bounds, points, rerank, scan_points, trial
from hpcgeom.search.kernels import base
from hpcgeom.search.kernels.bfloat16_loops import round_rows, round_values
from hpcgeom.search.kernels.multipliers import Bfloat16Avx512
from hpcgeom.search.kernels.rounding import bfloat16_bits, bfloat16_values
from hpcgeom.search.scan import Centering

HAS_INSTRUCTIONS = base.has_bfloat16()


def surface(rng, n, d):
    """Points of three dimensions, bent, with little noise."""
    return np.tanh(rng.standard_normal((n, 3)) @ rng.standard_normal((3, d))) + 0.01 * rng.standard_normal(
        (n, d)
    )


def rounded(rows, center, scale):
    """Bits, norms and the largest error, by the loops."""
    bits, norm = np.full((len(rows), rows.shape[1] + 1), 7, np.uint16), np.empty(len(rows))
    lost = round_rows(rows, center, scale, bits, norm)
    assert (bits[:, -1] == 7).all()
    values, again = np.empty(rows.shape, np.float32), np.empty(len(rows))
    assert round_values(rows, center, scale, values, again) == lost
    np.testing.assert_array_equal(values, bfloat16_values(np.ascontiguousarray(bits[:, :-1])))
    np.testing.assert_array_equal(again, norm)
    return bits[:, :-1], norm, lost


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 20), d=st.integers(1, 40), seed=st.integers(0, 2**32), exponent=st.integers(-40, 0))
def test_rows_are_rounded_to_the_nearest_and_what_is_lost_is_known(n, d, seed, exponent):
    rng = np.random.default_rng(seed)
    rows, center = rng.standard_normal((n, d)) * 10.0**exponent, rng.standard_normal(d) * 10.0**exponent
    bits, norm, lost = rounded(rows, center, 0.25)
    exact = (rows - center) * 0.25
    values = bfloat16_values(bfloat16_bits(exact.astype(np.float32))).astype(np.float64)
    np.testing.assert_array_equal(bfloat16_values(bits), values)
    np.testing.assert_allclose(norm, np.linalg.norm(values, axis=1), rtol=1e-14)
    error = np.linalg.norm(values - exact, axis=1)
    expected = max(
        [0.0, *((e - np.sqrt(d) * 2.0**-126) / a for e, a in zip(error, norm, strict=True) if a > 0)]
    )
    assert lost == pytest.approx(expected, rel=1e-9, abs=1e-12) or exponent < -36
    assert lost <= 2.0**-8


def test_what_vanishes_by_underflow_is_not_counted_as_rounding():
    rows = np.array([[2.0**-140, -(2.0**-130)], [0.0, 0.0], [1.0, 1 + 2.0**-9]])
    bits, norm, lost = rounded(rows, np.zeros(2), 1.0)
    assert norm[1] == 0.0
    assert lost == pytest.approx(2.0**-9 / np.sqrt(2), rel=1e-12)
    assert bits[2].tolist() == [0x3F80, 0x3F80]  # a tie, to even


if HAS_INSTRUCTIONS:  # a processor without them could not even compile the loops

    @pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
    @pytest.mark.parametrize("d", [1, 64, 131])
    def test_a_panel_and_itself_have_the_products_of_two_panels(n, d, rng):
        rows, multiplier = rng.standard_normal((n, d)), Bfloat16Avx512()
        one, other = (multiplier.rounded(rows, Centering(np.zeros(d), 0.1))[0] for _ in range(2))
        products = multiplier.product(one, one)
        np.testing.assert_array_equal(products, multiplier.product(one, other))
        np.testing.assert_array_equal(products, products.T)

    @settings(max_examples=40, deadline=None)
    @given(a=st.integers(1, 70), b=st.integers(1, 70), d=st.integers(1, 70), seed=st.integers(0, 2**32))
    @example(a=1000, b=953, d=515, seed=0)
    def test_products_of_panels_are_dot_products_within_the_bound(a, b, d, seed):
        rng, multiplier = np.random.default_rng(seed), Bfloat16Avx512()
        panels, values = [], []
        for n in (a, b):
            rows = rng.standard_normal((n, d)).astype(np.float32)
            panels.append(multiplier.rounded(rows, Centering(np.zeros(d), 1.0))[0])
            values.append(bfloat16_values(bfloat16_bits(rows)).astype(np.float64))
        product = multiplier.product(*panels)
        norms = [np.linalg.norm(each, axis=1) for each in values]
        allowed = (d + 2) * bounds.ROUNDOFF * norms[0][:, None] * norms[1]
        assert product.shape == (a, b)
        assert product.dtype == np.float32
        assert (np.abs(product - values[0] @ values[1].T) <= allowed).all()

    def test_a_cloud_of_low_dimension_is_multiplied_in_bfloat16(rng):
        rows = surface(rng, 4200, 96).astype(np.float32)
        found = search(rows, 8, tile_rows=1500, threads=2)
        assert found.certificate.kernel == "bfloat16-avx512"
        assert found.certificate.recomputed < 42
        expected = search(rows, 8, kernel="float32")
        assert_same_lists(lists(found), lists(expected))
        for row in rng.choice(4200, 20, replace=False):
            nearest = np.sort(np.delete(oracle_distances(rows[row], rows), row))[:8]
            np.testing.assert_array_equal(found.distances[row], nearest)


def test_an_isotropic_cloud_and_few_points_are_not(rng):
    for rows in (gaussian(rng, 4200, 768), surface(rng, 4000, 96)):
        assert not search(rows, 64).certificate.kernel.startswith("bfloat16")


def test_who_asks_for_bfloat16_gets_it_with_what_was_measured(rng):
    rows = gaussian(rng, 300, 240)
    scan = scan_points(ArrayRows(rows), Settings(8, kernel="bfloat16")).scan
    assert scan.row_roundoff is not None
    center, scale = scan.centering.center, scan.centering.scale
    assert scan.row_roundoff == rounded(rows, center, scale)[2]
    assert 2.0**-11 < scan.row_roundoff < 2.0**-8
    measured, most = (
        bounds.half_bound(240, "bfloat16", row_roundoff=each) for each in (scan.row_roundoff, None)
    )
    assert measured.rounding < 0.6 * most.rounding
    assert measured.relative == pytest.approx(most.relative, rel=0.05)


def test_rows_that_bfloat16_holds_are_still_bounded_as_float32_is():
    exact, float32 = bounds.half_bound(24, "bfloat16", row_roundoff=0.0), bounds.float32_bound(24)
    assert exact.rounding == pytest.approx(float32.rounding, rel=0.01)
    assert bounds.half_bound(24, "bfloat16", row_roundoff=1.0) == bounds.half_bound(24, "bfloat16")


@pytest.mark.parametrize("tile_rows", [200, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_trial_says_which_rows_bfloat16_cannot_certify(rng, tile_rows, threads):
    for cloud, is_enough in ((surface(rng, 1000, 64), True), (gaussian(rng, 1000, 768), False)):
        found = scan_points(
            ArrayRows(cloud), Settings(64, tile_rows=tile_rows, threads=threads, kernel="float32")
        )
        centering, ranges = found.scan.centering, found.ranges(0, 1000)
        tried = trial.try_bfloat16(found.distinct, ranges, centering, 64, 1000, threads)
        assert (tried.n_failing <= trial.MOST_FAILING) == is_enough
        assert (search(cloud, 64, kernel="bfloat16").certificate.recomputed < 20) == is_enough
        assert tried.row_roundoff == rounded(cloud, centering.center, centering.scale)[2]


def test_queries_are_rounded_but_not_sampled(rng):
    rows = surface(rng, 600, 32)
    rows[500:] *= 1e-3
    found = scan_points(ArrayRows(rows), Settings(8, n_base=500, tile_rows=90, kernel="bfloat16"))
    sample = trial._Sample.of(found.distinct, found.scan.centering, 8, 500)
    assert sample.rows.max() < 500
    assert len(sample.rows) == trial.SAMPLED_RUNS * trial.RUN_ROWS
    assert (
        found.scan.row_roundoff == rounded(rows, found.scan.centering.center, found.scan.centering.scale)[2]
    )
    assert_same_lists(lists(search(rows, 8, n_base=500, kernel="bfloat16")), oracle(rows, 8, np.arange(500)))


@pytest.fixture
def looked_again(monkeypatch):
    """Rows that were looked at in another pass."""
    found, honest = [], rerank._look_again

    def look_again(base, query_QD, row_Q, rows_F, *more):
        found.extend(row_Q[rows_F].tolist())
        honest(base, query_QD, row_Q, rows_F, *more)

    monkeypatch.setattr(rerank, "_look_again", look_again)
    return found


def test_a_few_doubtful_rows_are_searched_by_brute_force_in_the_same_pass(rng, looked_again, monkeypatch):
    rows = gaussian(rng, 400, 300)
    expected = oracle(rows, 64)
    monkeypatch.setattr(rerank, "MOST_DOUBTFUL", 400)
    found = search(rows, 64, kernel="bfloat16", tile_rows=150, threads=2)
    assert_same_lists(lists(found), expected)
    assert found.certificate.recomputed > 40
    assert len(looked_again) < 0.05 * found.certificate.recomputed
    assert found.certificate.audited == 3 * rerank.AUDITED_ROWS
    monkeypatch.setattr(rerank, "MOST_DOUBTFUL", 3)  # they are more in each tile
    again = search(rows, 64, kernel="bfloat16", tile_rows=150)
    assert_same_lists(lists(again), expected)
    assert len(looked_again) >= again.certificate.recomputed
    assert again.certificate == found.certificate


def test_nothing_is_tried_where_nothing_could_come_of_it(rng, monkeypatch):
    def fail(*_):
        raise AssertionError("a trial")

    monkeypatch.setattr(points, "try_bfloat16", fail)
    monkeypatch.setattr(points, "FEWEST_ROWS", 10)
    monkeypatch.setattr(base, "host_features", lambda: {"avx512f": True})
    assert scan_points(ArrayRows(gaussian(rng, 100, 4)), Settings(3)).scan.row_roundoff is None
    for kernel in ("float32", "faiss"):
        scan_points(ArrayRows(gaussian(rng, 100, 4)), Settings(3, kernel=kernel))
    scan_points(ArrayRows(np.ones((100, 4))), Settings(3, kernel="bfloat16"))  # one distinct point
    monkeypatch.setattr(base, "host_features", lambda: {"avx512f": True, "avx512bf16": True})
    with pytest.raises(AssertionError, match="a trial"):
        scan_points(ArrayRows(gaussian(rng, 100, 4)), Settings(3))
