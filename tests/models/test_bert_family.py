"""BERT against transformers itself, on the same batches."""

from __future__ import annotations

import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertModel, ViTConfig
from transformers.masking_utils import create_bidirectional_mask

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, NonFiniteActivation, Reading, Replicate, TokenBatch, model_limits
from hpcgeom.models.attention import NAME

POOLINGS = ("mean", "mean_all", "last", "first", "max")
EXACT = ("last", "first", "max")  # poolings that only pick values
EPS = np.finfo(np.float32).eps
SITES = ("resid", "hidden_states", "attn_out", "resid_mid", "mlp_out")


def bert(folder, *readings, dtype="float32", **more) -> ModelRequest:
    readings = readings or tuple(Reading(site, POOLINGS) for site in SITES)
    return ModelRequest("tiny", "bert", folder, dtype, readings, **more)


def run_by_hand(folder, batch: TokenBatch, dtype=torch.float32) -> dict[str, list[torch.Tensor]]:
    """All sites from transformers' model: hidden states by its own option, the rest step by step."""
    model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation=NAME).eval()
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    with torch.inference_mode():
        hidden_states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        shown = create_bidirectional_mask(model.config, hidden_states[0], mask)
        found = {"resid": list(hidden_states), "hidden_states": list(hidden_states)}
        found |= {"attn_out": [], "resid_mid": [], "mlp_out": []}
        for layer, block in enumerate(model.encoder.layer):
            h = hidden_states[layer]
            attn_out = block.attention.output.dense(block.attention.self(h, attention_mask=shown)[0])
            resid_mid = block.attention.output.LayerNorm(attn_out + h)
            mlp_out = block.output.dense(block.intermediate(resid_mid))
            assert torch.equal(block.output.LayerNorm(mlp_out + resid_mid), hidden_states[layer + 1])
            for site, value in (("attn_out", attn_out), ("resid_mid", resid_mid), ("mlp_out", mlp_out)):
                found[site].append(value)
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_site_layer_and_pooling_equals_transformers(bert_folder, padded_batch, pool_in_float64, dtype):
    expected = run_by_hand(bert_folder, padded_batch, getattr(torch, dtype))
    found = Replicate().open_model(bert(bert_folder, dtype=dtype)).extract(padded_batch)
    assert list(found) == [(site, pooling) for site in SITES for pooling in POOLINGS]
    for (site, pooling), values in found.items():
        assert values.dtype == np.float32
        assert values.shape == (5 if site in ("resid", "hidden_states") else 4, 4, 32)
        for value, hidden in zip(values, expected[site], strict=True):
            by_hand = pool_in_float64(hidden.float().numpy(), padded_batch, pooling)
            if pooling in EXACT:
                np.testing.assert_array_equal(value, by_hand)
            else:
                np.testing.assert_allclose(value, by_hand, rtol=0, atol=4 * EPS * np.abs(by_hand).max())


def test_every_token_of_every_layer_is_bitwise_that_of_transformers(bert_folder, make_batch):
    batch = make_batch([6, 4])
    expected = run_by_hand(bert_folder, batch)["resid"]
    model = Replicate().open_model(bert(bert_folder, Reading("resid", ("max",))))
    for position in range(4):
        only = np.ones_like(batch.special_mask)
        only[:, position] = False
        found = model.extract(TokenBatch(batch.input_ids, batch.attention_mask, only))["resid", "max"]
        np.testing.assert_array_equal(found, torch.stack(expected)[:, :, position].numpy())


def test_some_layers_only_are_the_same_numbers_and_later_blocks_do_not_run(bert_folder, padded_batch):
    everything = Replicate().open_model(bert(bert_folder)).extract(padded_batch)
    request = bert(bert_folder, Reading("resid", ("mean",), (0, 2)), Reading("mlp_out", ("last",), (1,)))
    model = Replicate().open_model(request)
    model.extract(padded_batch)  # the first batch also checks the chain, with all blocks
    ran = []
    for index, block in enumerate(model.skeleton.model.encoder.layer):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    found = model.extract(padded_batch)
    assert ran == [0, 1]
    np.testing.assert_array_equal(found["resid", "mean"], everything["resid", "mean"][[0, 2]])
    np.testing.assert_array_equal(found["mlp_out", "last"], everything["mlp_out", "last"][[0]])


def test_globs_of_modules_read_the_same_as_places_in_blocks(bert_folder, padded_batch):
    glob = "module:encoder.layer.*.attention.output.dense"
    model = Replicate().open_model(
        bert(bert_folder, Reading("attn_out", ("mean",)), Reading(glob, ("mean",)))
    )
    found = model.extract(padded_batch)
    np.testing.assert_array_equal(found[glob, "mean"], found["attn_out", "mean"])
    assert model.describe().sites[glob].modules[3] == "encoder.layer.3.attention.output.dense"


def test_no_more_than_two_hidden_states_are_alive(bert_folder, make_batch):
    model = Replicate().open_model(bert(bert_folder))
    batch = make_batch([9, 9])
    model.extract(batch)
    seen: list[weakref.ref] = []
    alive = []

    def count(tensor):
        if not any(ref() is tensor for ref in seen):
            seen.append(weakref.ref(tensor))
        alive.append(sum(ref() is not None for ref in seen))

    for block in model.skeleton.model.encoder.layer:
        block.register_forward_pre_hook(lambda _, arguments: count(arguments[0]))
        block.register_forward_hook(lambda _, __, output: count(output))
    model.extract(batch)
    assert len(seen) == 5
    assert alive == [1, 2] * 4


def test_describe_knows_layers_widths_and_sizes(masked_lm_folder):
    shapes = Replicate().open_model(bert(masked_lm_folder)).describe()
    reference = BertModel.from_pretrained(masked_lm_folder, add_pooling_layer=False)
    assert (shapes.n_layers, shapes.width, shapes.n_parameters) == (4, 32, reference.num_parameters())
    assert shapes.sites["resid"].layers == (0, 1, 2, 3, 4)
    assert shapes.sites["mlp_out"].layers == (1, 2, 3, 4)
    assert {shape.width for shape in shapes.sites.values()} == {32}
    assert shapes.unused_keys
    assert all(key.startswith("cls.") for key in shapes.unused_keys)


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(bert_folder, make_batch):
    batch = make_batch([5, 4])
    torch.manual_seed(7)
    config = Replicate().open_model(bert(bert_folder)).skeleton.model.config
    reference = BertModel(config, add_pooling_layer=False).eval()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    request = bert(bert_folder, Reading("resid", ("first",)), weights="random", seed=7)
    found = Replicate().open_model(request).extract(batch)["resid", "first"]
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
        own = reference(ids, mask, output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(found, np.stack([hidden[:, 0].numpy() for hidden in own]))
    other = Replicate().open_model(bert(bert_folder, Reading("resid", ("first",)), weights="random", seed=8))
    assert np.abs(other.extract(batch)["resid", "first"] - found).max() > 0.1


def test_dropout_is_off_and_gradients_too(bert_folder, padded_batch):
    model = Replicate().open_model(bert(bert_folder))
    assert not any(module.training for module in model.skeleton.model.modules())
    assert not any(parameter.requires_grad for parameter in model.skeleton.model.parameters())
    first, second = model.extract(padded_batch), model.extract(padded_batch)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_threads_are_those_asked_for_at_every_batch(bert_folder, make_batch):
    model = Replicate().open_model(bert(bert_folder), threads=1)
    torch.set_num_threads(2)
    model.extract(make_batch([4]))
    assert torch.get_num_threads() == 1


def test_a_chunked_feed_forward_is_run_whole(bert_folder, tmp_path, make_batch):
    folder = changed_config(bert_folder, tmp_path, chunk_size_feed_forward=2)
    batch = make_batch([6, 6])
    found = Replicate().open_model(bert(folder)).extract(batch)
    expected = Replicate().open_model(bert(bert_folder)).extract(batch)
    np.testing.assert_array_equal(found["mlp_out", "max"], expected["mlp_out", "max"])


def changed_config(folder, target, **changes):
    shutil.copytree(folder, target / "changed")
    file = target / "changed" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return target / "changed"


def test_a_config_of_another_architecture_is_refused(tmp_path):
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"family 'bert', but .*config.json says model_type 'vit': expected 'bert'"
    ):
        Replicate().open_model(bert(tmp_path))


def test_relative_positions_are_refused(bert_folder, tmp_path):
    folder = changed_config(bert_folder, tmp_path, position_embedding_type="relative_key")
    with pytest.raises(
        InputError, match=r"position_embedding_type is 'relative_key'.*only 'absolute'.*: use the"
    ):
        model_limits(bert(folder))


def test_an_impossible_config_is_refused(bert_folder, tmp_path):
    folder = changed_config(bert_folder, tmp_path, num_attention_heads=5)
    with pytest.raises(
        InputError, match=r"not a valid bert configuration.*multiple of the number of attention.*: correct it"
    ):
        Replicate().open_model(bert(folder))


def test_a_config_of_the_wrong_types_is_refused(bert_folder, tmp_path):
    folder = changed_config(bert_folder, tmp_path, hidden_size="wide")
    with pytest.raises(InputError, match=r"is not a valid bert configuration: .*hidden_size.*: correct it"):
        model_limits(bert(folder))


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"no config.json in .*expected the folder of a model: name another folder"
    ):
        model_limits(bert(tmp_path))
    with pytest.raises(InputError, match=r"has no source: give the folder"):
        model_limits(bert(None))


def test_a_broken_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is not JSON \(.*\): fetch it again"):
        model_limits(bert(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match=r"expected a JSON object, found list: fetch it again"):
        model_limits(bert(tmp_path))


def test_limits_come_from_the_config(bert_folder):
    found = model_limits(bert(bert_folder))
    assert (found.vocab_size, found.max_tokens) == (26, 24)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (
            Reading("ln_1", ("mean",)),
            "no site 'ln_1' .*post-norm blocks have no first norm.*resid, .*: choose one of them",
        ),
        (
            Reading("nonsense", ("mean",)),
            "no site 'nonsense': expected one of token_embed.*: choose one of them",
        ),
        (Reading("resid", ("median",)), "expected distinct poolings out of mean.*found median"),
        (Reading("resid", ()), "expected distinct poolings.*found none"),
        (
            Reading("resid", ("mean", "mean")),
            "expected distinct poolings.*found mean, mean: name some of them, each",
        ),
        (
            Reading("resid", ("mean",), (0, 5)),
            r"expected ascending layers out of 0 to 4; found \[0, 5\]: corr",
        ),
        (Reading("mlp_out", ("mean",), (0,)), r"ascending layers out of 1 to 4; found \[0\]"),
        (Reading("resid", ("mean",), (-1,)), r"found \[-1\]"),
        (Reading("resid", ("mean",), (2, 1)), r"found \[2, 1\]"),
        (Reading("resid", ("mean",), ()), r"found \[\]"),
        (
            Reading("module:encoder.block.*", ("mean",)),
            "no submodule that .* near names are 'encoder.*: correct",
        ),
    ],
)
def test_a_reading_that_the_model_does_not_have_is_refused(bert_folder, reading, message):
    with pytest.raises(InputError, match=message):
        Replicate().open_model(bert(bert_folder, reading))


def test_readings_must_be_given_and_given_once(bert_folder):
    twice = bert(bert_folder, Reading("resid", ("mean",)), Reading("resid", ("last",)))
    with pytest.raises(InputError, match=r"reads site 'resid' twice"):
        Replicate().open_model(twice)
    with pytest.raises(InputError, match=r"reads nothing"):
        Replicate().open_model(ModelRequest("tiny", "bert", bert_folder, "float32", ()))


def test_an_unknown_family_or_dtype_is_refused(bert_folder):
    families = "bert, esm2, gpt2, igpt, llama, module, vit"
    with pytest.raises(InputError, match=rf"unknown family 'brt': expected one of {families}: choose one"):
        Replicate().open_model(
            ModelRequest("tiny", "brt", bert_folder, "float32", (Reading("resid", ("mean",)),))
        )
    with pytest.raises(InputError, match=r"unknown dtype 'float8': expected one of float32.*: choose one"):
        Replicate().open_model(bert(bert_folder, dtype="float8"))


def test_a_sequence_beyond_the_positions_is_named(bert_folder, make_batch):
    model = Replicate().open_model(bert(bert_folder))
    with pytest.raises(
        InputError, match=r"row 1 of a batch has 25 tokens .*'tiny' has 24 positions: lower max_length"
    ):
        model.extract(make_batch([5, 25, 7]))


@pytest.mark.parametrize("wrong", [26, -1])
def test_an_id_outside_the_vocabulary_is_named(bert_folder, make_batch, wrong):
    batch = make_batch([5, 5])
    batch.input_ids[1, 2] = wrong
    model = Replicate().open_model(bert(bert_folder))
    with pytest.raises(
        InputError,
        match=f"row 1 of a batch has token id {wrong} at position 2.*0 to 25: .*: encode the samples",
    ):
        model.extract(batch)


def test_activations_that_are_not_finite_name_the_row_and_the_earliest_layer(bert_folder, make_batch):
    batch = make_batch([5, 5, 5])
    batch.input_ids[:2] = 6
    batch.input_ids[2, 2] = 7
    model = Replicate().open_model(
        bert(bert_folder, Reading("mlp_out", ("mean",)), Reading("resid", ("mean",)))
    )
    model.skeleton.model.embeddings.word_embeddings.weight[7] = torch.nan
    with pytest.raises(
        NonFiniteActivation, match=r"row 2 of a batch has NaN.*site 'resid', layer 0, pooling 'mean'"
    ) as e:
        model.extract(batch)
    assert (e.value.row, e.value.layer, e.value.site, e.value.dtype) == (2, 0, "resid", "float32")


def test_an_overflow_of_float16_says_what_to_do(bert_folder, make_batch):
    model = Replicate().open_model(bert(bert_folder, Reading("mlp_out", ("mean",)), dtype="float16"))
    model.skeleton.model.encoder.layer[1].output.dense.bias[3] = 60000
    model.skeleton.model.encoder.layer[1].output.dense.weight[3] = 60000
    with pytest.raises(NonFiniteActivation, match=r"layer 2.*float16\): compute in float32 or bfloat16"):
        model.extract(make_batch([5, 5]))


def test_closing_takes_the_hooks_off(bert_folder):
    model = Replicate().open_model(
        bert(bert_folder, Reading("mlp_out", ("mean",)), Reading("module:*.query", ("max",)))
    )
    assert any(module._forward_hooks for module in model.skeleton.model.modules())
    model.close()
    assert not any(module._forward_hooks for module in model.skeleton.model.modules())
