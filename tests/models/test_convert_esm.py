"""Converted ESM-2 checkpoints against fair-esm itself, and the folder that they become."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from functools import partial

import esm_files
import pytest
import torch
from esm_files import ALPHABET, SMALLEST_RELEASED, TINY
from safetensors.torch import load_file
from transformers import AutoTokenizer, EsmConfig, EsmForMaskedLM

from hpcgeom.models import ModelRequest, Reading, Replicate, esm_conversion
from hpcgeom.models.esm_conversion import convert_esm
from hpcgeom.models.shards import plan_shards, write_shards

LEFT_OUT = {"esm.contact_head.regression.weight", "esm.contact_head.regression.bias"}


def proteins(lengths=(3, 17, 40, 9, 1), seed=0):
    rng = random.Random(seed)
    return ["".join(rng.choices("LAGVSERTIDPKQNFYMHWCXBUZO", k=length)) for length in lengths]


def load(folder, **how):
    model, info = EsmForMaskedLM.from_pretrained(folder, output_loading_info=True, **how)
    assert set(info["missing_keys"]) == LEFT_OUT
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    return model.eval()


def run_fair_esm(model, tokens):
    with torch.no_grad():
        out = model(tokens, repr_layers=range(model.num_layers + 1))
    return [out["representations"][layer] for layer in range(model.num_layers + 1)], out["logits"]


def run_transformers(model, tokens):
    mask = (tokens != ALPHABET.padding_idx).long()
    with torch.no_grad():
        out = model(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    return list(out.hidden_states), out.logits


def assert_same(found, expected, tokens):
    """Within 1e-4 of the layer's RMS at every token, padding apart."""
    real = tokens != ALPHABET.padding_idx
    (found_hidden, found_logits), (hidden, logits) = found, expected
    assert len(found_hidden) == len(hidden)
    for layer, (a, b) in enumerate(zip([*found_hidden, found_logits], [*hidden, logits], strict=True)):
        rms = b[real].square().mean().sqrt()
        assert rms > 0.05, layer
        assert (a[real] - b[real]).abs().max() <= 1e-4 * rms, layer


def tokens_of(folder, texts):
    """Ids by fair-esm; the converted tokenizer must give the same."""
    _, _, tokens = ALPHABET.get_batch_converter()([("", text) for text in texts])
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert torch.equal(tokenizer(texts, padding=True, return_tensors="pt")["input_ids"], tokens)
    return tokens


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    return esm_files.save(tmp_path_factory.mktemp("tiny") / "esm2_tiny.pt", esm_files.make_model())


@pytest.mark.parametrize("sizes", [TINY, SMALLEST_RELEASED], ids=["tiny", "8M"])
@pytest.mark.parametrize("token_dropout", [True, False])
def test_all_layers_and_logits_are_those_of_fair_esm(sizes, token_dropout, tmp_path):
    reference = esm_files.make_model(sizes, token_dropout)
    folder = convert_esm(esm_files.save(tmp_path / "esm2.pt", reference), tmp_path / "cache")
    tokens = tokens_of(folder, proteins())
    tokens[2, 5:8] = ALPHABET.mask_idx
    assert_same(run_transformers(load(folder), tokens), run_fair_esm(reference, tokens), tokens)


@pytest.mark.parametrize(
    "layout",
    [
        {"prefixed": False},
        {"_use_new_zipfile_serialization": False},
        {"settings": "mapping"},
        {"state": "parameters"},
        {"state": "views"},
    ],
    ids=str,
)
def test_other_layouts_of_the_file_give_the_same_weights(layout, tiny_file, tmp_path):
    model = esm_files.make_model()
    if "settings" in layout:
        layout["settings"] = esm_files.settings_of(model)
    if layout.get("state") == "parameters":
        layout["state"] = {**model.state_dict(), **dict(model.named_parameters())}
    if layout.get("state") == "views":  # of storages with more in them, and not in the order of memory
        layout["state"] = {
            name: torch.stack([value, value], -1)[..., 0] for name, value in model.state_dict().items()
        }
    folder = convert_esm(esm_files.save(tmp_path / "esm2.pt", model, **layout), tmp_path / "cache")
    found = load_file(folder / "model.safetensors")
    expected = load_file(convert_esm(tiny_file, tmp_path / "cache") / "model.safetensors")
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_with_its_rounded_frequencies(dtype, tmp_path):
    half = esm_files.make_model().to(dtype)
    folder = convert_esm(esm_files.save(tmp_path / "esm2.pt", half), tmp_path / "cache")
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {dtype}
    assert EsmConfig.from_pretrained(folder).dtype == dtype
    reference = esm_files.make_model()  # fair-esm, in float32, loads what the file holds
    reference.load_state_dict(half.state_dict())
    tokens = tokens_of(folder, proteins())
    assert_same(
        run_transformers(load(folder, dtype="float32"), tokens), run_fair_esm(reference, tokens), tokens
    )


def test_the_configuration_is_that_of_esm_2(tmp_path):
    file = esm_files.save(tmp_path / "esm2.pt", esm_files.make_model(SMALLEST_RELEASED))
    found = EsmConfig.from_pretrained(convert_esm(file, tmp_path / "cache")).to_dict()
    expected = EsmConfig(
        architectures=["EsmForMaskedLM"],
        attention_probs_dropout_prob=0.0,
        classifier_dropout=None,
        dtype="float32",
        emb_layer_norm_before=False,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        hidden_size=320,
        intermediate_size=1280,
        layer_norm_eps=1e-5,
        mask_token_id=32,
        max_position_embeddings=1026,
        num_attention_heads=20,
        num_hidden_layers=6,
        pad_token_id=1,
        position_embedding_type="rotary",
        token_dropout=True,
        vocab_size=33,
    ).to_dict()
    volatile = ("_name_or_path", "transformers_version")
    assert {k: v for k, v in found.items() if k not in volatile} == {
        k: v for k, v in expected.items() if k not in volatile
    }


def test_the_tokens_are_the_alphabet_of_fair_esm(tiny_file, tmp_path):
    folder = convert_esm(tiny_file, tmp_path)
    assert (folder / "vocab.txt").read_text().split("\n") == ALPHABET.all_toks
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in [*proteins(), "M-K.", "".join(ALPHABET.standard_toks), "M<mask>K"]:
        encoded = tokenizer(text, return_special_tokens_mask=True)
        ordinary = ALPHABET.encode(text)
        assert encoded["input_ids"] == [ALPHABET.cls_idx, *ordinary, ALPHABET.eos_idx]
        assert encoded["special_tokens_mask"] == [1, *[0] * len(ordinary), 1]
    for name in ("cls", "eos", "mask", "pad", "unk"):
        assert getattr(tokenizer, f"{name}_token_id") == ALPHABET.get_idx(f"<{name}>")


def test_the_family_of_this_package_reads_the_folder(tiny_file, tmp_path, make_batch):
    folder, batch = convert_esm(tiny_file, tmp_path), make_batch([9, 4])
    request = ModelRequest("tiny", "esm2", folder, "float32", (Reading("hidden_states", ("first",)),))
    points = Replicate().open_model(request).extract(batch)["hidden_states", "first"]
    tokens = torch.from_numpy(batch.input_ids)
    tokens[1, 4:] = ALPHABET.padding_idx
    hidden, _ = run_fair_esm(esm_files.make_model(), tokens)
    for layer, expected in enumerate(hidden):
        torch.testing.assert_close(torch.from_numpy(points[layer]), expected[:, 0], rtol=1e-4, atol=1e-4)


def test_a_file_is_converted_once_into_a_folder_of_its_digest(tiny_file, tmp_path, monkeypatch):
    folder = convert_esm(tiny_file, tmp_path)
    assert folder == tmp_path / hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    record = json.loads((folder / "conversion.json").read_text())
    files = {file.name: file.stat().st_size for file in folder.iterdir() if file.name != "conversion.json"}
    assert record["files"] == files
    assert sorted(files) == ["config.json", "model.safetensors", "special_tokens_map.json",
                             "tokenizer_config.json", "vocab.txt"]  # fmt: skip
    assert record["left_out"] == [
        f"encoder.sentence_encoder.contact_head.regression.{k}" for k in ("bias", "weight")
    ]
    monkeypatch.setattr(esm_conversion, "read_esm2", None)  # not called again
    assert convert_esm(tiny_file, tmp_path) == folder


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: os.truncate(folder / "model.safetensors", 100),
        lambda folder: (folder / "vocab.txt").unlink(),
        lambda folder: (folder / "conversion.json").write_text("{"),
        lambda folder: (folder / "conversion.json").write_text('{"made_by": "older", "files": {}}'),
    ],
    ids=["cut", "lost", "no record", "older"],
)
def test_a_damaged_folder_is_made_again(spoil, tiny_file, tmp_path):
    folder = convert_esm(tiny_file, tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    spoil(folder)
    assert convert_esm(tiny_file, tmp_path) == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_another_process_may_finish_first(tiny_file, tmp_path, monkeypatch):
    write, first = esm_conversion._write, []

    def write_late(*arguments):
        monkeypatch.setattr(esm_conversion, "_write", write)
        first.append(convert_esm(tiny_file, tmp_path))  # the other one, from beginning to end
        first.append((first[0] / "config.json").stat().st_ino)
        write(*arguments)

    monkeypatch.setattr(esm_conversion, "_write", write_late)
    folder = convert_esm(tiny_file, tmp_path)
    assert first == [folder, (folder / "config.json").stat().st_ino]
    assert list(tmp_path.iterdir()) == [folder]


def test_two_processes_at_once_return_the_same_folder(tiny_file, tmp_path):
    code = f"""
import pathlib
from hpcgeom.models.esm_conversion import convert_esm
print(convert_esm(pathlib.Path({str(tiny_file)!r}), pathlib.Path({str(tmp_path)!r})))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert [str(path) for path in tmp_path.iterdir()] == said[:1]
    load(said[0])


def test_what_a_killed_process_left_goes_after_a_day(tiny_file, tmp_path):
    name = hashlib.sha256(tiny_file.read_bytes()).hexdigest()
    for left, age_s in ((f".{name}.a.partial", 25 * 3600), (f".{name}.b.partial", 3600)):
        (tmp_path / left).mkdir()
        (tmp_path / left / "model.safetensors").write_bytes(b"half")
        when = time.time() - age_s
        os.utime(tmp_path / left / "model.safetensors", (when, when))
        os.utime(tmp_path / left, (when, when))
    convert_esm(tiny_file, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{name}.b.partial", name]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HPCGEOM_CACHE": "{tmp}/own", "XDG_CACHE_HOME": "{tmp}/xdg"}, "own/converted"),
        ({"XDG_CACHE_HOME": "{tmp}/xdg"}, "xdg/hpcgeom/converted"),
        ({"XDG_CACHE_HOME": "relative"}, "home/.cache/hpcgeom/converted"),
        ({}, "home/.cache/hpcgeom/converted"),
    ],
)
def test_the_cache_is_where_the_environment_says(environment, expected, tiny_file, tmp_path, monkeypatch):
    for name in ("HPCGEOM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    assert convert_esm(tiny_file).parent == tmp_path / expected


def test_large_weights_come_in_shards_with_an_index(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(esm_conversion, "write_shards", partial(write_shards, max_bytes=20_000))
    folder = convert_esm(tiny_file, tmp_path)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 3
    assert all(shard.stat().st_size < 25_000 for shard in shards)
    tokens = tokens_of(folder, proteins())
    assert_same(run_transformers(load(folder), tokens), run_fair_esm(esm_files.make_model(), tokens), tokens)


def test_shards_stay_below_5_gb_and_keep_the_order():
    sizes = {f"t{i:03d}": 105_000_000 * 4 for i in range(48)} | {"huge": 6 * 10**9, "last": 8}
    shards = plan_shards(sizes)
    assert [name for names in shards.values() for name in names] == list(sizes)
    assert all(
        sum(sizes[name] for name in names) < 4.95e9 for names in shards.values() if "huge" not in names
    )
    assert list(shards) == [
        f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)
    ]
    assert plan_shards({"a": 1, "b": 2}) == {"model.safetensors": ["a", "b"]}
