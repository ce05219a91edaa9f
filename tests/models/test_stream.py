"""The strategy `stream` gives the bits of `replicate`, reads each weight once, and refuses what it cannot."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from streams_for_tests import PLENTY, batches_of, check_equal, replicated, request_of, some, streamed

from hpcgeom import trace
from hpcgeom.errors import InputError, ProblemsError, ResourceError
from hpcgeom.models import ModelRequest, NonFiniteActivation, Reading, Replicate
from hpcgeom.models.raw_files import read_at
from hpcgeom.models.stream import Stream


@pytest.fixture(scope="module", params=list(tiny.KINDS))
def kind_and_folder(request, tmp_path_factory):
    return request.param, tiny.save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("memory_bytes", [PLENTY, 3000, 0], ids=["in memory", "some spilled", "all spilled"])
def test_every_family_gives_the_bits_of_replicate(
    kind_and_folder, dtype, memory_bytes, tmp_path, monkeypatch
):
    if memory_bytes == 0:  # masks and tables are made again for every block
        monkeypatch.setattr("hpcgeom.models.passage.CALLS_BYTES", 0)
    kind, folder = kind_and_folder
    request, batches = request_of(kind, folder, dtype=dtype), batches_of(kind)
    model = streamed(request, memory_bytes)
    scratch = None if memory_bytes == PLENTY else tmp_path / "scratch"
    check_equal(list(model.run(iter(batches), scratch)), replicated(request, batches))
    assert model.describe() == Replicate().open_model(request).describe()


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_files_of_another_type_are_cast_as_replicate_casts_them(gpt2, tmp_path, stored, dtype, monkeypatch):
    monkeypatch.setattr("hpcgeom.models.weight_reader.STAGED_BYTES", 64)  # a tensor comes in many pieces
    folder = tiny.rewritten(gpt2, tmp_path / "cast", lambda t: {k: v.to(stored) for k, v in t.items()})
    request, batches = request_of("gpt2", folder, dtype=dtype), batches_of("gpt2")
    check_equal(list(streamed(request).run(batches)), replicated(request, batches))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_files_larger_than_the_memory_are_read_past_the_page_cache(gpt2, dtype, monkeypatch):
    monkeypatch.setattr("hpcgeom.models.weight_reader.CACHED_SHARE", 0.0)
    monkeypatch.setattr("hpcgeom.models.weight_reader.STAGED_BYTES", 4096)
    opened, real = [], os.open

    def note(path, flags, *rest):
        opened.append((str(path), bool(flags & os.O_DIRECT)))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", note)
    request, batches = request_of("gpt2", gpt2, dtype=dtype), batches_of("gpt2")
    model = streamed(request)
    assert (str(gpt2 / "model.safetensors"), True) in opened
    check_equal(list(model.run(batches)), replicated(request, batches))


def test_a_file_system_without_such_reads_gives_the_same(gpt2, monkeypatch):
    monkeypatch.setattr("hpcgeom.models.weight_reader.CACHED_SHARE", 0.0)
    real = os.open

    def refuse(path, flags, *rest):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    request, batches = request_of("gpt2", gpt2), batches_of("gpt2")
    check_equal(list(streamed(request).run(batches)), replicated(request, batches))


def test_shards_are_read_where_they_are(tmp_path):
    entry = tiny.KINDS["llama"]
    model = tiny.unusual(entry.base(entry.make_config()), 3)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    request, batches = request_of("llama", tmp_path), batches_of("llama")
    check_equal(list(streamed(request).run(batches)), replicated(request, batches))


def n_block_bytes(folder, n_blocks):
    """Bytes on disk of the first blocks of the tiny GPT-2."""
    with safe_open(folder / "model.safetensors", "np") as file:
        names = [name for index in range(n_blocks) for name in file.keys() if f".h.{index}." in name]  # noqa: SIM118
        return sum(file.get_tensor(name).nbytes for name in names if not name.endswith(".attn.bias"))


def test_each_weight_is_read_once_a_set(gpt2):
    model = streamed(tiny.request("gpt2", gpt2, *some("resid")))
    for n_sets in (1, 2):
        assert len(list(model.run(batches_of("gpt2")))) == 3
        assert model.weights.n_bytes_read == n_sets * n_block_bytes(gpt2, 3) > 0


def test_blocks_that_nothing_needs_are_not_read(gpt2):
    readings = (Reading("mlp_out", ("mean",), (1,)), Reading("ln_1", ("mean",), (0, 1)))
    model = streamed(tiny.request("gpt2", gpt2, *readings))
    request, batches = tiny.request("gpt2", gpt2, *readings), batches_of("gpt2")
    check_equal(list(model.run(batches)), replicated(request, batches))
    assert model.weights.n_bytes_read == n_block_bytes(gpt2, 2)


def test_embeddings_alone_need_no_block(gpt2):
    request = tiny.request("gpt2", gpt2, *some("token_embed", "pos_embed"))
    model = streamed(request)
    check_equal(list(model.run(batches_of("gpt2"))), replicated(request, batches_of("gpt2")))
    assert model.weights.n_bytes_read == 0


def test_no_more_than_two_blocks_have_memory(gpt2):
    model = streamed(tiny.request("gpt2", gpt2, *some("resid")))
    blocks = model._route.layout.blocks_of(model._route.skeleton.model)
    seen = []
    for block in blocks:
        block.register_forward_hook(
            lambda *_: seen.append(sum(not p.is_meta for b in blocks for p in b.parameters()))
        )
    list(model.run(batches_of("gpt2")))
    n_parameters = len(list(blocks[0].parameters()))
    assert (
        seen == [n_parameters] * 9
    )  # three batches through three blocks; the next one is not the model's yet


def test_an_empty_set_gives_nothing(gpt2, tmp_path):
    model = streamed(tiny.request("gpt2", gpt2, *some("resid")))
    assert list(model.run([])) == []
    assert list(model.run([], tmp_path / "scratch")) == []


def test_modules_inside_blocks_are_read_by_glob(gpt2):
    readings = (Reading("module:h.*.mlp.c_fc", ("mean", "tokens"), (0, 2)), Reading("module:h.1", ("max",)))
    request, batches = tiny.request("gpt2", gpt2, *readings), batches_of("gpt2")
    check_equal(list(streamed(request).run(batches)), replicated(request, batches))


def test_modules_outside_of_blocks_are_refused(gpt2):
    request = tiny.request("gpt2", gpt2, Reading("module:*ln_f", ("mean",)))
    with pytest.raises(InputError, match=r"'ln_f' is outside of the blocks 'h'.*below 'h\.'.*dispatch"):
        streamed(request)


def test_details_are_those_of_replicate(tmp_path):
    folder = tiny.save("gpt2", tmp_path)
    wanted = ("attention", "logits", "logit_lens", "mlp_out")
    request = tiny.request("gpt2", folder, *some("resid"), details=wanted)
    batch = batches_of("gpt2")[1].rows(1)
    model = streamed(request)
    found, expected = model.details(batch), Replicate().open_model(request).details(batch)
    assert list(found) == list(expected)
    for site, variables in expected.items():
        for name, values in variables.items():
            np.testing.assert_array_equal(found[site][name], values)
    check_equal(list(model.run([batch])), replicated(request, [batch]))  # and a set can follow


def test_a_value_that_is_not_finite_says_in_which_batch(gpt2, tmp_path):
    def spoil(tensors):
        tensors["transformer.wte.weight"][7, 0] = torch.inf

    folder = tiny.rewritten(gpt2, tmp_path / "inf", spoil)
    batches = batches_of("gpt2")
    for batch in batches:
        batch.input_ids[batch.input_ids == 7] = 8
    batches[2].input_ids[1, -3] = 7
    model = streamed(tiny.request("gpt2", folder, *some("resid")))
    with pytest.raises(NonFiniteActivation, match="layer 0") as caught:
        list(model.run(batches))
    assert (caught.value.batch, caught.value.row) == (2, 1)


def test_random_weights_are_refused():
    config = tiny.KINDS["gpt2"].make_config().to_dict()
    request = tiny.request("gpt2", None, weights="random", config=config)
    with pytest.raises(InputError, match=r"random weights are drawn for the whole model.*replicate"):
        Stream().open_model(request)


def test_a_users_module_is_refused():
    request = ModelRequest("mine", "module", None, "float32", some("resid"), factory="a:b", weights="random")
    with pytest.raises(InputError, match=r"'mine': a factory makes its module whole.*replicate or dispatch"):
        Stream().open_model(request)


def test_weights_that_do_not_fit_are_refused_before_anything_runs(gpt2, tmp_path):
    def lose(tensors):
        del tensors["transformer.h.1.mlp.c_fc.weight"]

    folder = tiny.rewritten(gpt2, tmp_path / "less", lose)
    with pytest.raises(ProblemsError, match=r"lack.*h\.1\.mlp\.c_fc\.weight"):
        streamed(tiny.request("gpt2", folder))


def test_a_file_that_is_cut_off_while_it_is_open_is_an_error(gpt2, tmp_path):
    folder = tmp_path / "cut"
    tiny.rewritten(gpt2, folder)
    model = streamed(tiny.request("gpt2", folder))
    os.truncate(folder / "model.safetensors", 9000)
    with pytest.raises(InputError, match=r"model\.safetensors ends at byte 9000; expected \d+ more.*cut off"):
        list(model.run(batches_of("gpt2")))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InputError, match=r"cannot be read at byte 7: .*: check the disk, or fetch it again"):
        read_at(descriptor, np.zeros(4, np.uint8), 7, tmp_path)
    os.close(descriptor)


def test_hidden_states_that_exceed_the_memory_need_a_folder(gpt2):
    model = streamed(tiny.request("gpt2", gpt2), memory_bytes=4 * 12 * tiny.WIDTH * 4)
    with pytest.raises(ResourceError, match=r"of 2 batches take 0\.00 GB, and 0\.00 GB of memory.*a folder"):
        list(model.run(batches_of("gpt2")))


def test_a_batch_that_does_not_suit_the_model_is_an_error(gpt2):
    model = streamed(tiny.request("gpt2", gpt2))
    batches = batches_of("gpt2")
    batches[1].input_ids[0, 0] = 999
    with pytest.raises(InputError, match="token id 999"):
        list(model.run(batches))
    check_equal(list(model.run(batches[:1])), replicated(tiny.request("gpt2", gpt2), batches[:1]))


def test_a_closed_model_is_as_it_was_built(gpt2):
    model = streamed(tiny.request("gpt2", gpt2, *some("resid", "mlp_out")))
    list(model.run(batches_of("gpt2")))
    inner = model._route.skeleton.model
    model.close()
    assert all(parameter.is_meta for block in inner.h for parameter in block.parameters())
    hooks = [module._forward_hooks or module._forward_pre_hooks for module in inner.modules()]
    assert not any(hooks)


def test_the_threads_are_those_asked_for(gpt2):
    model = Stream().open_model(tiny.request("gpt2", gpt2), threads=2)
    torch.set_num_threads(1)
    list(model.run(batches_of("gpt2")))
    assert torch.get_num_threads() == 2


def test_a_trace_shows_every_block_of_every_batch_and_what_was_waited_for(gpt2, tmp_path):
    trace.start(tmp_path / "trace")
    try:
        model = streamed(tiny.request("gpt2", gpt2, *some("resid")), 0)
        list(model.run(batches_of("gpt2"), tmp_path / "scratch"))
    finally:
        trace.stop()
    (path,) = (tmp_path / "trace").iterdir()
    spans = [event for event in json.loads(path.read_text()) if event["ph"] == "X"]
    computed = [(e["args"]["block"], e["args"]["batch"]) for e in spans if e["name"] == "compute"]
    assert computed == [(block, batch) for block in range(3) for batch in range(3)]
    assert [e["args"]["block"] for e in spans if e["name"] == "wait"] == [0, 1, 2]
    tensors = [e["args"]["tensor"] for e in spans if e["name"] == "read" and "tensor" in e["args"]]
    assert len(tensors) == len(set(tensors)) == len(list(model._route.skeleton.model.h.parameters()))


def test_tied_tensors_of_a_head_are_loaded_once(tmp_path):
    folder = tiny.save("gpt2", tmp_path / "tied", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "lm_head.weight"}, folder / "model.safetensors")
    request = tiny.request("gpt2", folder, *some("resid"), details=("logits",))
    batch = batches_of("gpt2")[1].rows(1)
    found, expected = streamed(request).details(batch), Replicate().open_model(request).details(batch)
    np.testing.assert_array_equal(found["logits"]["logits"], expected["logits"]["logits"])
    check_equal(list(streamed(request).run([batch])), replicated(replace(request, details=()), [batch]))
