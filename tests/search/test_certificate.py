"""The certificate: what a kernel's scores decide, and what is counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from clouds import exact_duplicates
from search_oracle import search

from hpcgeom.errors import HpcgeomError
from hpcgeom.search import ArrayRows, Settings, search_representation
from hpcgeom.search.scan import scan_rows


@pytest.fixture
def points(rng):
    return rng.standard_normal((400, 24)).astype(np.float32)


def test_every_row_is_accounted_for(points):
    points[100:140] = points[:40]
    certificate = search(points, 10, tile_rows=150).certificate
    assert certificate.rows == 400
    assert certificate.n_distinct == 360
    assert certificate.n_duplicates == 40
    assert certificate.zero_distances == 80
    assert certificate.certified + certificate.recomputed == 360
    assert certificate.audited == 24


def test_queries_are_accounted_for(points):
    points[350:360] = points[:10]  # queries that equal base rows
    points[360:370] = points[10:20]
    points[100:110] = points[:10]
    certificate = search(points, 10, n_base=350, tile_rows=128).certificate
    assert certificate.rows == 400
    assert certificate.n_distinct == certificate.certified + certificate.recomputed == 370
    assert certificate.n_duplicates == 30
    assert certificate.zero_distances == 40
    assert certificate.audited == 8 * 4  # three tiles of base rows and one of queries


def test_ordinary_points_are_decided_in_float32(points):
    certificate = search(points, 10, kernel="float32").certificate
    assert certificate.certified == 400
    assert 0 < certificate.largest_relative_error < 1e-5
    assert certificate.kernel in ("float32", "float32-onednn")  # as the processor is


def test_points_beyond_float32_are_recomputed(rng):
    points = 1 + 1e-9 * rng.standard_normal((400, 8)) + np.repeat([[0.0], [1.0]], 200, axis=0)
    assert search(points, 10).certificate.recomputed == 400


def test_ties_of_a_lattice_are_decided_where_lists_have_room_for_them(rng):
    """The ten nearest of a ring are one at a time; with all tied, room for 26 does not decide among 59."""
    ring = np.arange(60.0)[:, None] * (2 * np.pi / 60) + [[0, -np.pi / 2]]
    assert search(np.cos(ring), 10, kernel="float32").certificate.certified == 60
    simplex = np.eye(60)
    found = search(simplex, 10, kernel="float32")
    assert found.certificate.recomputed == 60
    assert found.indices[30].tolist() == list(range(10))


@pytest.mark.parametrize("factor", [100, 1e4, 1e6])
def test_an_outlier_spoils_no_certificate_but_its_own(rng, factor):
    points = rng.standard_normal((2000, 24)).astype(np.float32)
    points[7] *= factor
    assert search(points, 10, kernel="float32").certificate.recomputed <= 1


def test_fewer_rows_than_a_list_has_room_for_are_always_decided(rng):
    """All rows are candidates, so nothing can be missing, however close they are."""
    points = 1 + 1e-13 * rng.standard_normal((30, 3))
    assert search(points, 20, kernel="float32").certificate.certified == 30


def test_the_certificate_does_not_depend_on_threads(rng):
    points = exact_duplicates(rng, 2300)
    one, two = (search(points, 9, threads=t, tile_rows=700).certificate for t in (1, 2))
    assert one == two
    assert {field.name for field in dataclasses.fields(one)} >= {"certified", "largest_relative_error"}


def test_there_is_no_certificate_before_the_end(points):
    unfinished = search_representation(ArrayRows(points), Settings(5, tile_rows=100))
    next(unfinished.tiles())
    with pytest.raises(HpcgeomError, match=r"no certificate before its last tile is done: read all of tiles"):
        _ = unfinished.certificate


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_centered_by_their_float64_mean(rng, dtype):
    points = (rng.standard_normal((1000, 5)) + 1e4).astype(dtype)
    center = scan_rows(ArrayRows(points), 130).centering.center
    np.testing.assert_allclose(center, points.mean(axis=0, dtype=np.longdouble).astype(float), rtol=1e-13)


def test_rows_are_centered_by_a_median_where_an_outlier_has_pulled_the_mean_away(rng):
    points = rng.standard_normal((300, 5))
    points[9] = 1e9
    assert np.abs(scan_rows(ArrayRows(points), 130).centering.center).max() < 1


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_scaled_rows_have_norms_of_at_most_one(rng, size):
    points = size * rng.standard_normal((300, 5))
    norm = np.linalg.norm(scan_rows(ArrayRows(points), 130).centering.apply(points), axis=1)
    assert norm.max() <= 1
    assert norm.max() > 0.1 or size == 1e-300
