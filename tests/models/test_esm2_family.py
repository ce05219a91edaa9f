"""ESM-2 against transformers' own submodules, step by step, and the files in which its weights come."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.esm import modeling_esm

from hpcgeom.catalog.sites import SITES
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import Reading, TokenBatch, model_limits
from hpcgeom.models.families.esm2 import Intermediate

MASK_TOKEN, PAD_TOKEN = 4, 0
STAR = "encoder.layer.*.attention.self.rotary_embeddings.inv_freq"


def test_the_gelu_of_one_pass_is_the_one_that_is_spelled_out(monkeypatch):
    monkeypatch.undo()  # of what all tests of models have
    dense, hidden = torch.nn.Linear(64, 256), 4 * torch.randn(3, 50, 64, generator=torch.manual_seed(0))
    with torch.inference_mode():
        expected = modeling_esm.gelu(dense(hidden))
        torch.testing.assert_close(Intermediate(dense)(hidden), expected, rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save("esm2", tmp_path_factory.mktemp("esm2"))


@pytest.fixture
def mixed_batch(padded_batch) -> TokenBatch:
    """Rows of different length, with no, one and three masked tokens."""
    ids, rows = padded_batch.input_ids.copy(), padded_batch.attention_mask == 1
    for row, n_masked in ((0, 3), (2, 1)):
        ids[row, np.flatnonzero(rows[row])[1 : 1 + n_masked]] = MASK_TOKEN
    ids[~rows] = PAD_TOKEN
    return TokenBatch(ids, padded_batch.attention_mask, padded_batch.special_mask)


def by_hand(folder, batch, dtype):
    model = tiny.load("esm2", folder, dtype=dtype)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    with torch.inference_mode():
        own = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        start = model.embeddings(input_ids=ids, attention_mask=mask)
        shown = create_bidirectional_mask(model.config, start, mask)
        rotary = model.rotary_embeddings(start, torch.arange(ids.shape[1])[None])
        seen = tiny.visible(batch, is_causal=False)

        def step(block, h):
            attention = block.attention
            normed = attention.LayerNorm(h)
            q, k, v = (getattr(attention.self, part)(normed) for part in ("query", "key", "value"))
            context = attention.self(normed, attention_mask=shown, position_embeddings=rotary)[0]
            attn_out = attention.output.dense(context)
            resid_mid = h + attn_out
            second = block.LayerNorm(resid_mid)
            act = block.intermediate(second)
            sites = {"ln_1": normed, "q": q, "k": k, "v": v, "z": tiny.attended(q, k, v, seen, rotary=True),
                     "attn_out": attn_out, "resid_mid": resid_mid, "ln_2": second,
                     "mlp_pre": block.intermediate.dense(second), "mlp_act": act,
                     "mlp_out": block.output.dense(act)}  # fmt: skip
            return sites, block(h, attention_mask=shown, position_embeddings=rotary)

        found = tiny.chain_by_hand(model.encoder.layer, start, step, model.encoder.emb_layer_norm_after)
        tokens = model.embeddings.word_embeddings(ids)
    assert all(torch.equal(a, b) for a, b in zip(own, found["hidden_states"], strict=True))
    return {"token_embed": [tokens], **found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(folder, mixed_batch, pool_in_float64, dtype):
    expected = by_hand(folder, mixed_batch, dtype)
    assert set(SITES) - set(expected) == {"pos_embed"}  # positions are rotations
    model = tiny.open_model(
        "esm2", folder, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch.")
    )
    tiny.check_sites(model, expected, mixed_batch, pool_in_float64, dtype)


@pytest.mark.parametrize("dropout", [True, False])
def test_the_embedding_is_scaled_for_masked_tokens_only_with_token_dropout(tmp_path, mixed_batch, dropout):
    folder = tiny.save("esm2", tmp_path, token_dropout=dropout)
    model = tiny.open_model(
        "esm2", folder, *(Reading(s, ("tokens",), (0,)) for s in ("resid", "token_embed"))
    )
    found = model.extract(mixed_batch)
    start, tokens = found["resid", "tokens"][0], found["token_embed", "tokens"][0].astype(np.float64)
    ids, real = mixed_batch.input_ids, mixed_batch.attention_mask == 1
    ordinary = real & ~mixed_batch.special_mask
    is_masked = (ids == MASK_TOKEN) & real
    kept = 1 - is_masked.sum(1) / real.sum(1)
    scale = np.where(is_masked, 0.0, (1 - 0.15 * 0.8) / kept[:, None]) if dropout else np.ones(ids.shape)
    np.testing.assert_allclose(start, tokens * scale[ordinary][:, None], rtol=4e-7)


@pytest.mark.parametrize("dropout", [True, False])
def test_rows_of_different_length_are_those_of_transformers_one_by_one(tmp_path, mixed_batch, dropout):
    folder = tiny.save("esm2", tmp_path, token_dropout=dropout)
    reference = tiny.load("esm2", folder)
    model = tiny.open_model("esm2", folder, Reading("hidden_states", ("mean_all", "last")))
    found = model.extract(mixed_batch)
    for row, (ids, mask) in enumerate(zip(mixed_batch.input_ids, mixed_batch.attention_mask, strict=True)):
        alone = torch.from_numpy(ids[mask == 1])[None]
        with torch.inference_mode():
            own = reference(
                alone, attention_mask=torch.ones_like(alone), output_hidden_states=True
            ).hidden_states
        for pooling, expected in (
            ("mean_all", [h[0].mean(0) for h in own]),
            ("last", [h[0, -1] for h in own]),
        ):
            expected = torch.stack(expected).numpy()
            np.testing.assert_allclose(
                found["hidden_states", pooling][:, row], expected, rtol=0, atol=2e-5 * np.abs(expected).max()
            )


def test_limits_come_from_the_config(folder):
    found = model_limits(tiny.request("esm2", folder))
    assert (found.vocab_size, found.max_tokens) == (40, None)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"position_embedding_type": "absolute"}, "position_embedding_type 'absolute'"),
        ({"emb_layer_norm_before": True}, "emb_layer_norm_before True"),
    ],
)
def test_an_older_esm_is_refused(folder, tmp_path, settings, found):
    older = tiny.rewritten(folder, tmp_path / "older", **settings)
    with pytest.raises(
        InputError, match=f"not that of an ESM-2 model .*{found}.*: expected 'rotary' and false"
    ):
        model_limits(tiny.request("esm2", older))


def frequencies(kind):
    """Changes a file so that it holds frequencies in one of the ways in which files do."""

    def change(tensors):
        kept = {key: value for key, value in tensors.items() if "inv_freq" not in key}
        lead = "esm." if any(key.startswith("esm.") for key in kept) else ""
        own = torch.linspace(1.0, 0.05, 4)
        if kind == "a star":
            kept[lead + STAR] = own
        if kind == "one per layer":
            for layer in range(3):  # the first one counts, as in transformers
                kept[lead + STAR.replace("*", str(layer))] = own + layer
        return kept

    return change


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("kind", ["a star", "one per layer", "none"])
def test_frequencies_are_those_of_the_file_where_it_has_some(tmp_path, make_batch, kind, head):
    saved = tiny.save("esm2", tmp_path / "saved", head=head)
    folder = tiny.rewritten(saved, tmp_path / "changed", frequencies(kind))
    batch = make_batch([12, 7])
    with torch.inference_mode():
        own = tiny.load("esm2", folder)(**tiny.inputs_of("esm2", batch), output_hidden_states=True)
    expected = np.stack([h[0, 1:11].numpy() for h in own.hidden_states])
    for details in (("attention",), ("logits",))[: 1 + head]:
        model = tiny.open_model("esm2", folder, Reading("hidden_states", ("tokens",)), details=details)
        np.testing.assert_array_equal(model.extract(batch)["hidden_states", "tokens"][:, :10], expected)
    plain = tiny.open_model("esm2", saved, Reading("hidden_states", ("tokens",))).extract(batch)
    differs = np.abs(plain["hidden_states", "tokens"][:, :10] - expected).max() > 1e-3
    assert differs == (kind != "none")


def test_frequencies_are_float32_in_a_model_of_lower_precision(folder, tmp_path):
    half = tiny.rewritten(
        folder, tmp_path / "half", lambda tensors: {k: t.half() for k, t in tensors.items()}
    )
    model = tiny.open_model("esm2", half, dtype="bfloat16").skeleton.model
    assert model.rotary_embeddings.inv_freq.dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_frequencies_given_twice_are_refused(folder, tmp_path):
    def change(tensors):
        tensors.update({f"esm.{STAR}": torch.ones(4), f"esm.{STAR.replace('*', '0')}": torch.ones(4)})

    with pytest.raises(ProblemsError, match=r"have twice 1 tensors .*inv_freq and .*inv_freq"):
        tiny.open_model("esm2", tiny.rewritten(folder, tmp_path / "twice", change))
