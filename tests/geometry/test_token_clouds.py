from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.stats import ortho_group

from hpcgeom.errors import InputError
from hpcgeom.geometry import gram_log_volume, prompt_volumes
from hpcgeom.types import Status

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, n_tokens=st.integers(2, 9), width=st.integers(1, 12), centered=st.booleans())
def test_is_half_the_logarithm_of_the_product_of_the_eigenvalues(seed, n_tokens, width, centered):
    tokens = np.random.default_rng(seed).standard_normal((n_tokens, width))
    found = gram_log_volume(tokens, centered)
    x = tokens - tokens.mean(axis=0) if centered else tokens
    n_values = min(n_tokens - centered, width)
    eigenvalues = np.sort(np.linalg.eigvalsh(x @ x.T))[::-1][:n_values]
    np.testing.assert_allclose(found.singular_values**2, eigenvalues, rtol=1e-6, atol=1e-10)
    assert (found.rank, found.status) == (n_values, Status.OK)
    smaller = x.T @ x if width < n_tokens else None
    if not centered or smaller is not None:
        _, expected = np.linalg.slogdet(x @ x.T if smaller is None else smaller)
        assert found.log_volume == pytest.approx(expected / 2, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_is_the_volume_of_the_simplex_of_the_tokens(rng, width):
    """By SciPy's convex hull; an interval in one dimension."""
    tokens = rng.standard_normal((width + 1, width))
    volume = np.ptp(tokens) if width == 1 else ConvexHull(tokens).volume
    expected = np.log(volume * factorial(width) / np.sqrt(width + 1))
    assert gram_log_volume(tokens).log_volume == pytest.approx(expected, rel=1e-10)


def test_is_the_volume_of_the_box_that_the_tokens_span(rng):
    tokens = rng.standard_normal((4, 4))
    expected = np.log(abs(np.linalg.det(tokens)))
    assert gram_log_volume(tokens, centered=False).log_volume == pytest.approx(expected, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, scale=st.floats(1e-150, 1e150), offset=st.floats(-100, 100), n_tokens=st.integers(2, 7))
def test_ignores_rotations_translations_and_order_and_follows_the_scale(seed, scale, offset, n_tokens):
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((n_tokens, 5))
    rotation = ortho_group(5).rvs(random_state=rng)
    before = gram_log_volume(tokens)
    after = gram_log_volume((rng.permutation(tokens) @ rotation + offset) * scale)
    assert after.rank == before.rank
    np.testing.assert_allclose(after.singular_values / scale, before.singular_values, rtol=1e-8, atol=1e-10)
    assert after.log_volume == pytest.approx(
        before.log_volume + before.rank * np.log(scale), rel=1e-8, abs=1e-7
    )
    spun = gram_log_volume(tokens @ rotation, centered=False)
    assert spun.log_volume == pytest.approx(gram_log_volume(tokens, centered=False).log_volume, abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_below_the_rounding_of_the_stored_numbers_are_no_rank(rng, dtype):
    """Tokens on a plane far from the origin, stored with the rounding of their type."""
    plane = rng.standard_normal((12, 2)) @ rng.standard_normal((2, 40)) + 3.0
    found = gram_log_volume(plane.astype(dtype))
    assert found.rank == 2
    assert found.singular_values.size == 11
    exact = np.linalg.svd(plane - plane.mean(axis=0), compute_uv=False)[:2]
    assert found.log_volume == pytest.approx(np.log(exact).sum(), abs=20 * float(np.finfo(dtype).eps))


def test_a_token_that_occurs_twice_lowers_the_rank(rng):
    tokens = rng.standard_normal((5, 20)).astype(np.float32)
    found = gram_log_volume(tokens[[0, 1, 2, 3, 4, 2]])
    assert (found.rank, found.singular_values.size) == (4, 5)


@pytest.mark.parametrize(
    ("tokens", "centered", "status"),
    [
        (np.full((4, 3), 0.1), True, Status.CONSTANT),
        (np.full((4, 3), 0.1, np.float32), True, Status.CONSTANT),
        (np.zeros((4, 3)), False, Status.CONSTANT),
        (np.full((4, 3), 0.1), False, Status.OK),
        (np.ones((1, 3)), True, Status.TOO_FEW_POINTS),
        (np.ones((1, 3)), False, Status.OK),
        (np.ones((0, 3)), False, Status.TOO_FEW_POINTS),
    ],
)
def test_says_why_there_is_no_volume(tokens, centered, status):
    found = gram_log_volume(tokens, centered)
    assert found.status is status
    assert found.rank == (status is Status.OK)
    assert np.isnan(found.log_volume) == (status is not Status.OK)


def test_every_prompt_is_measured_by_itself(rng):
    lengths = [3, 7, 1, 5]
    prompts = rng.permutation(np.repeat([10, 4, 7, -2], lengths))
    tokens = rng.standard_normal((16, 6)).astype(np.float32)
    found = prompt_volumes(tokens, prompts)
    assert found.prompt.tolist() == [-2, 4, 7, 10]
    assert found.n_tokens.tolist() == [5, 7, 1, 3]
    assert found.status.tolist() == [Status.OK, Status.OK, Status.TOO_FEW_POINTS, Status.OK]
    assert found.singular_values.shape == (4, 6)
    for i, prompt in enumerate(found.prompt):
        alone = gram_log_volume(tokens[prompts == prompt])
        np.testing.assert_equal(found.log_volume[i], alone.log_volume)
        assert found.rank[i] == alone.rank
        np.testing.assert_array_equal(
            found.singular_values[i, : alone.singular_values.size], alone.singular_values
        )
        assert np.isnan(found.singular_values[i, alone.singular_values.size :]).all()


def test_no_prompts_have_no_clouds():
    found = prompt_volumes(np.ones((0, 3)), np.empty(0, int))
    assert found.prompt.size == found.log_volume.size == 0
    assert found.singular_values.shape == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gram_log_volume(np.ones(3)),
            r"tokens: expected floating point .*, found float64 of shape \(3,\)",
        ),
        (
            lambda: gram_log_volume(np.full((2, 2), np.inf)),
            r"tokens: row 0, feature 0 is inf, expected a finite",
        ),
        (
            lambda: prompt_volumes(np.ones((3, 2)), np.zeros(3)),
            r"prompts: expected integers .*, found float64",
        ),
        (
            lambda: prompt_volumes(np.ones((3, 2)), np.zeros(2, int)),
            r"integers of shape \(3,\), found int64 of",
        ),
        (
            lambda: prompt_volumes(np.ones((3, 2)), [0, 0, 0]),
            r"prompts: .* found list of shape \?; pass the num",
        ),
    ],
)
def test_refuses_what_is_no_cloud(call, message):
    with pytest.raises(InputError, match=message):
        call()
