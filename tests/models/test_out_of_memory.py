"""Batches on which memory runs out: every strategy halves the same ones, and gives the same bits."""

from __future__ import annotations

from contextlib import contextmanager

import families_for_tests as tiny
import pytest
import torch
from streams_for_tests import check_equal, replicated, some, streamed

from hpcgeom.errors import ResourceError
from hpcgeom.models import Pieces, Replicate, Splits

SIZES = [[9, 4, 6, 7, 3], [8, 8], [24, 20, 5, 24], [12] * 6]
MOST_TOKENS = 60
CUT = {2: 2, 3: 2}
"""What has to be cut at `MOST_TOKENS`: four rows of 24, six of 12."""


@contextmanager
def small_memory(model: torch.nn.Module, block: int, most_tokens: int):
    """One block of a GPT-2 has memory for batches of so many tokens."""

    def refuse(_, arguments):
        if arguments[0].shape[0] * arguments[0].shape[1] > most_tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")

    hook = model.h[block].register_forward_pre_hook(refuse)
    yield
    hook.remove()


@pytest.fixture(scope="module")
def request_and_batches(tmp_path_factory, make_batch):
    folder = tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"))
    batches = [make_batch(sizes, "right", tiny.N_IDS, seed) for seed, sizes in enumerate(SIZES)]
    return tiny.request("gpt2", folder, *some("resid", "mlp_out")), batches


def open_by(strategy, request):
    """An open model, and the module that runs."""
    model = streamed(request) if strategy == "stream" else Replicate().open_model(request)
    return model, (model._route.skeleton if strategy == "stream" else model.skeleton).model


@pytest.mark.parametrize("with_scratch", [False, True])
@pytest.mark.parametrize(("strategy", "block"), [("replicate", 1), ("stream", 0), ("stream", 2)])
def test_the_batch_that_does_not_fit_is_halved_and_no_other(
    request_and_batches, strategy, block, with_scratch, tmp_path
):
    request, batches = request_and_batches
    expected = list(Pieces(Replicate().open_model(request).run, "m", "cpu").run(batches, Splits(dict(CUT))))
    model, module = open_by(strategy, request)

    def run(some):
        return model.run(some, tmp_path / "scratch" if with_scratch else None)

    splits = Splits()
    with small_memory(module, block, MOST_TOKENS):
        found = list(Pieces(run, "m", "cpu").run(batches, splits))
    assert splits.n_pieces == CUT
    check_equal(found, expected)
    # and once there is memory again, whole batches are run as if nothing had been
    check_equal(list(run(batches)), replicated(request, batches))


@pytest.mark.parametrize("strategy", ["replicate", "stream"])
def test_the_error_names_the_batch(request_and_batches, strategy):
    request, batches = request_and_batches
    model, module = open_by(strategy, request)
    with small_memory(module, 1, MOST_TOKENS), pytest.raises(torch.OutOfMemoryError) as caught:
        list(model.run(batches))
    assert caught.value.batch == 2
    where = (
        r"model 'm': memory ran out on cpu on a single sequence of 24 tokens of batch 2, which has 4 \(CUDA"
    )
    with small_memory(module, 1, 23), pytest.raises(ResourceError, match=where):
        list(Pieces(model.run, "m", "cpu").run(batches))


def test_hidden_states_that_do_not_fit_on_the_device_name_their_batch(request_and_batches, monkeypatch):
    """On the way back from the host: while the batch before is run."""
    request, batches = request_and_batches
    model = streamed(request)

    def to_device(self, kept):
        if kept.shape[1] == 24:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lambda: kept

    monkeypatch.setattr("hpcgeom.models.transfers._Nothing.to_device", to_device)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        list(model.run(batches))
    assert caught.value.batch == 2
