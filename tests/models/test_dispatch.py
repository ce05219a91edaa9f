"""The strategy `dispatch`: parts of a model in memory, parts read from disk for every batch."""

from __future__ import annotations

import modules_for_tests as mine
import numpy as np
import pytest
import torch
from families_for_tests import KINDS, N_IDS, images, request, save
from safetensors.torch import load_file, save_file

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, NonFiniteActivation, Reading, Replicate, TokenBatch
from hpcgeom.models.dispatch import Dispatch

SHARES = {"none": 0.0, "half": 0.7, "all": 3.0}
"""Of a model's bytes that there is room for; that of a block, 0.3 of them, is left for what is read."""
READINGS = (Reading("resid", ("mean", "tokens")), Reading("mlp_act", ("last",)))


def batches(kind, n_ids=N_IDS):
    if kind == "vit":
        return [images(3), images(2, seed=1)]
    generator = np.random.default_rng(5)
    found = []
    for n_rows, n_tokens in ((3, 11), (1, 7)):
        mask = np.ones((n_rows, n_tokens), np.int64)
        mask[0, n_tokens - 2 :] = 0
        special = np.zeros((n_rows, n_tokens), bool)
        found.append(TokenBatch(generator.integers(5, n_ids, (n_rows, n_tokens)), mask, special))
    return found


def same(found, expected):
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key].view(np.uint32), values.view(np.uint32), err_msg=str(key))


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory):
    return request.param, save(request.param, tmp_path_factory.mktemp(request.param))


def opened(asked, share):
    """The whole model, and one in parts that has room for a share of it."""
    whole = Replicate().open_model(asked)
    n_bytes = sum(value.nbytes for value in whole.skeleton.model.parameters())
    return whole, Dispatch({"cpu": int(share * n_bytes)}).open_model(asked)


def on_disk(model):
    return [name for name, value in model.skeleton.model.named_parameters() if value.is_meta]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("share", SHARES)
def test_all_numbers_are_those_of_a_whole_model(checkpoint, share, dtype):
    kind, folder = checkpoint
    whole, parts = opened(request(kind, folder, *READINGS, dtype=dtype), SHARES[share])
    left, n_all = on_disk(parts), len(list(parts.skeleton.model.parameters()))
    assert {"none": len(left) == n_all, "half": 0 < len(left) < n_all, "all": not left}[share]
    for found, expected in zip(parts.run(batches(kind)), whole.run(batches(kind)), strict=True):
        same(found, expected)
    assert on_disk(parts) == left, "what was read for a batch is let go"
    assert parts.describe() == whole.describe()
    parts.close()


@pytest.mark.parametrize("share", ["none", "half"])
def test_details_are_those_of_a_whole_model(checkpoint, share):
    """The head of some is tied to the embedding; attention maps are read in another pass."""
    kind, folder = checkpoint
    details = ("attention", "logits", *(() if kind == "vit" else ("logit_lens",)))
    whole, parts = opened(request(kind, folder, details=details), SHARES[share])
    batch = batches(kind)[1].rows(1)
    batch.attention_mask[:] = 1
    expected, found = whole.details(batch), parts.details(batch)
    assert found.keys() == expected.keys()
    for site, variables in expected.items():
        for name, values in variables.items():
            np.testing.assert_array_equal(found[site][name], values, err_msg=f"{site}, {name}")


MODULE_READINGS = {
    "globs": ((Reading("module:blocks.*.mlp", ("mean", "max")),), {}),
    "blocks": (
        (Reading("resid", ("mean",)), Reading("mlp_out", ("last",)), Reading("module:head", ("first",))),
        {"blocks": "blocks", "block_sites": {"mlp_out": "mlp"}, "final_norm": "ln_f"},
    ),
}


@pytest.fixture
def module(tmp_path):
    """A request of a user's module whose weights are in a file, with a parameter for two of its names."""
    settings = {"kind": "PreNorm", "tied": True}
    torch.manual_seed(3)
    tensors = mine.make(**settings).state_dict()
    tensors.pop("head.weight")
    save_file(tensors, tmp_path / "model.safetensors")

    def make(readings, **more):
        settings_of = {"factory": "modules_for_tests:make", "factory_kwargs": settings}
        return ModelRequest("mine", "module", tmp_path, "float32", readings, **settings_of, **more)

    return make


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("read", MODULE_READINGS)
def test_a_users_module_gives_the_same(module, read, share):
    readings, more = MODULE_READINGS[read]
    whole, parts = opened(module(readings, **more), SHARES[share])
    assert bool(on_disk(parts)) == (share != "all")
    for found, expected in zip(
        parts.run(batches("module", mine.VOCABULARY)),
        whole.run(batches("module", mine.VOCABULARY)),
        strict=True,
    ):
        same(found, expected)


def test_random_weights_that_do_not_fit_are_refused_and_others_are_the_same():
    config = KINDS["esm2"].make_config().to_dict()
    asked = request("esm2", None, *READINGS, weights="random", seed=4, config=config)
    whole, parts = opened(asked, SHARES["all"])
    same(next(parts.run(batches("esm2"))), next(whole.run(batches("esm2"))))
    with pytest.raises(
        InputError,
        match=r"model 'tiny' has random weights, .* do not fit into memory: use a machine with more",
    ):
        opened(asked, SHARES["half"])


def test_a_value_that_is_not_finite_is_found_with_its_batch(tmp_path):
    folder = save("bert", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.embeddings.word_embeddings.weight"][7, 0] = torch.inf
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    good, bad = batches("bert")
    good.input_ids[:], bad.input_ids[:] = 5, 5
    bad.input_ids[0, 3] = 7
    with pytest.raises(NonFiniteActivation, match=r"row 0 of a batch .* layer 0") as caught:
        list(opened(request("bert", folder), SHARES["none"])[1].run([good, bad]))
    assert caught.value.batch == 1


def test_weights_are_read_where_they_lie_and_nothing_is_written(tmp_path):
    folder = save("gpt2", tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    _, parts = opened(request("gpt2", folder), SHARES["none"])
    list(parts.run(batches("gpt2")))
    assert sorted(tmp_path.rglob("*")) == before
