"""Pooling against NumPy in float64, and batches that cannot be pooled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hpcgeom.catalog.sites import POOLINGS as NAMED
from hpcgeom.errors import InputError
from hpcgeom.models import TokenBatch
from hpcgeom.models.pooling import BatchMasks, check_poolable, pool

POOLINGS = (*NAMED, "token:1", "token:-3")
OVER_ORDINARY = ["mean", "max", "std", "tokens"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_equals_numpy_in_float64(padded_batch, pool_in_float64, pooling, dtype):
    hidden = torch.randn(4, 12, 50, generator=torch.Generator().manual_seed(3)).mul(100).to(dtype)
    found = pool(hidden, BatchMasks.of(padded_batch), pooling)
    expected = pool_in_float64(hidden.float().numpy(), padded_batch, pooling)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_points_go_where_they_are_to_be(padded_batch, pooling, dtype):
    hidden = torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(3)).to(dtype)
    masks = BatchMasks.of(padded_batch)
    expected = pool(hidden, masks, pooling)
    assert len(expected) == masks.n_points(pooling)
    layers = torch.full((3, *expected.shape), 7.0)
    pool(hidden, masks, pooling, out=layers[1])
    assert torch.equal(layers[1], expected)
    assert bool((layers[[0, 2]] == 7).all())


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 1e30])
def test_values_at_padding_never_count(padded_batch, pooling, poison):
    hidden = torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(3))
    masks = BatchMasks.of(padded_batch)
    clean = pool(hidden, masks, pooling)
    hidden[~masks.real] = poison
    assert torch.equal(pool(hidden, masks, pooling), clean)


@pytest.mark.parametrize("pooling", OVER_ORDINARY)
def test_values_at_special_tokens_do_not_count(padded_batch, pooling):
    hidden = torch.randn(4, 12, 8, generator=torch.Generator().manual_seed(3))
    masks = BatchMasks.of(padded_batch)
    clean = pool(hidden, masks, pooling)
    hidden[torch.from_numpy(padded_batch.special_mask)] = torch.nan
    assert torch.equal(pool(hidden, masks, pooling), clean)


def test_a_mean_in_bfloat16_is_summed_in_float32(make_batch):
    batch = make_batch([4000])
    hidden = torch.ones(1, 4000, 1, dtype=torch.bfloat16)  # a bfloat16 sum would stop at 256
    assert pool(hidden, BatchMasks.of(batch), "mean_all").item() == 1.0


def test_an_unknown_pooling_is_refused(make_batch):
    masks = BatchMasks.of(make_batch([4]))
    with pytest.raises(
        InputError, match=r"unknown pooling 'median': expected one of mean.*: choose one of them"
    ):
        pool(torch.zeros(1, 4, 2), masks, "median")
    with pytest.raises(
        InputError, match=r"unknown pooling 'median': expected one of mean.*: choose one of them"
    ):
        check_poolable(masks, frozenset({"median"}))


@pytest.mark.parametrize("pooling", OVER_ORDINARY)
def test_a_row_of_special_tokens_only_cannot_be_pooled_over_ordinary_ones(make_batch, pooling):
    masks = BatchMasks.of(make_batch([4, 2]))
    with pytest.raises(InputError, match=f"row 1 .*special tokens only, so pooling '{pooling}' has nothing"):
        check_poolable(masks, frozenset({pooling}))
    check_poolable(masks, frozenset({"mean_all", "first", "last"}))


def test_a_row_of_padding_only_is_refused():
    ids, mask = np.zeros((2, 3), np.int64), np.array([[1, 1, 1], [0, 0, 0]])
    with pytest.raises(InputError, match="row 1 of a token batch is padding only"):
        TokenBatch(ids, mask, np.zeros((2, 3), bool))


@pytest.mark.parametrize(
    ("ids", "mask", "special", "message"),
    [
        (
            np.zeros((2, 3), np.int32),
            np.ones((2, 3), np.int64),
            np.zeros((2, 3), bool),
            r"input_ids .*found int32",
        ),
        (
            np.zeros(3, np.int64),
            np.ones(3, np.int64),
            np.zeros(3, bool),
            r"one shape \(B, T\).*found int64 \(3,\) .*: convert it",
        ),
        (
            np.zeros((2, 3), np.int64),
            np.ones((2, 4), np.int64),
            np.zeros((2, 3), bool),
            r"attention_mask .*\(2, 4\)",
        ),
        (
            np.zeros((2, 3), np.int64),
            np.ones((2, 3), np.int64),
            np.zeros((2, 3), int),
            r"special_mask .*bool",
        ),
        (np.zeros((0, 3), np.int64), np.ones((0, 3), np.int64), np.zeros((0, 3), bool), r"none of it zero"),
        (
            np.zeros((2, 3), np.int64),
            np.full((2, 3), 2),
            np.zeros((2, 3), bool),
            r"only 0 and 1; .*: correct it",
        ),
    ],
)
def test_a_batch_of_other_shapes_or_types_is_refused(ids, mask, special, message):
    with pytest.raises(InputError, match=message):
        TokenBatch(ids, mask, special)


def test_images_of_another_type_are_refused():
    ids, special = np.zeros((2, 3), np.int64), np.zeros((2, 3), bool)
    with pytest.raises(InputError, match=r"with B = 2; found float64 \(2, 3, 4, 4\): convert them"):
        TokenBatch(ids, np.ones((2, 3), np.int64), special, np.zeros((2, 3, 4, 4)))


@pytest.mark.parametrize("pooling", ["token:3", "token:-4"])
def test_a_token_that_a_row_does_not_have_is_refused(padded_batch, pooling):
    with pytest.raises(InputError, match=rf"row 1 of a token batch has 3 tokens, so pooling '{pooling}'"):
        check_poolable(BatchMasks.of(padded_batch), frozenset({pooling}))


def test_a_spread_far_from_zero_keeps_its_digits(make_batch):
    values = torch.tensor([0.0, 1000.25, 1000.5, 1000.75, 0.0])[None, :, None]
    found = pool(values, BatchMasks.of(make_batch([5])), "std")
    assert abs(found.item() - np.std([0.25, 0.5, 0.75])) < 1e-6
