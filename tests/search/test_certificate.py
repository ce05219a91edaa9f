"""The certificate: what float32 can decide, and proposals that are not what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
from search_oracle import assert_same_lists, oracle

from hpcgeom.errors import HpcgeomError, InputError
from hpcgeom.search import ArrayRows, bounds, kernels, propose, search_representation
from hpcgeom.search.scan import Centering, scan_rows

HONEST = propose.propose


@pytest.fixture
def points(rng):
    return rng.standard_normal((400, 24)).astype(np.float32)


def search(points, k=10, **options):
    return search_representation(ArrayRows(points), k, **options).collect()


def test_every_row_is_accounted_for(points):
    points[100:140] = points[:40]
    certificate = search(points, tile_rows=150).certificate
    assert certificate.rows == 400
    assert certificate.n_distinct == 360
    assert certificate.n_duplicates == 40
    assert certificate.zero_distances == 80
    assert certificate.certified + certificate.recomputed == 360
    assert certificate.audited == 24


def test_ordinary_points_are_decided_in_float32(points):
    certificate = search(points).certificate
    assert certificate.certified == 400
    assert 0 < certificate.largest_relative_error < 1e-5


def test_points_beyond_float32_are_recomputed(rng):
    points = 1 + 1e-9 * rng.standard_normal((400, 8)) + np.repeat([[0.0], [1.0]], 200, axis=0)
    certificate = search(points).certificate
    assert certificate.recomputed == 400


@pytest.mark.parametrize("factor", [100, 1e4, 1e6])
def test_an_outlier_spoils_no_certificate_but_its_own(rng, factor):
    points = rng.standard_normal((2000, 24)).astype(np.float32)
    points[7] *= factor
    certificate = search(points).certificate
    assert certificate.recomputed <= 1


@pytest.mark.parametrize("relative", [3e-4, 1e-2, 0.3])
def test_perturbed_scores_are_recomputed(points, monkeypatch, rng, relative):
    def perturbed(query, base, count, threads):
        score, proposed = HONEST(query, base, count, threads)
        noisy = (score * (1 + relative * rng.standard_normal(score.shape))).astype(np.float32)
        order = np.argsort(noisy, axis=1)
        return np.take_along_axis(noisy, order, axis=1), np.take_along_axis(proposed, order, axis=1)

    monkeypatch.setattr(propose, "propose", perturbed)
    found = search(points)
    assert_same_lists((found.distances, found.indices), oracle(points, 10))
    assert found.certificate.recomputed == 400


@pytest.mark.parametrize("fault", ["repeated", "negative", "out of range", "unordered", "nan", "infinite"])
def test_malformed_proposals_are_recomputed(points, monkeypatch, fault):
    def malformed(query, base, count, threads):
        score, proposed = HONEST(query, base, count, threads)
        if fault == "repeated":
            proposed[:, 3] = proposed[:, 2]
        elif fault in ("negative", "out of range"):
            proposed[:, 3] = -1 if fault == "negative" else len(base)
        elif fault == "unordered":
            score[:, 2:5], proposed[:, 2:5] = score[:, 4:1:-1].copy(), proposed[:, 4:1:-1].copy()
        else:
            score[:, 3] = np.nan if fault == "nan" else np.inf
        return score, proposed

    monkeypatch.setattr(propose, "propose", malformed)
    found = search(points)
    assert_same_lists((found.distances, found.indices), oracle(points, 10))
    assert found.certificate.recomputed == 400


def test_too_few_proposals_are_recomputed(points, monkeypatch):
    monkeypatch.setattr(
        propose, "propose", lambda query, base, count, threads: HONEST(query, base, 4, threads)
    )
    found = search(points)
    assert_same_lists((found.distances, found.indices), oracle(points, 10))
    assert found.certificate.recomputed == 400


def test_a_margin_too_thin_to_decide_is_recomputed(points, monkeypatch):
    monkeypatch.setattr(
        propose, "propose", lambda query, base, count, threads: HONEST(query, base, 11, threads)
    )
    found = search(points)
    assert_same_lists((found.distances, found.indices), oracle(points, 10))
    assert found.certificate.recomputed > 0


def test_one_bad_tile_is_enough_to_be_recomputed(points, monkeypatch):
    first_tile = points[:100] - points.mean(axis=0, dtype=np.float64)

    def bad_in_the_first_tile(query, base, count, threads):
        score, proposed = HONEST(query, base, count, threads)
        is_first = np.corrcoef(base[0], first_tile[0])[0, 1] > 0.999
        return score * np.float32(1.5 if is_first else 1), proposed

    monkeypatch.setattr(propose, "propose", bad_in_the_first_tile)
    found = search(points, tile_rows=100)
    assert_same_lists((found.distances, found.indices), oracle(points, 10))
    assert found.certificate.recomputed == 400


def test_silently_lost_neighbors_are_found_by_the_audit(points, monkeypatch):
    def lossy(query, base, count, threads):
        score, proposed = HONEST(query, base, count + 1, threads)
        return np.delete(score, 2, axis=1), np.delete(proposed, 2, axis=1)

    monkeypatch.setattr(propose, "propose", lossy)
    with pytest.raises(
        HpcgeomError, match=r"neighbors of row 0 are not those that brute force finds.*lost some"
    ):
        search(points)


def test_there_is_no_certificate_before_the_end(points):
    unfinished = search_representation(ArrayRows(points), 5, tile_rows=100)
    next(unfinished.tiles())
    with pytest.raises(HpcgeomError, match=r"no certificate before its last tile is done: read all of tiles"):
        _ = unfinished.certificate


@pytest.mark.parametrize("n_features", [1, 3, 64, 384])
@pytest.mark.parametrize("offset", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("n_queries", [5, 200])
def test_the_bound_holds_for_every_pair(rng, n_features, offset, n_queries):
    """Few queries take the path of faiss without a matrix product, many the one with it."""
    points = (offset + rng.standard_t(2, (300, n_features))).astype(np.float32)
    points[150:] = points[:150] * np.float32(1 + 3e-7)
    scale = scan_rows(ArrayRows(points - np.float32(offset)), 300).centering.scale / 2.0 ** np.ceil(
        np.log2(1 + offset)
    )
    centering = Centering(np.zeros(n_features), scale)  # not centered, so that offsets strain the scores
    rounded = centering.apply(points).astype(np.float32)
    score, proposed = propose.propose(rounded[:n_queries], rounded, 300, 1)
    bound = bounds.float32_bound(n_features)
    norm = np.linalg.norm(rounded.astype(np.float64), axis=1)
    assert norm.max() <= 1
    for i in range(n_queries):
        exact = np.linalg.norm(
            points[i].astype(np.longdouble) - points[proposed[i]].astype(np.longdouble), axis=1
        )
        for distance, found in zip(exact.astype(np.float64), score[i], strict=True):
            limit = kernels.score_limit(distance, centering.scale, norm[i], bound.relative, bound.absolute)
            squared = (distance * centering.scale) ** 2
            assert squared - (limit - squared) <= found <= limit


@pytest.mark.parametrize("size", [1e-18, 1e-20, 1e-22, 1e-30, 1e-40])
def test_the_bound_holds_where_squares_underflow(rng, size):
    rounded = (size * rng.standard_normal((200, 3))).astype(np.float32)
    score, proposed = propose.propose(rounded, rounded, 200, 1)
    bound = bounds.float32_bound(3)
    for i in range(200):
        for distance, found in zip(
            np.linalg.norm(rounded[i].astype(np.float64) - rounded[proposed[i]], axis=1),
            score[i],
            strict=True,
        ):
            norm = np.linalg.norm(rounded[i].astype(np.float64))
            limit = kernels.score_limit(distance, 1.0, norm, bound.relative, bound.absolute)
            assert 2 * distance**2 - limit <= found <= limit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_centered_by_their_float64_mean(rng, dtype):
    points = (rng.standard_normal((1000, 5)) + 1e4).astype(dtype)
    center = scan_rows(ArrayRows(points), 130).centering.center
    np.testing.assert_allclose(center, points.mean(axis=0, dtype=np.longdouble).astype(float), rtol=1e-13)


def test_the_bound_is_not_idle():
    """Some honest error comes within a factor of a thousand of the bound, so that it is not merely large."""
    rng = np.random.default_rng(0)
    rounded = (10 + rng.standard_normal((200, 4))).astype(np.float32) / np.float32(64)
    score, proposed = propose.propose(rounded, rounded, 200, 1)
    exact = np.square(rounded[:, None].astype(np.float64) - rounded[proposed]).sum(axis=2)
    reach = 2 * np.linalg.norm(rounded, axis=1)[:, None] + np.sqrt(exact)
    share = np.abs(score - exact) / (bounds.float32_bound(4).relative * reach**2)
    assert 1e-3 < share.max() <= 1


def test_more_features_than_the_proof_covers_are_refused():
    with pytest.raises(
        InputError, match=r"points have 4194305 features, and exactness is proven up to 4194304"
    ):
        bounds.float32_bound(2**22 + 1)
