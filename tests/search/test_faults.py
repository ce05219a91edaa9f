"""Kernels that are not what they claim to be: every fault ends in exact lists or in an error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from search_oracle import assert_same_lists, lists, oracle, search

from hpcgeom.errors import HpcgeomError
from hpcgeom.search import bounds, representation
from hpcgeom.search import points as points_module
from hpcgeom.search.candidates import offer
from hpcgeom.search.kernels import panels
from hpcgeom.search.kernels.multipliers import Blas, OneDnn
from hpcgeom.search.kernels.panels import PanelKernel
from hpcgeom.search.keys import INDEX_BITS, score_of

LOST = r"neighbors of row \d+ are not those that brute force finds, so the kernel lost some.*report this"
HONEST_PRODUCTS = {kind: kind.product for kind in (Blas, OneDnn)}
HONEST_PROPOSE = representation.propose


@pytest.fixture
def points(rng):
    return rng.standard_normal((400, 24)).astype(np.float32)


def tamper_with_products(monkeypatch, change):
    """`change` gets every product of two panels, and may write into it."""

    def tampered(honest_product):
        def product(multiplier, one, other):
            honest = np.array(honest_product(multiplier, one, other))
            change(honest)
            return honest

        return product

    for kind, honest_product in HONEST_PRODUCTS.items():
        monkeypatch.setattr(kind, "product", tampered(honest_product))


def tamper_with_candidates(monkeypatch, change):
    """`change` gets the settled candidates of every tile; those it returns take their place."""

    def propose(*arguments):
        return {start: change(found) for start, found in HONEST_PROPOSE(*arguments).items()}

    monkeypatch.setattr(representation, "propose", propose)


def float32_search(points, k=10, **options):
    return search(points, k, kernel="float32", **options)


def assert_recomputed(points, n=None, **options):
    found = float32_search(points, **options)
    n_base = options.get("n_base")
    assert_same_lists(lists(found), oracle(points, 10, None if n_base is None else np.arange(n_base)))
    assert found.certificate.recomputed == (len(points) if n is None else n)


@pytest.mark.parametrize("relative", [1e-4, 1e-2, 0.3])
def test_perturbed_products_are_recomputed(points, monkeypatch, rng, relative):
    """What reduced precision does to products, wherever it comes from."""

    def perturb(product):
        product *= (1 + relative * rng.standard_normal(product.shape)).astype(np.float32)

    tamper_with_products(monkeypatch, perturb)
    assert_recomputed(points)
    assert_recomputed(points, n_base=300)


@pytest.mark.parametrize("value", [np.nan, -np.nan])
def test_products_that_are_no_numbers_are_recomputed(points, monkeypatch, value):
    tamper_with_products(monkeypatch, lambda product: product.fill(value))
    assert_recomputed(points)


def test_a_product_that_is_no_number_hurts_its_two_rows_only(points, monkeypatch):
    def spoil(product):
        product[7, 300] = product[300, 7] = np.nan

    tamper_with_products(monkeypatch, spoil)
    assert_recomputed(points, n=2)


@pytest.mark.parametrize("value", [0.0, 1.0, np.inf])
def test_products_that_are_all_the_same_are_recomputed(points, monkeypatch, value):
    tamper_with_products(monkeypatch, lambda product: product.fill(value))
    assert_recomputed(points)


def test_one_bad_panel_is_enough_to_be_recomputed(points, monkeypatch):
    """Panels of 100 rows: the one of rows 100 to 199 with themselves is 1 % too large."""
    monkeypatch.setattr(panels, "PANEL_ROWS", 100)
    calls = iter(range(10))

    def spoil(product):
        if next(calls) == 1:
            product *= np.float32(1.01)

    tamper_with_products(monkeypatch, spoil)
    found = float32_search(points)
    assert_same_lists(lists(found), oracle(points, 10))
    assert 90 < found.certificate.recomputed <= 100


def with_index(keys, index):
    return (keys & ~np.int64(INDEX_BITS)) | index


@pytest.mark.parametrize("fault", ["repeated", "itself", "out of range", "a query", "nan", "infinite"])
def test_malformed_candidates_are_recomputed(points, monkeypatch, fault):
    def malform(found):
        keys, own = found.keys.copy(), np.arange(found.start, found.stop)
        if fault == "repeated":
            keys[:, 3] = keys[:, 2]
        elif fault in ("nan", "infinite"):
            bits = np.float32(-1.0 if fault == "nan" else np.inf).view(np.int32)
            keys[:, 3] = (np.int64(bits) << 32) | (keys[:, 3] & INDEX_BITS)
        else:
            keys[:, 3] = with_index(keys[:, 3], {"itself": own, "out of range": 2**31 - 1}.get(fault, 350))
        return dataclasses.replace(found, keys=keys)

    tamper_with_candidates(monkeypatch, malform)
    assert_recomputed(points, n_base=300)


def test_a_candidate_in_place_of_another_is_recomputed_where_all_rows_are_candidates(rng, monkeypatch):
    """Their number is that of all other base rows, and the one that comes twice is not in the list.

    The base rows are so close together, compared with the queries, that no score tells them apart.
    """
    points = np.concatenate([1 + 1e-9 * rng.standard_normal((20, 3)), rng.standard_normal((200, 3))])
    order = oracle(points[:20], 19)[1]

    def repeat(found):
        if found.start > 0:
            return found
        keys = found.keys.copy()
        assert (found.counts == 19).all()
        for row in range(20):
            index = keys[row, :19] & INDEX_BITS
            keys[row, :19][index == order[row, 0]] = keys[row, :19][index == order[row, 18]]
        return dataclasses.replace(found, keys=keys)

    tamper_with_candidates(monkeypatch, repeat)
    found = float32_search(points, n_base=20)
    assert_same_lists(lists(found), oracle(points, 10, np.arange(20)))
    assert found.certificate.recomputed >= 20


def test_the_order_of_candidates_does_not_matter(points, monkeypatch, rng):
    def shuffle(found):
        keys = found.keys.copy()
        for row, count in enumerate(found.counts):
            keys[row, :count] = rng.permutation(keys[row, :count])
        return dataclasses.replace(found, keys=keys)

    tamper_with_candidates(monkeypatch, shuffle)
    assert_recomputed(points, n=0)


@pytest.mark.parametrize("n_kept", [0, 4, 9])
def test_too_few_candidates_are_recomputed(points, monkeypatch, n_kept):
    """With honest thresholds, which are no larger than the first score that was left out."""

    def shorten(found):
        first_left_out = [score_of(key) for key in found.keys[:, n_kept]]
        counts = np.full_like(found.counts, n_kept)
        return dataclasses.replace(found, counts=counts, thresholds=np.array(first_left_out))

    tamper_with_candidates(monkeypatch, shorten)
    found = float32_search(points)
    assert_same_lists(lists(found), oracle(points, 10))
    assert found.certificate.recomputed == 400


@pytest.mark.parametrize("n_base", [None, 300])
def test_silently_lost_pairs_are_found_by_the_audit(points, monkeypatch, rng, n_base):
    """A twentieth of all pairs is far apart to the kernel, and nothing else is wrong."""

    def lose(product):
        product[rng.random(product.shape) < 0.05] = -1

    tamper_with_products(monkeypatch, lose)
    with pytest.raises(HpcgeomError, match=LOST):
        float32_search(points, n_base=n_base)


def test_lists_that_are_too_short_are_recomputed(points, monkeypatch):
    """The third nearest is left out where there are ten: a threshold does not make up for a missing row."""

    def lose(found):
        keys = np.delete(found.keys, 2, axis=1)
        is_short = found.counts == 10
        assert is_short.mean() > 0.9
        keys[~is_short] = found.keys[~is_short, :-1]
        return dataclasses.replace(found, keys=keys, counts=found.counts - is_short)

    tamper_with_candidates(monkeypatch, lose)
    found = float32_search(points)
    assert_same_lists(lists(found), oracle(points, 10))
    assert found.certificate.recomputed > 360


def test_offers_that_come_twice_are_recomputed(points, monkeypatch):
    def twice(*arguments, **options):
        offer(*arguments, **options)
        offer(*arguments, **options)

    monkeypatch.setattr(panels, "offer", twice)
    assert_recomputed(points)


def test_offers_that_never_come_are_found(points, monkeypatch):
    """Lists that are empty have no threshold to certify them by."""
    monkeypatch.setattr(panels, "offer", lambda *arguments, **options: None)
    assert_recomputed(points)


class Coarse(Blas):
    """Multiplies rows that are rounded to eight bits."""

    name = "coarse"

    def bound(self, n_features):
        return bounds.half_bound(n_features, "bfloat16")

    def rounded(self, rows, centering):
        fraction, exponent = np.frexp(centering.apply(rows))
        coarse = np.ldexp(np.rint(fraction * 256) / 256, exponent)
        return coarse.astype(np.float32), np.linalg.norm(coarse, axis=1)


class Liar(Coarse):
    """The same, which claims to be float32."""

    def bound(self, n_features):
        return bounds.float32_bound(n_features)


@pytest.mark.parametrize(("multiplier", "fewest", "most"), [(Coarse, 0, 200), (Liar, 400, 400)])
def test_a_coarse_kernel_must_say_so(rng, monkeypatch, multiplier, fewest, most):
    """With its own bound it decides clear cases; what lies about its precision decides nothing."""
    points = (10.0 ** rng.uniform(-2, 0, (400, 1)) * rng.standard_normal((400, 2))).astype(np.float32)
    monkeypatch.setattr(points_module, "choose_kernel", lambda *asked: PanelKernel(multiplier()))
    found = search(points, 3)
    assert_same_lists(lists(found), oracle(points, 3))
    assert fewest <= found.certificate.recomputed <= most
    assert found.certificate.kernel == "coarse"
