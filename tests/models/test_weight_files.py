"""Weights: what is read, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertModel

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import ModelRequest, Reading, Replicate, weights_digest


def open_bert(folder, dtype="float32"):
    return Replicate().open_model(
        ModelRequest("tiny", "bert", folder, dtype, (Reading("resid", ("first",)),))
    )


@pytest.fixture
def folder(bert_folder, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(bert_folder, tmp_path / "copy")
    return tmp_path / "copy"


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors) or tensors, folder / "model.safetensors")


def shard(folder):
    """The same checkpoint in two files and an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    keys = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": keys[::2], "model-00002-of-00002.safetensors": keys[1::2]}
    for name, part in shards.items():
        save_file({key: tensors[key] for key in part}, folder / name)
    index = {"metadata": {}, "weight_map": {key: name for name, part in shards.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_all_parameters_are_those_of_the_file(bert_folder):
    model = open_bert(bert_folder).skeleton.model
    expected = BertModel.from_pretrained(bert_folder, add_pooling_layer=False).state_dict()
    found = model.state_dict()
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_parameters_do_not_lie_in_the_mapping_of_the_file(folder):
    parameters = dict(open_bert(folder).skeleton.model.named_parameters())
    assert all(parameter.data_ptr() % 16 == 0 for parameter in parameters.values())
    assert str(folder) not in Path("/proc/self/maps").read_text()


def test_a_sharded_checkpoint_is_the_same_model(folder, bert_folder, make_batch):
    shard(folder)
    batch = make_batch([5, 3])
    found, expected = (open_bert(f).extract(batch)["resid", "first"] for f in (folder, bert_folder))
    np.testing.assert_array_equal(found, expected)


def test_names_of_a_larger_model_and_old_names_of_norms_are_mapped(folder, bert_folder, make_batch):
    def old_names(tensors):
        norm = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        renamed = {}
        for key, tensor in tensors.items():
            for new, old in norm.items():
                key = key.replace(new, old)
            renamed[f"bert.{key}"] = tensor
        renamed["bert.embeddings.position_ids"] = torch.arange(24)[None]
        renamed["cls.predictions.bias"] = torch.zeros(3)
        renamed["classifier.weight"] = torch.zeros(2, 32)
        return renamed

    rewrite(folder, old_names)
    model, batch = open_bert(folder), make_batch([5, 3])
    expected = open_bert(bert_folder).extract(batch)["resid", "first"]
    np.testing.assert_array_equal(model.extract(batch)["resid", "first"], expected)
    assert model.unused_keys == (
        "bert.embeddings.position_ids",
        "bert.pooler.dense.bias",
        "bert.pooler.dense.weight",
        "classifier.weight",
        "cls.predictions.bias",
    )


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_the_dtype_is_that_of_the_request_and_not_of_the_file(folder, stored, asked):
    rewrite(folder, lambda tensors: {key: tensor.to(stored) for key, tensor in tensors.items()})
    model = open_bert(folder, asked).skeleton.model
    expected = load_file(folder / "model.safetensors")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, expected[name].to(getattr(torch, asked)))
        assert parameter.dtype == getattr(torch, asked)


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop(QUERY) is None,
            rf"lack 1 tensors .* so .* random numbers there: {QUERY}: name weights of this model",
        ),
        (
            lambda t: t.update({QUERY: torch.zeros(32, 31)}),
            rf"do not fit the model: {QUERY} has shape \(32, 31\), exp.*: name weights of this model",
        ),
        (
            lambda t: t.update({"extra.weight": torch.zeros(2)}),
            r"have 1 tensors that the model has no .*: extra.weight",
        ),
        (
            lambda t: t.update({f"bert.{QUERY}": torch.zeros(2)}),
            rf"have twice 1 tensors .*one place for: .*{QUERY}",
        ),
        (lambda t: t.update({QUERY: t[QUERY].to(torch.int8)}), rf"{QUERY} is stored as I8, expected numbers"),
    ],
    ids=["missing", "shape", "extra", "twice", "integers"],
)
def test_tensors_that_are_not_those_of_the_model_are_refused(folder, change, message):
    rewrite(folder, lambda tensors: change(tensors) and None)
    with pytest.raises(ProblemsError, match=message):
        open_bert(folder)


def test_a_renamed_tensor_is_reported_as_missing_and_as_unknown(folder):
    rewrite(folder, lambda tensors: tensors.update({QUERY.replace("query", "quary"): tensors.pop(QUERY)}))
    with pytest.raises(ProblemsError, match=rf"(?s)lack 1 .*{QUERY}.*have 1 .*quary") as caught:
        open_bert(folder)
    assert len(caught.value.problems) == 2


def test_a_checkpoint_of_another_depth_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ProblemsError, match=r"have 16 tensors .*encoder.layer.3.*, \.\.\.: name weights of"):
        open_bert(folder)


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.0])
def test_a_truncated_file_is_named(folder, kept):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(
        InputError, match=r"model.safetensors \(\d+ bytes\) is not a whole safetensors file.*fetch it"
    ):
        open_bert(folder)


def test_a_pointer_of_git_lfs_is_told_from_damage(folder):
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    )
    with pytest.raises(InputError, match="is a git-lfs pointer, not weights: run `git lfs pull`"):
        open_bert(folder)


def test_pickled_weights_are_never_loaded(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /tmp/evil'\ntR.")
    with pytest.raises(
        InputError, match=r"weights only as pytorch_model.bin, which is a pickle and is never loaded"
    ):
        open_bert(folder)


def test_no_weights_at_all_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"has no weights: expected model.safetensors or model.safetensors.index.json"
    ):
        open_bert(folder)


def test_a_choice_of_files_is_not_made_for_the_user(folder):
    shutil.move(folder / "model.safetensors", folder / "one.safetensors")
    shutil.copy(folder / "one.safetensors", folder / "two.safetensors")
    with pytest.raises(
        InputError, match=r"holds 2 safetensors files \(one.safetensors, two.safetensors\).*name one"
    ):
        open_bert(folder)


def test_a_missing_shard_is_named(folder):
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of 2 shards named in .*index.json: model-00002-of-00002"):
        open_bert(folder)


def test_a_shard_without_a_tensor_of_the_index_is_named(folder):
    index = shard(folder)
    name = index["weight_map"][QUERY]
    tensors = load_file(folder / name)
    save_file({key: tensor for key, tensor in tensors.items() if key != QUERY}, folder / name)
    with pytest.raises(
        InputError, match=rf"{name} lacks tensor '{QUERY}' that .* puts there: fetch it again"
    ):
        open_bert(folder)


def test_a_tensor_in_two_shards_is_refused(folder):
    shard(folder)
    first, second = sorted(folder.glob("model-*.safetensors"))
    save_file({**load_file(second), QUERY: torch.zeros(1)}, second)
    save_file({**load_file(first), QUERY: torch.zeros(1)}, first)
    with pytest.raises(InputError, match=rf"tensor '{QUERY}' is in .*00001.* and in .*00002"):
        open_bert(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is not an index of shards: .*: fetch it again"),
        ("{}", r"expected JSON with `weight_map`"),
        (
            '{"weight_map": {"a": "../elsewhere.safetensors"}}',
            r"names the shard '../elsewhere.*plain file name beside it: fetch it again",
        ),
    ],
)
def test_a_wrong_index_is_refused(folder, text, message):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_bert(folder)


def test_a_path_that_holds_no_weights_is_refused(tmp_path):
    request = {"name": "mine", "family": "module", "dtype": "float32", "factory": "modules_for_tests:make"}
    readings = (Reading("module:embed", ("mean",)),)
    with pytest.raises(InputError, match="there is no such file or folder: correct the model's source"):
        Replicate().open_model(ModelRequest(folder=tmp_path / "no", readings=readings, **request))
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(InputError, match=r"weights.pt: expected .* or a folder with one: correct the model"):
        Replicate().open_model(ModelRequest(folder=tmp_path / "weights.pt", readings=readings, **request))


def test_the_digest_covers_weights_config_and_tokenizer(folder):
    (folder / "README.md").write_text("not part of the model")
    digest = weights_digest(folder)
    assert list(digest) == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name, entry in digest.items():
        content = (folder / name).read_bytes()
        assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    shard(folder)
    assert {"model-00001-of-00002.safetensors", "model.safetensors.index.json"} <= set(weights_digest(folder))
    assert list(weights_digest(folder / "config.json")) == ["config.json"]
