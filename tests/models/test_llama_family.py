"""Llama and Mistral against transformers' own submodules, step by step."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from hpcgeom.catalog.sites import SITES
from hpcgeom.errors import InputError
from hpcgeom.models import Reading, model_limits

N_KV = 2
SCALED = {
    "linear": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 16, "rope_theta": 10000.0},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
             "rope_theta": 10000.0},
}  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "mistral"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tiny.save(kind, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory):
    return tiny.save("llama", tmp_path_factory.mktemp("llama"))


def by_hand(kind, folder, batch, dtype):
    model = tiny.load(kind, folder, dtype=dtype)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    window = getattr(model.config, "sliding_window", None)
    mask_of = create_causal_mask if window is None else create_sliding_window_causal_mask
    with torch.inference_mode():
        own = model(ids, attention_mask=mask, use_cache=False, output_hidden_states=True).hidden_states
        tokens = model.embed_tokens(ids)
        shown = mask_of(model.config, tokens, mask, None)
        rotary = model.rotary_emb(tokens, position_ids=torch.arange(ids.shape[1])[None])
        seen = tiny.visible(batch, is_causal=True, window=window)

        def step(block, h):
            attn, mlp = block.self_attn, block.mlp
            normed = block.input_layernorm(h)
            q, k, v = attn.q_proj(normed), attn.k_proj(normed), attn.v_proj(normed)
            attn_out = attn(normed, position_embeddings=rotary, attention_mask=shown)[0]
            resid_mid = h + attn_out
            second = block.post_attention_layernorm(resid_mid)
            gate = mlp.gate_proj(second)
            act = mlp.act_fn(gate) * mlp.up_proj(second)
            z = tiny.attended(q, k, v, seen, rotary=True, n_kv=N_KV)
            sites = {"ln_1": normed, "q": q, "k": k, "v": v, "z": z, "attn_out": attn_out,
                     "resid_mid": resid_mid, "ln_2": second, "mlp_pre": gate, "mlp_act": act,
                     "mlp_out": mlp.down_proj(act)}  # fmt: skip
            return sites, block(h, attention_mask=shown, position_embeddings=rotary)

        found = tiny.chain_by_hand(model.layers, tokens, step, model.norm)
    assert all(torch.equal(a, b) for a, b in zip(own, found["hidden_states"], strict=True))
    return {"token_embed": [tokens], **found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(kind, folder, padded_batch, pool_in_float64, dtype):
    expected = by_hand(kind, folder, padded_batch, dtype)
    assert set(SITES) - set(expected) == {"pos_embed"}  # positions are rotations
    head_size = tiny.KINDS[kind].make_config().head_dim
    assert [expected[s][0].shape[-1] // head_size for s in ("q", "k", "v", "z")] == [4, N_KV, N_KV, 4]
    model = tiny.open_model(kind, folder, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch."))
    tiny.check_sites(model, expected, padded_batch, pool_in_float64, dtype)


def test_the_window_of_mistral_is_narrower_than_the_batch(make_batch):
    batch = make_batch([12])
    window = tiny.KINDS["mistral"].settings["sliding_window"]
    assert (tiny.visible(batch, is_causal=True) != tiny.visible(batch, is_causal=True, window=window)).any()


def test_limits_come_from_the_config(kind, folder):
    found = model_limits(tiny.request(kind, folder))
    assert (found.vocab_size, found.max_tokens) == (40, 24)


@pytest.mark.parametrize("rope", SCALED.values(), ids=SCALED)
def test_scaled_rotations_are_those_of_transformers_after_a_longer_batch_too(tmp_path, make_batch, rope):
    folder = tiny.save("llama", tmp_path, rope_parameters=rope)
    reference, batch = tiny.load("llama", folder), make_batch([12, 7])
    with torch.inference_mode():
        own = reference(**tiny.inputs_of("llama", batch), output_hidden_states=True).hidden_states
    model = tiny.open_model("llama", folder, Reading("hidden_states", ("last",)))
    model.extract(make_batch([24]))
    found = model.extract(batch)["hidden_states", "last"]
    expected = np.stack([[h[0, 11], h[1, 6]] for h in (hidden.numpy() for hidden in own)])
    np.testing.assert_array_equal(found, expected)
    plain = tiny.open_model(
        "llama",
        tiny.rewritten(
            folder, tmp_path / "plain", rope_parameters={"rope_type": "default", "rope_theta": 1e4}
        ),
        Reading("hidden_states", ("last",)),
    )
    assert np.abs(plain.extract(batch)["hidden_states", "last"] - found).max() > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        {"rope_parameters": None, "rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
    ],
    ids=["new", "old"],
)
def test_rotations_that_depend_on_earlier_batches_are_refused(llama_folder, tmp_path, settings):
    folder = tiny.rewritten(llama_folder, tmp_path / "changed", **settings)
    with pytest.raises(
        InputError,
        match=r"rope_type is 'dynamic', .*batches before it: expected one of default.*: name another model",
    ):
        model_limits(tiny.request("llama", folder))


def test_settings_of_rotations_in_old_files_are_read(llama_folder, tmp_path, make_batch):
    old = {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}}
    folder = tiny.rewritten(llama_folder, tmp_path / "old", **old)
    new = {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}
    same = tiny.rewritten(llama_folder, tmp_path / "new", **new)
    batch = make_batch([12])
    found, expected, without = (
        tiny.open_model("llama", place, Reading("resid", ("last",))).extract(batch)["resid", "last"]
        for place in (folder, same, llama_folder)
    )
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - without).max() > 1e-3


def test_frequencies_that_old_files_hold_are_left_aside(llama_folder, tmp_path, make_batch):
    def with_frequencies(tensors):
        for layer in range(3):
            tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)

    folder = tiny.rewritten(llama_folder, tmp_path / "old", with_frequencies)
    batch = make_batch([12])
    found = tiny.open_model("llama", folder)
    assert len(found.unused_keys) == 4  # and the head
    expected = tiny.open_model("llama", llama_folder).extract(batch)["resid", "tokens"]
    np.testing.assert_array_equal(found.extract(batch)["resid", "tokens"], expected)


def test_a_head_tied_to_the_embedding_needs_no_tensor_of_its_own(tmp_path, make_batch):
    folder = tiny.save("llama", tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in tiny.load_file(folder / "model.safetensors")
    batch = make_batch([12])
    found = tiny.open_model("llama", folder, details=("logits",)).details(batch)["logits"]["logits"]
    with torch.inference_mode():
        own = tiny.load("llama", folder, head=True)(**tiny.inputs_of("llama", batch)).logits
    np.testing.assert_array_equal(found, own[0].numpy())
