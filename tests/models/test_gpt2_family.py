"""GPT-2 against transformers' own submodules, step by step."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from transformers.masking_utils import create_causal_mask

from hpcgeom.catalog.sites import SITES
from hpcgeom.models import Reading, model_limits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save("gpt2", tmp_path_factory.mktemp("gpt2"))


def by_hand(folder, batch, dtype, scale_of=lambda index: 1.0):
    model = tiny.load("gpt2", folder, dtype=dtype)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    with torch.inference_mode():
        own = model(ids, attention_mask=mask, use_cache=False, output_hidden_states=True).hidden_states
        tokens, positions = model.wte(ids), model.wpe(torch.arange(ids.shape[1]))[None]
        shown = create_causal_mask(model.config, tokens, mask, None)
        seen = tiny.visible(batch, is_causal=True)

        def step(block, h):
            normed = block.ln_1(h)
            q, k, v = block.attn.c_attn(normed).chunk(3, dim=-1)
            attn_out = block.attn(normed, attention_mask=shown)[0]
            resid_mid = h + attn_out
            second = block.ln_2(resid_mid)
            pre = block.mlp.c_fc(second)
            act = block.mlp.act(pre)
            z = tiny.attended(q * scale_of(block.attn.layer_idx), k, v, seen)
            sites = {"ln_1": normed, "q": q, "k": k, "v": v, "z": z, "attn_out": attn_out,
                     "resid_mid": resid_mid, "ln_2": second, "mlp_pre": pre, "mlp_act": act,
                     "mlp_out": block.mlp.c_proj(act)}  # fmt: skip
            return sites, block(h, attention_mask=shown)

        found = tiny.chain_by_hand(model.h, tokens + positions, step, model.ln_f)
    assert all(torch.equal(a, b) for a, b in zip(own, found["hidden_states"], strict=True))
    return {"token_embed": [tokens], "pos_embed": [positions.expand(tokens.shape)], **found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(folder, padded_batch, pool_in_float64, dtype):
    expected = by_hand(folder, padded_batch, dtype)
    assert set(expected) == set(SITES)
    model = tiny.open_model(
        "gpt2", folder, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch.")
    )
    tiny.check_sites(model, expected, padded_batch, pool_in_float64, dtype)


def test_scores_divided_by_the_layer_stay_so_block_by_block(tmp_path, padded_batch, pool_in_float64):
    folder = tiny.save("gpt2", tmp_path, scale_attn_by_inverse_layer_idx=True)
    expected = by_hand(folder, padded_batch, torch.float32, lambda index: 1 / (index + 1))
    model = tiny.open_model("gpt2", folder, *tiny.everything(expected))
    tiny.check_sites(model, expected, padded_batch, pool_in_float64, torch.float32)


def test_limits_come_from_the_config(folder):
    found = model_limits(tiny.request("gpt2", folder))
    assert (found.vocab_size, found.max_tokens, found.image_shape) == (40, 24, None)


def test_masks_that_old_files_hold_are_left_aside(folder, tmp_path, make_batch):
    def with_masks(tensors):
        for layer in range(3):
            tensors[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
            tensors[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)

    old = tiny.rewritten(folder, tmp_path / "old", with_masks)
    batch = make_batch([12, 5])
    model = tiny.open_model("gpt2", old, Reading("z", ("tokens",)))
    assert len(model.unused_keys) == 6
    expected = tiny.open_model("gpt2", folder, Reading("z", ("tokens",))).extract(batch)["z", "tokens"]
    np.testing.assert_array_equal(model.extract(batch)["z", "tokens"], expected)
