"""Exactness on points that hypothesis makes up: bits of float32 and float64, ties, clusters, outliers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from search_oracle import assert_same_lists, lists, oracle, search, unit_rows

SHAPES = st.tuples(st.integers(3, 45), st.integers(1, 5))
HARD = [0.0, -0.0, 1.0, -1.0, 1 + 2.0**-23, 1 - 2.0**-24, 1e-45, 1e-38, -1e-20, 3e37, -3e37, 1e-3, 0.1]


@st.composite
def clusters(draw):
    """A few centers, and rows that are a few last bits away from them, in float32 or float64."""
    n, d = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    step = np.finfo(dtype).eps * 2.0 ** draw(st.integers(0, 30))
    centers = rng.standard_normal((draw(st.integers(1, 4)), d)) * 10.0 ** draw(st.integers(-20, 20))
    rows = centers[rng.integers(0, len(centers), n)]
    return (rows * (1 + step * rng.integers(-3, 4, (n, d)))).astype(dtype)


@st.composite
def sizes(draw):
    """Rows of all sizes, from subnormal to huge."""
    n, d = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high, dtype = draw(st.sampled_from([(-148, 120, np.float32), (-1060, 990, np.float64)]))
    return np.ldexp(rng.standard_normal((n, d)), rng.integers(low, high, (n, 1))).astype(dtype)


POINTS = st.one_of(
    SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.sampled_from(np.float32(HARD)))),
    SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(-1e300, 1e300))),
    SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=st.floats(-1, 1, width=32))),
    SHAPES.flatmap(lambda shape: arrays(np.float16, shape, elements=st.floats(-6, 6, width=16))),
    clusters(),
    sizes(),
)


@settings(max_examples=100, deadline=None)
@given(points=POINTS, data=st.data())
def test_any_points_have_the_lists_of_brute_force(points, data):
    n_base = data.draw(st.one_of(st.just(len(points)), st.integers(2, len(points))))
    k = data.draw(st.one_of(st.just(1), st.just(n_base - 1), st.integers(1, n_base - 1)))
    tile_rows, kernel = (
        data.draw(st.sampled_from([8192, 16, 7])),
        data.draw(st.sampled_from(["auto", "bfloat16"])),
    )
    found = search(points, k, n_base=n_base, tile_rows=tile_rows, kernel=kernel)
    assert_same_lists(lists(found), oracle(points, k, np.arange(n_base)))
    certificate = found.certificate
    assert certificate.certified + certificate.recomputed == certificate.n_distinct


@settings(max_examples=40, deadline=None)
@given(points=st.one_of(clusters(), sizes()), data=st.data())
def test_any_directions_have_the_lists_of_brute_force(points, data):
    largest = np.abs(points.astype(np.float64)).max(axis=1)
    points = points[(largest > 1e-140) & (largest < 1e140)]  # where the oracle's own squares are numbers
    points = np.concatenate([points, -np.ones((2, points.shape[1]), points.dtype)])
    k = data.draw(st.integers(1, len(points) - 1))
    assert_same_lists(lists(search(points, k, metric="cosine")), oracle(unit_rows(points), k))


@settings(max_examples=40, deadline=None)
@given(points=st.one_of(clusters(), sizes()), shift=st.sampled_from([0.0, 1e-8, 1.0, 1e30]), data=st.data())
def test_any_center_gives_the_same_lists(points, shift, data):
    k = data.draw(st.integers(1, len(points) - 1))
    mean = points[data.draw(st.integers(0, len(points) - 1))].astype(np.float64) + shift
    assert_same_lists(lists(search(points, k, mean=mean)), oracle(points, k))
