"""Configurations that are wrong: each is named with its file, the key, what is there, and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tiny_architectures import CONFIGS, FAMILY_OF, config_of

from hpcgeom.catalog.families import FAMILIES, facts_of, read_facts
from hpcgeom.errors import InputError


@pytest.fixture
def folder(tmp_path):
    def write(content: object) -> Path:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text)
        return tmp_path

    return write


def refused(config, message, family=None):
    """Whether facts of `config` are refused with all of `message`."""
    model_type = config["model_type"]
    with pytest.raises(InputError) as caught:
        facts_of(config, family or FAMILY_OF.get(model_type, model_type), "here/config.json")
    assert re.fullmatch(message, str(caught.value)), str(caught.value)


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"config.json does not exist: a model folder holds .*: name such a"):
        read_facts(tmp_path, "bert")


@pytest.mark.parametrize("text", ["", "{", '{"model_type": "bert"'])
def test_a_configuration_cut_short_is_named(folder, text):
    with pytest.raises(
        InputError, match=r"config.json is not readable JSON \(.*\): download the model again"
    ):
        read_facts(folder(text), "bert")


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(InputError, match=r"model.safetensors/config.json is not readable JSON \(.*Not a dir"):
        read_facts(tmp_path / "model.safetensors", "bert")


def test_a_configuration_that_is_no_mapping_is_refused(folder):
    with pytest.raises(InputError, match="holds a list, expected a mapping: download the model again"):
        read_facts(folder([1]), "bert")


@pytest.mark.parametrize("model_type", CONFIGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_configuration_of_another_family_names_the_right_one(model_type, family):
    config, right = config_of(model_type), FAMILY_OF.get(model_type, model_type)
    if family == right:
        facts_of(config, family, "here/config.json")
        return
    reads = " or ".join(FAMILIES[family].model_types)
    refused(
        config,
        f"here/config.json has model_type \"{model_type}\", but family '{family}' reads {reads}: "
        f"name family '{right}' in the manifest",
        family,
    )


@pytest.mark.parametrize("found", ["t5", 7, ["bert"], {"a": 1}])
def test_a_configuration_that_no_family_reads_says_what_can_be_done(folder, found):
    with pytest.raises(InputError) as caught:
        read_facts(folder({"model_type": found}), "gpt2")
    assert str(caught.value).endswith(
        f"config.json has model_type {json.dumps(found)}, but family 'gpt2' reads gpt2: no family reads it "
        "(bert, esm2, gpt2, igpt, llama, vit exist): run it as family 'module'"
    )


def test_a_configuration_that_does_not_say_its_architecture_is_refused(folder):
    with pytest.raises(
        InputError, match=r"has no model_type, but family 'llama' reads llama or mistral: down"
    ):
        read_facts(folder({"hidden_size": 3}), "llama")


def test_a_family_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"unknown family 'module': expected one of bert, .*: choose one of"):
        facts_of(config_of("bert"), "module", "config.json")


SIZES = [
    (model_type, key)
    for model_type, config in CONFIGS.items()
    for key, value in config.items()
    if isinstance(value, int) and key not in ("pad_token_id", "mask_token_id", "num_labels")
]


@pytest.mark.parametrize(("model_type", "key"), SIZES)
@pytest.mark.parametrize("value", [0, -1, "12", 1.5, True])
def test_a_size_that_is_no_number_above_zero_is_named(model_type, key, value):
    expected = rf"here/config.json has {key} {json.dumps(value)}, expected a number above 0: download the .*"
    refused({**config_of(model_type), key: value}, expected)


@pytest.mark.parametrize(("model_type", "key"), SIZES)
def test_a_size_that_is_missing_is_named_unless_transformers_knows_what_it_means(model_type, key):
    config = {other: value for other, value in config_of(model_type).items() if other != key}
    if key in ("num_key_value_heads", "head_dim", "n_inner"):
        facts_of(
            {**config, "num_attention_heads": 8, "hidden_size": 48},
            FAMILY_OF.get(model_type, model_type),
            "config.json",
        )
        return
    refused(config, rf"here/config.json has {key} null, expected a number above 0: download the .*")


@pytest.mark.parametrize(
    ("model_type", "change", "expected"),
    [
        (
            "bert",
            {"num_attention_heads": 5},
            r"hidden_size 24, expected a multiple of num_attention_heads \(5\)",
        ),
        ("esm", {"hidden_size": 25}, r"hidden_size 25, expected a multiple of num_attention_heads \(4\)"),
        ("gpt2", {"n_head": 7}, r"n_embd 24, expected a multiple of n_head \(7\)"),
        ("imagegpt", {"n_head": 48}, r"n_embd 24, expected a multiple of n_head \(48\)"),
        (
            "llama",
            {"num_attention_heads": 9},
            r"hidden_size 24, expected a multiple of num_attention_heads .*",
        ),
        (
            "llama",
            {"num_key_value_heads": 3},
            r"num_key_value_heads 3, expected a number that divides num_attention_heads \(4\)",
        ),
        (
            "mistral",
            {"num_key_value_heads": None},
            r"num_key_value_heads null, expected a number that divides .*",
        ),
        (
            "esm",
            {"hidden_size": 12},
            "hidden_size 12, expected heads of an even size for rotary .*, not of 3",
        ),
        ("llama", {"head_dim": 5}, "head_dim 5, expected heads of an even size for rotary .*, not of 5"),
        ("vit", {"patch_size": 6}, r"image_size 20, expected a multiple of patch_size \(6\)"),
        ("vit", {"image_size": [20, 20]}, r"image_size \[20, 20\], expected a number above 0"),
        ("esm", {"max_position_embeddings": 2}, "max_position_embeddings 2, expected a number above 2"),
        ("gpt2", {"tie_word_embeddings": "yes"}, 'tie_word_embeddings "yes", expected true or false'),
        ("llama", {"attention_bias": 1}, "attention_bias 1, expected true or false"),
        ("vit", {"num_labels": -1}, "num_labels -1, expected a number above -1"),
        ("vit", {"id2label": ["a"]}, r'id2label \["a"\], expected a mapping of numbers to names'),
        ("vit", {"id2label": {"0": "a"}}, "num_labels 7, expected 1, the number of names in id2label"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_together_are_refused(model_type, change, expected):
    refused(config_of(model_type, **change), f"here/config.json has {expected}: download the model again")


@pytest.mark.parametrize(
    ("model_type", "change", "expected"),
    [
        (
            "bert",
            {"position_embedding_type": "relative_key"},
            r'position_embedding_type "relative_key", expected "absolute": name a model with learned .*',
        ),
        ("bert", {"is_decoder": True}, "is_decoder true, expected false: name an encoder"),
        (
            "esm",
            {"position_embedding_type": None},
            'position_embedding_type null, expected "rotary": name an ESM-2 model',
        ),
        (
            "esm",
            {"emb_layer_norm_before": True},
            "emb_layer_norm_before true, expected false: name an ESM-2 model",
        ),
        ("esm", {"is_folding_model": True}, "is_folding_model true, expected false: name an ESM-2 model"),
    ],
    ids=str,
)
def test_relatives_of_an_architecture_are_not_taken_for_it(model_type, change, expected):
    refused(config_of(model_type, **change), f"here/config.json has {expected}")


@pytest.mark.parametrize("model_type", ["bert", "esm"])
def test_settings_that_are_null_mean_what_transformers_takes_them_for(model_type):
    nulls = dict.fromkeys(("is_decoder", "emb_layer_norm_before", "tie_word_embeddings", "is_folding_model"))
    config, family = config_of(model_type), FAMILY_OF.get(model_type, model_type)
    assert facts_of({**config, **nulls}, family, "a") == facts_of(config, family, "a")
