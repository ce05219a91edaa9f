"""Batches in pieces give what whole batches give; those that do not fit are halved, always alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models import ModelRequest, NonFiniteActivation, Pieces, Reading, Replicate, Splits, TokenBatch
from hpcgeom.models.pieces import CPU_TOKENS

CONFIG = {
    "model_type": "esm", "vocab_size": 33, "hidden_size": 32, "num_hidden_layers": 3,
    "num_attention_heads": 4, "intermediate_size": 64, "position_embedding_type": "rotary",
    "token_dropout": True, "mask_token_id": 32, "pad_token_id": 1, "emb_layer_norm_before": False,
}  # fmt: skip


def batch_of(n_rows: int, n_tokens: int, seed: int = 0) -> TokenBatch:
    """Random ids; all rows but the last are padded."""
    rng = np.random.default_rng(seed)
    n_real = np.minimum(np.linspace(max(3, 0.9 * n_tokens), n_tokens, n_rows).astype(int), n_tokens)
    mask = (np.arange(n_tokens) < n_real[:, None]).astype(np.int64)
    ids = np.where(mask == 1, rng.integers(4, 24, (n_rows, n_tokens)), 1)
    special = np.zeros(ids.shape, bool)
    special[:, 0] = True
    return TokenBatch(ids, mask, special)


class Small:
    """A model double: gives row sums, on batches of at most `most` tokens; else memory runs out."""

    def __init__(self, most: float = np.inf, *, ahead: bool = False) -> None:
        self.most, self.ahead, self.shapes = most, ahead, []

    def run(self, batches: Iterable[TokenBatch]) -> Iterator[dict]:
        if self.ahead:  # as a strategy that carries all of them through each block
            batches = list(batches)
        for number, batch in enumerate(batches):
            self.shapes.append(batch.input_ids.shape)
            if batch.input_ids.size > self.most:
                error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")
                error.batch = number
                raise error
            if -1 in batch.input_ids:
                row = int(np.argwhere(batch.input_ids == -1)[0, 0])
                error = NonFiniteActivation(row, 2, "resid", "mean", "float32")
                error.batch = number
                raise error
            yield {("resid", "mean"): batch.input_ids.sum(axis=1).astype(np.float32)[None, :, None]}


def sums(batches) -> list:
    return [batch.input_ids.sum(axis=1).tolist() for batch in batches]


def values(found) -> list:
    return [pooled["resid", "mean"][0, :, 0].tolist() for pooled in found]


def test_pieces_of_a_real_model_are_its_batches_joined():
    """Against the model's own way with each whole batch, for points and for tokens as points."""
    readings = (Reading("resid", ("mean", "tokens", "last")), Reading("mlp_act", ("max",)))
    request = ModelRequest("m", "esm2", None, "float32", readings, weights="random", config=CONFIG)
    model = Replicate().open_model(request)
    batches = [batch_of(11, 250), batch_of(1, 7), batch_of(5, CPU_TOKENS + 1), batch_of(40, 25)]
    cut = list(Pieces(model.run, "m", "cpu").run(batches))
    for found, batch in zip(cut, batches, strict=True):
        for key, whole in model.extract(batch).items():
            assert found[key].shape == whole.shape
            assert found[key].dtype == np.float32
            np.testing.assert_allclose(found[key], whole, rtol=0, atol=2e-5 * np.abs(whole).max())


@pytest.mark.parametrize(
    ("device", "shape", "expected"),
    [
        ("cpu", (23, 350), [(2, 350)] * 9 + [(1, 350)] + [(2, 350)] * 2),
        ("cpu", (3, CPU_TOKENS), [(1, CPU_TOKENS)] * 3),
        ("cpu", (2, CPU_TOKENS + 1), [(1, CPU_TOKENS + 1)] * 2),
        ("cpu", (4, CPU_TOKENS // 4), [(4, CPU_TOKENS // 4)]),
        ("cuda:1", (23, 350), [(23, 350)]),
    ],
)
def test_on_a_cpu_pieces_fit_the_cache_and_elsewhere_batches_are_whole(device, shape, expected):
    model = Small()
    batch = batch_of(*shape)
    assert values(Pieces(model.run, "m", device).run([batch])) == sums([batch])
    assert sorted(model.shapes) == sorted(expected)
    assert sum(n_rows for n_rows, _ in model.shapes) == shape[0]


@pytest.mark.parametrize("ahead", [False, True])
def test_where_memory_runs_out_the_batch_is_halved_until_it_fits(ahead):
    batches = [batch_of(4, 10), batch_of(7, 30), batch_of(3, 20)]
    splits = Splits(keep=lambda *cut: kept.append(cut))
    kept = []
    model = Small(most=60, ahead=ahead)
    assert values(Pieces(model.run, "m", "cuda").run(iter(batches), splits)) == sums(batches)
    assert kept == [(1, 2), (1, 4)]
    assert splits.n_pieces == {1: 4}
    # A later attempt cuts alike, at once.
    again = Small(most=60, ahead=ahead)
    assert values(Pieces(again.run, "m", "cuda").run(batches, Splits({1: 4}))) == sums(batches)
    assert again.shapes == [(4, 10), (1, 30), (2, 30), (2, 30), (2, 30), (3, 20)]


def test_a_cut_is_kept_before_the_batch_is_run_again():
    def keep(batch: int, n_pieces: int) -> None:
        raise KeyboardInterrupt  # as if killed here

    model = Small(most=100)
    with pytest.raises(KeyboardInterrupt):
        list(Pieces(model.run, "m", "cuda").run([batch_of(7, 30)], Splits(keep=keep)))
    assert model.shapes == [(7, 30)]


def test_a_single_row_that_does_not_fit_is_refused():
    expected = (
        "model 'm': memory ran out on cuda on a single sequence of 80 tokens of batch 1, which has 3 (CUDA "
        "out of memory. Tried to allocate much): shorten the samples with dataset.max_length, choose the "
        "dtype bfloat16, or use a device with more memory, or more devices with the strategy pipeline"
    )
    with pytest.raises(ResourceError, match=f"^{re.escape(expected)}$"):
        list(Pieces(Small(most=60).run, "m", "cuda").run([batch_of(2, 20), batch_of(3, 80)]))


def test_a_lack_of_memory_that_no_batch_has_to_do_with_is_refused():
    def full(batches: Iterable[TokenBatch]) -> Iterator[dict]:
        raise MemoryError("no room for weights")
        yield

    expected = (
        "model 'm': memory ran out on cuda:1, whatever the size of a batch (no room for weights): end what "
        "else takes memory there, or use a device with more"
    )
    with pytest.raises(ResourceError, match=f"^{re.escape(expected)}$"):
        list(Pieces(full, "m", "cuda:1").run([batch_of(2, 10)]))


def test_other_failures_are_not_taken_for_a_lack_of_memory():
    def broken() -> Iterator[TokenBatch]:
        yield batch_of(2, 10)
        raise MemoryError("while reading")

    with pytest.raises(MemoryError, match="while reading"):
        list(Pieces(Small().run, "m", "cpu").run(broken()))

    class Failing(Small):
        def run(self, batches: Iterable[TokenBatch]) -> Iterator[dict]:
            raise InputError("wrong")
            yield

    with pytest.raises(InputError, match="wrong"):
        list(Pieces(Failing().run, "m", "cpu").run([batch_of(2, 10)]))


def test_a_value_that_is_not_finite_is_found_in_its_batch():
    batches = [batch_of(3, 300), batch_of(7, 300), batch_of(2, 300)]
    batches[1].input_ids[5, 4] = -1
    with pytest.raises(NonFiniteActivation, match="row 5 of a batch") as caught:
        list(Pieces(Small().run, "m", "cpu").run(batches))
    assert (caught.value.batch, caught.value.row, caught.value.layer) == (1, 5, 2)
