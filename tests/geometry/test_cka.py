"""Linear CKA against dense float64 formulas with explicit centering matrices and with sums over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from hpcgeom.errors import InputError
from hpcgeom.geometry import cka_matrix
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)
ROUTES = ["gram", "features"]


def reader(layers):
    return lambda layer, start, stop: layers[layer][start:stop]


def cka(layers, **kwargs):
    return cka_matrix(reader(layers), len(layers), len(layers[0]), **kwargs)


def dense_hsic(x, y):
    """tr(K H L H), H = 1 - 1/N, and the unbiased one from Gram matrices of the features as they are."""
    n = len(x)
    k, gram = x @ x.T, y @ y.T
    h = np.eye(n) - 1.0 / n
    biased = np.trace(k @ h @ gram @ h)
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(gram, 0.0)
    ones = np.ones(n)
    unbiased = np.trace(k @ gram) + (ones @ k @ ones) * (ones @ gram @ ones) / ((n - 1) * (n - 2))
    unbiased -= 2.0 / (n - 2) * (ones @ k @ gram @ ones)
    return biased, unbiased / (n * (n - 3))


def dense(layers):
    """Both matrices, shape (2, L, L)."""
    layers = [layer.astype(np.float64) for layer in layers]
    hsic = np.array([[dense_hsic(x, y) for y in layers] for x in layers])
    itself = np.array([hsic[i, i] for i in range(len(layers))])
    return np.moveaxis(hsic / np.sqrt(itself[:, None] * itself[None, :]), -1, 0)


def related(rng, n_points, widths):
    """Layers that share a common part, of any widths."""
    common = rng.standard_normal((n_points, 3))
    return [
        common @ rng.standard_normal((3, width)) + rng.standard_normal((n_points, width)) + rng.uniform(-1, 1)
        for width in widths
    ]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("n_points", "widths"), [(60, [5, 80, 7, 1]), (25, [30, 40]), (4, [2, 3]), (5, [9])])
def test_is_the_dense_formula(rng, route, n_points, widths):
    layers = related(rng, n_points, widths)
    found = cka(layers, route=route)
    expected = dense(layers)
    np.testing.assert_allclose(found.value, expected[0], rtol=1e-11)
    np.testing.assert_allclose(found.debiased, expected[1], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.diagonal(found.value), 1.0)
    np.testing.assert_array_equal(np.diagonal(found.debiased), 1.0)
    assert (found.n_points, found.route) == (n_points, route)
    assert not found.status.any()
    assert not found.debiased_status.any()


@pytest.mark.parametrize("route", ROUTES)
def test_does_not_depend_on_how_much_is_held_at_once(rng, route):
    layers = [layer.astype(np.float32) for layer in related(rng, 150, [6, 11, 3, 8, 6])]
    whole = cka(layers, route=route)
    for memory_bytes in (20_000, 30_000, 100_000):
        parts = cka(layers, route=route, memory_bytes=memory_bytes)
        np.testing.assert_allclose(parts.value, whole.value, rtol=1e-12)
        np.testing.assert_allclose(parts.debiased, whole.debiased, rtol=1e-11)


def test_reads_no_more_rows_at_once_than_the_memory_holds(rng):
    layers = related(rng, 400, [10, 10])
    most = 0

    def read_rows(layer, start, stop):
        nonlocal most
        most = max(most, stop - start)
        return layers[layer][start:stop]

    for route in ROUTES:
        most = 0
        cka_matrix(read_rows, 2, 400, memory_bytes=40_000, route=route)
        assert 16 <= most <= 40_000 // (6 * 10 * 8)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, scale=st.floats(1e-30, 1e30), offset=st.floats(-1e3, 1e3))
def test_ignores_rotations_translations_scales_and_the_order_of_points(seed, scale, offset):
    rng = np.random.default_rng(seed)
    layers = related(rng, 30, [4, 6])
    order = rng.permutation(30)
    moved = [(layers[0] @ ortho_group(4).rvs(random_state=rng) + offset)[order] * scale, layers[1][order]]
    for route in ROUTES:
        before, after = cka(layers, route=route), cka(moved, route=route)
        np.testing.assert_allclose(after.value, before.value, rtol=1e-8)
        np.testing.assert_allclose(after.debiased, before.debiased, rtol=1e-8, atol=1e-9)


def test_a_rotated_layer_is_the_same_layer(rng):
    points = rng.standard_normal((40, 6))
    found = cka([points, points @ ortho_group(6).rvs(random_state=rng)])
    np.testing.assert_allclose(found.value, 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.debiased, 1.0, rtol=1e-12)


def test_independent_wide_layers_look_alike_unless_debiased(rng):
    found = [cka([rng.standard_normal((20, 200)) for _ in range(2)]) for _ in range(200)]
    assert min(each.value[0, 1] for each in found) > 0.85
    debiased = np.array([each.debiased[0, 1] for each in found])
    assert abs(debiased.mean()) < 4 * debiased.std() / np.sqrt(200)
    assert debiased.std() < 0.1


def test_keeps_all_digits_far_from_the_origin(rng):
    layers = related(rng, 80, [5, 5])
    far = [np.round(layer * 2**10) / 2**10 + 2.0**20 for layer in layers]
    near = [layer - 2.0**20 for layer in far]
    for route in ROUTES:
        np.testing.assert_allclose(cka(far, route=route).value, cka(near, route=route).value, rtol=1e-12)


@pytest.mark.parametrize("magnitude", [1e-120, 1e120])
def test_neither_overflows_nor_vanishes(rng, magnitude):
    layers = related(rng, 30, [4, 4])
    found = cka([layers[0] * magnitude, layers[1]])
    np.testing.assert_allclose(found.value, cka(layers).value, rtol=1e-10)


def test_takes_the_route_of_fewer_multiplications(rng):
    few, many = rng.standard_normal((2, 300, 20))
    assert cka([few[:30], many[:30]]).route == "gram"
    assert cka([few, many]).route == "features"
    # wide layers do not fit over features
    wide = [rng.standard_normal((600, 200)) for _ in range(2)]
    assert cka(wide, memory_bytes=2**20).route == "features"
    assert cka(wide, memory_bytes=400_000).route == "gram"


@pytest.mark.parametrize("route", ROUTES)
def test_a_layer_of_equal_points_has_no_alignment(rng, route):
    layers = [rng.standard_normal((20, 3)), np.full((20, 2), 0.1), rng.standard_normal((20, 4))]
    found = cka(layers, route=route)
    assert found.status.tolist() == [Status.OK, Status.CONSTANT, Status.OK]
    assert found.debiased_status.tolist() == [Status.OK, Status.CONSTANT, Status.OK]
    for matrix, expected in zip((found.value, found.debiased), dense(layers[::2]), strict=True):
        assert np.isnan(matrix[1]).all()
        assert np.isnan(matrix[:, 1]).all()
        np.testing.assert_allclose(matrix[::2, ::2], expected, rtol=1e-9)


@pytest.mark.parametrize("n_points", [0, 1, 2, 3])
def test_few_points_have_no_alignment_or_no_unbiased_one(rng, n_points):
    found = cka([rng.standard_normal((n_points, 2)) for _ in range(2)])
    assert np.isnan(found.value).all() == (n_points < 2)
    assert np.isnan(found.debiased).all()
    assert (found.status == (Status.OK if n_points >= 2 else Status.TOO_FEW_POINTS)).all()
    assert (found.debiased_status == Status.TOO_FEW_POINTS).all()


def test_points_of_equal_distances_have_no_unbiased_alignment(rng):
    found = cka([np.eye(8), rng.standard_normal((8, 3))])
    assert found.debiased_status.tolist() == [Status.NO_SOLUTION, Status.OK]
    assert np.isnan(found.debiased[0]).all()
    assert np.isfinite(found.value).all()


POINTS = [np.ones((20, 3)), np.ones((20, 3))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cka_matrix(reader(POINTS), 0, 20), r"cka: expected 1 layer or more, .* found 0 layers"),
        (lambda: cka(POINTS, route="other"), r"the route auto, gram or features, found .* 'other'"),
        (lambda: cka_matrix(reader(POINTS), 2, 21), r"layer 0: rows 0\.\.20 have shape \(20, 3\), expected"),
        (lambda: cka([POINTS[0], POINTS[0] * np.nan]), r"layer 1, rows from 0: row 0, feature 0 is nan"),
        (lambda: cka([POINTS[0].astype(int)]), r"layer 0, rows from 0: expected floating point"),
        (
            lambda: cka(POINTS, memory_bytes=1000),
            r"2 layers of up to 3 features need \d+ bytes, found memory_bytes = 1000; raise it",
        ),
        (
            lambda: cka_matrix(lambda layer, a, b: np.ones((b - a, 2 + (a > 0))), 1, 5000, 10_000),
            r"layer 0: rows \d+\.\.\d+ have shape \(\d+, 3\), expected \(\d+, 2\)",
        ),
    ],
)
def test_refuses_what_cannot_be_compared(call, message):
    with pytest.raises(InputError, match=message):
        call()
