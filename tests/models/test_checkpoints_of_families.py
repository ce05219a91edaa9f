"""Checkpoints of every family: one model however it is saved, and a wrong one is refused by name."""

from __future__ import annotations

import json
import re

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import Reading
from hpcgeom.models.attention import NAME
from hpcgeom.models.families import family
from hpcgeom.models.weights import check_weights

TOKENS = Reading("resid", ("tokens",))
# a tensor in the second block, as it is called on disk, and one in the model for each family
QUERY = {
    "bert": ("encoder.layer.1.attention.self.query.weight",) * 2,
    "esm2": ("encoder.layer.1.attention.self.query.weight",) * 2,
    "gpt2": ("h.1.attn.c_attn.weight",) * 2,
    "igpt": ("h.1.attn.c_attn.weight",) * 2,
    "llama": ("layers.1.self_attn.q_proj.weight",) * 2,
    "mistral": ("layers.1.self_attn.q_proj.weight",) * 2,
    "vit": ("encoder.layer.1.attention.attention.query.weight", "layers.1.attention.q_proj.weight"),
}


@pytest.fixture(scope="module", params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tiny.save(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture
def batch(kind, make_batch):
    return tiny.images(3) if kind == "vit" else make_batch([9, 4, 12])


def activations(kind, folder, batch, **more):
    return tiny.open_model(kind, folder, TOKENS, **more).extract(batch)["resid", "tokens"]


def check(kind, folder, dtype="float32", details=()):
    """`check_weights` on the skeleton that the family makes."""
    request = tiny.request(kind, folder, dtype=dtype, details=details)
    skeleton = family(request.family).build(request)
    return check_weights(skeleton.model, folder, skeleton.keys, getattr(torch, dtype))


def test_checkpoints_with_and_without_a_head_are_one_model(kind, folder, tmp_path, batch):
    base = tiny.save(kind, tmp_path, head=False)
    lead = tiny.KINDS[kind].prefix + "."
    assert any(key.startswith(lead) for key in load_file(folder / "model.safetensors"))
    assert not any(key.startswith(lead) for key in load_file(base / "model.safetensors"))
    expected = activations(kind, folder, batch)
    np.testing.assert_array_equal(activations(kind, base, batch), expected)
    assert np.abs(expected[-1] - expected[0]).max() > 0.1
    assert check(kind, base).unused == tiny.open_model(kind, base).unused_keys


def test_all_parameters_are_those_that_transformers_loads(kind, folder):
    for head in (False, True):
        details = ("logits",) if head else ()
        found = dict(tiny.open_model(kind, folder, details=details).skeleton.model.named_parameters())
        expected = dict(tiny.load(kind, folder, head=head).named_parameters())
        assert set(expected) - set(found) <= {"pooler.dense.weight", "pooler.dense.bias"} | {
            f"{lead}contact_head.regression.{part}" for lead in ("", "esm.") for part in ("weight", "bias")
        }
        assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("how", [check, tiny.open_model], ids=["check_weights", "load_weights"])
@pytest.mark.parametrize("needs", [(), ("logits",)], ids=["base", "head"])
def test_a_missing_renamed_or_misshapen_tensor_is_named(kind, folder, tmp_path, how, needs):
    on_disk, name = QUERY[kind]
    key = f"{tiny.KINDS[kind].prefix}.{on_disk}"
    shown = re.escape(f"{tiny.KINDS[kind].prefix}.{name}" if needs else name)

    def refuse(place, change, message):
        with pytest.raises(ProblemsError, match=message) as caught:
            how(kind, tiny.rewritten(folder, tmp_path / place, change), details=needs)
        return caught.value.problems

    missing = refuse(
        "missing",
        lambda t: t.pop(key) is None,
        rf"lack 1 tensors .* random numbers there: {shown}: name weights of this model$",
    )
    assert len(missing) == 1
    renamed = refuse(
        "renamed",
        lambda t: t.update({f"{key}s": t.pop(key)}),
        rf"(?s)lack 1 .*: {shown}: name.*have 1 .*{re.escape(key)}s",
    )
    assert len(renamed) == 2
    shape = tuple(load_file(folder / "model.safetensors")[key].shape)
    wrong = (shape[0], shape[1] + 1)
    refuse(
        "shape",
        lambda t: t.update({key: torch.zeros(wrong)}),
        rf"do not fit the model: {shown} has shape {re.escape(f'{wrong}, expected {shape}')}",
    )


def test_a_sharded_checkpoint_is_the_same_model(kind, folder, tmp_path, batch):
    tensors = load_file(folder / "model.safetensors")
    tiny.rewrite_config(folder, tmp_path / "shards")
    shards = {f"model-0000{i}-of-00003.safetensors": sorted(tensors)[i - 1 :: 3] for i in (1, 2, 3)}
    for file, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, tmp_path / "shards" / file)
    places = {key: file for file, keys in shards.items() for key in keys}
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    found = activations(kind, tmp_path / "shards", batch)
    np.testing.assert_array_equal(found, activations(kind, folder, batch))


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_the_dtype_is_that_of_the_request_whatever_file_and_config_say(kind, folder, tmp_path, batch, stored):
    def change(tensors):
        return {key: value.to(stored) for key, value in tensors.items()}

    name = str(stored).removeprefix("torch.")
    place = tiny.rewritten(folder, tmp_path / "half", change, dtype=name, torch_dtype=name)
    model = tiny.open_model(kind, place, TOKENS)
    assert {parameter.dtype for parameter in model.skeleton.model.parameters()} == {torch.float32}
    reference = tiny.load(kind, place, dtype=torch.float32)
    with torch.inference_mode():
        own = reference(**tiny.inputs_of(kind, batch), output_hidden_states=True).hidden_states
    ordinary = (batch.attention_mask == 1) & ~batch.special_mask
    expected = np.stack([hidden.numpy()[ordinary] for hidden in own])
    assert expected.dtype == np.float32
    found = model.extract(batch)["resid", "tokens"]
    np.testing.assert_array_equal(found[:-1], expected[:-1])
    lower = activations(kind, place, batch, dtype="bfloat16")
    assert np.abs(lower[-1] - found[-1]).max() > 1e-4


@pytest.mark.parametrize(
    "settings",
    [{"output_attentions": True, "output_hidden_states": True, "return_dict": False},
     {"_attn_implementation": "eager"}, {"attn_implementation": "eager"}],
    ids=["outputs", "private", "public"],
)  # fmt: skip
def test_how_a_model_is_run_is_not_for_its_configuration_to_say(kind, folder, tmp_path, batch, settings):
    place = tiny.rewritten(folder, tmp_path / "other", **settings)
    np.testing.assert_array_equal(activations(kind, place, batch), activations(kind, folder, batch))


def test_a_configuration_of_another_family_is_refused_and_named(kind, folder):
    entry = tiny.KINDS[kind]
    for other in tiny.KINDS:
        if tiny.KINDS[other].family == entry.family:
            continue
        message = (
            rf"is of family '{tiny.KINDS[other].family}', but {folder}/config.json says model_type "
            rf"'{entry.config.model_type}': expected '.*{tiny.KINDS[other].config.model_type}.*': name the"
        )
        with pytest.raises(InputError, match=message):
            tiny.open_model(other, folder)


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(kind, folder, batch):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, again, other = (activations(kind, folder, batch, weights="random", seed=s) for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other)[-1].max() > 1e-3
    torch.manual_seed(5)
    entry = tiny.KINDS[kind]
    lean = {} if kind in ("gpt2", "igpt", "llama", "mistral") else {"add_pooling_layer": False}
    reference = entry.base(entry.config.from_pretrained(folder), **lean).eval()
    reference.set_attn_implementation("eager" if kind == "igpt" else NAME)
    with torch.inference_mode():
        own = reference(**tiny.inputs_of(kind, batch), output_hidden_states=True).hidden_states
    ordinary = (batch.attention_mask == 1) & ~batch.special_mask
    expected = np.stack([hidden.numpy()[ordinary] for hidden in own])
    np.testing.assert_array_equal(first[:-1], expected[:-1])


def test_random_weights_in_lower_precision_are_the_same_draws(kind, folder):
    models = [
        tiny.open_model(kind, folder, weights="random", seed=5, dtype=d) for d in ("float32", "bfloat16")
    ]
    full, lower = (dict(model.skeleton.model.named_parameters()) for model in models)
    assert all(torch.equal(full[name].to(torch.bfloat16), lower[name]) for name in full)


def test_a_configuration_without_a_file_is_the_same_model(kind, folder, batch):
    config = json.loads((folder / "config.json").read_text())
    found, expected = (
        activations(kind, place, batch, weights="random", seed=5, config=given)
        for place, given in ((None, config), (folder, None))
    )
    np.testing.assert_array_equal(found, expected)
