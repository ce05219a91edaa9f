"""All places in BERT's post-norm blocks against transformers' own submodules, step by step."""

from __future__ import annotations

import families_for_tests as tiny
import pytest
import torch
from transformers.masking_utils import create_bidirectional_mask

from hpcgeom.catalog.sites import SITES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save("bert", tmp_path_factory.mktemp("bert"))


def by_hand(folder, batch, dtype):
    model = tiny.load("bert", folder, dtype=dtype)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    with torch.inference_mode():
        own = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        tokens = model.embeddings.word_embeddings(ids)
        positions = model.embeddings.position_embeddings(torch.arange(ids.shape[1]))
        types = model.embeddings.token_type_embeddings.weight[0]
        h = model.embeddings.LayerNorm(tokens + types + positions)
        assert torch.equal(h, own[0])
        shown = create_bidirectional_mask(model.config, h, mask)
        seen = tiny.visible(batch, is_causal=False)
        found = {"token_embed": [tokens], "pos_embed": [positions.expand(tokens.shape)], "resid": [h]}
        for block in model.encoder.layer:
            inner, output = block.attention.self, block.attention.output
            q, k, v = inner.query(h), inner.key(h), inner.value(h)
            attn_out = output.dense(inner(h, attention_mask=shown)[0])
            resid_mid = output.LayerNorm(attn_out + h)
            act = block.intermediate(resid_mid)
            mlp_out = block.output.dense(act)
            h = block.output.LayerNorm(mlp_out + resid_mid)
            sites = {"q": q, "k": k, "v": v, "z": tiny.attended(q, k, v, seen), "attn_out": attn_out,
                     "resid_mid": resid_mid, "mlp_pre": block.intermediate.dense(resid_mid), "mlp_act": act,
                     "mlp_out": mlp_out, "resid": h}  # fmt: skip
            for site, value in sites.items():
                found.setdefault(site, []).append(value)
    assert all(torch.equal(a, b) for a, b in zip(own, found["resid"], strict=True))
    return {**found, "hidden_states": found["resid"]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(folder, padded_batch, pool_in_float64, dtype):
    expected = by_hand(folder, padded_batch, dtype)
    assert set(SITES) - set(expected) == {"ln_1", "ln_2"}  # post-norm blocks have no first norms
    model = tiny.open_model(
        "bert", folder, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch.")
    )
    tiny.check_sites(model, expected, padded_batch, pool_in_float64, dtype)
