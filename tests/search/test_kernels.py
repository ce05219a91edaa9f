"""Every kernel finds the neighbors of brute force, whatever it makes of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from search_kernels import ALL
from search_oracle import assert_same_lists, oracle

from hpcgeom.search import (
    ArrayRows,
    Settings,
    merge_rows,
    pairs_of_blocks,
    points,
    propose_pair,
    scan_points,
    search_representation,
)
from hpcgeom.search.kernels.device import DeviceKernel
from hpcgeom.search.kernels.faiss_tiles import FaissKernel
from hpcgeom.search.scan import Centering

FINE = [name for name in ALL if not name.startswith("bfloat16")]
K = 12


def gaussian(rng, n=330, d=24):
    return rng.standard_normal((n, d)).astype(np.float32)


def duplicates(rng):
    rows = gaussian(rng)
    rows[rng.permutation(330)[:90]] = rows[rng.integers(0, 330, 90)]
    return rows


def outlier(rng):
    rows = gaussian(rng)
    rows[7] = 1e6
    return rows


DATA = {
    "gaussian": gaussian,
    "384 features": lambda rng: gaussian(rng, 150, 384),
    "offset 1e4": lambda rng: gaussian(rng) + np.float32(1e4),
    "duplicates": duplicates,
    "one outlier at 1e6": outlier,
    "heavy tails": lambda rng: (rng.standard_t(1, (330, 8)) ** 5).astype(np.float32),
    "lattice": lambda rng: np.stack(np.meshgrid(*[np.arange(4.0)] * 4), -1).reshape(-1, 4),
    "clusters below the rounding": lambda rng: (
        gaussian(rng, 33, 16).repeat(10, axis=0) * (1 + 1e-6 * rng.standard_normal((330, 16)))
    ),
}


@cache
def rows_and_lists(name, n_base=None):
    rows = DATA[name](np.random.default_rng(5))
    members = None if n_base is None else np.arange(n_base)
    return rows, oracle(rows, K, members)


@pytest.fixture(params=list(ALL))
def kernel(request, monkeypatch):
    return use(ALL[request.param](), monkeypatch)


def use(kernel, monkeypatch):
    """Searches take this kernel, whichever they ask for."""
    monkeypatch.setattr(points, "choose_kernel", lambda *asked: kernel)
    return kernel


def search(rows, **settings):
    return search_representation(ArrayRows(rows), Settings(K, **settings)).collect()


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(("tile_rows", "threads"), [pytest.param(8192, 1, marks=pytest.mark.slow), (71, 2)])
def test_every_kernel_finds_the_lists_of_brute_force(kernel, name, tile_rows, threads):
    rows, expected = rows_and_lists(name)
    found = search(rows, tile_rows=tile_rows, threads=threads)
    assert_same_lists((found.distances, found.indices), expected)
    certificate = found.certificate
    assert certificate.certified + certificate.recomputed == certificate.n_distinct
    assert certificate.kernel == kernel.name


@pytest.mark.parametrize("tile_rows", [8192, 71])
def test_queries_get_lists_of_base_rows(kernel, tile_rows):
    rows, expected = rows_and_lists("duplicates", 200)
    found = search(rows, tile_rows=tile_rows, n_base=200)
    assert_same_lists((found.distances, found.indices), expected)


@pytest.mark.parametrize("n_base", [None, 200])
def test_a_split_search_finds_the_same(kernel, n_base):
    rows, expected = rows_and_lists("duplicates", n_base)
    scanned = scan_points(ArrayRows(rows), Settings(K, n_base=n_base, tile_rows=60, threads=2))
    parts = {pair: propose_pair(scanned, *pair, 3) for pair in pairs_of_blocks(3)}
    distances, indices = [], []
    for start, stop in [(0, 111), (111, 330)]:
        tiles, _ = merge_rows(scanned, start, stop, 3, lambda *pair: parts[pair])
        for tile in tiles:
            distances.append(tile.distances)
            indices.append(tile.indices)
    assert_same_lists((np.concatenate(distances), np.concatenate(indices)), expected)


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("data", ["gaussian", "384 features", "offset 1e4"])
def test_float32_and_float16_decide_easy_rows(name, data, monkeypatch):
    use(ALL[name](), monkeypatch)
    certificate = search(rows_and_lists(data)[0], tile_rows=71).certificate
    assert certificate.recomputed == 0
    assert 0 < certificate.largest_relative_error < 1e-2


@pytest.mark.parametrize("name", FINE)
def test_an_outlier_spoils_no_certificate_but_its_own(name, monkeypatch):
    use(ALL[name](), monkeypatch)
    assert search(rows_and_lists("one outlier at 1e6")[0]).certificate.recomputed <= 1


@pytest.mark.parametrize("name", ["bfloat16", "bfloat16-cpu"])
def test_bfloat16_decides_rows_with_few_others_at_the_same_distance(name, monkeypatch, rng):
    """In three dimensions distances spread; in many, more rows than a list keeps are too close to call."""
    use(ALL[name](), monkeypatch)
    certificate = search(gaussian(rng, 330, 3)).certificate
    assert certificate.certified > 300
    crowded = search(gaussian(rng, 700, 384)).certificate
    assert crowded.recomputed > 100


@pytest.mark.parametrize("name", list(ALL))
def test_scores_that_are_not_numbers_are_looked_at_again(name, monkeypatch):
    kernel = use(ALL[name](), monkeypatch)
    if name == "faiss":
        honest = kernel._nearest
        monkeypatch.setattr(kernel, "_nearest", lambda *given: spoiled(*honest(*given)))
    elif hasattr(kernel, "_scores"):
        honest = kernel._scores
        monkeypatch.setattr(kernel, "_scores", lambda *given: spoiled(honest(*given))[0])
    else:
        multiplier, honest = kernel._multiplier, kernel._multiplier.product
        monkeypatch.setattr(multiplier, "product", lambda *given: spoiled(honest(*given))[0])
    rows, expected = rows_and_lists("gaussian")
    found = search(rows, tile_rows=71)
    assert_same_lists((found.distances, found.indices), expected)
    assert found.certificate.recomputed == 330


def spoiled(scores, *rest):
    scores[:, 3] = np.nan
    scores[3] = np.nan
    return scores, *rest


def test_faiss_that_finds_too_few_is_looked_at_again(monkeypatch):
    kernel = use(FaissKernel(), monkeypatch)
    honest = kernel._nearest

    def too_few(*given):
        score, place = honest(*given)
        score[:, -3:], place[:, -3:] = np.inf, -1
        return score, place

    monkeypatch.setattr(kernel, "_nearest", too_few)
    rows, expected = rows_and_lists("gaussian")
    found = search(rows)
    assert_same_lists((found.distances, found.indices), expected)
    assert found.certificate.recomputed == 330


def test_tiles_stay_on_the_device_while_there_is_room(monkeypatch):
    rows, centering = np.eye(6, dtype=np.float32), Centering(np.zeros(6), 1.0)
    kernel, source = DeviceKernel("float16", "cpu"), ArrayRows(rows)

    def load(source, start=0):
        return kernel.load(source, start, start + 3, centering, is_base=True, threads=1)

    kept = load(source)
    assert load(source) is kept
    assert load(ArrayRows(rows)) is not kept
    monkeypatch.setattr(kernel, "_has_room", lambda: False)
    assert load(source, 3) is not load(source, 3)
