"""Image GPT against the paper's own formulas in NumPy, and against transformers step by step."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from transformers import ImageGPTModel
from transformers.masking_utils import create_bidirectional_mask

from hpcgeom.catalog.sites import SITES
from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, Reading, Replicate, TokenBatch, model_limits

SMALL = {"vocab_size": 513, "n_positions": 1024, "n_embd": 512, "n_layer": 24, "n_head": 8}
"""iGPT-S of the paper."""


def normed(x, gain, eps=1e-5):
    """Without centering; no bias."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * gain


def gelu2(x):
    return x / (1 + np.exp(-1.702 * x))


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def reference(w, ids, n_layers, n_heads, is_causal):
    """h_0..h_L and the first norm of each of them, after Chen et al. 2020, section 2, in float64.

    n_l = norm(h_l); a_l = h_l + attention(n_l); h_{l+1} = a_l + mlp(norm(a_l)).
    """
    n_tokens = ids.shape[1]
    h = w["wte.weight"][ids] + w["wpe.weight"][:n_tokens]
    hidden, norms = [h], []
    sees = np.tril(np.ones((n_tokens, n_tokens), bool)) if is_causal else np.ones((n_tokens, n_tokens), bool)
    for layer in range(n_layers):

        def p(name, layer=layer):
            return w[f"h.{layer}.{name}"]

        n = normed(h, p("ln_1.weight"))
        norms.append(n)
        qkv = n @ p("attn.c_attn.weight") + p("attn.c_attn.bias")
        q, k, v = (
            part.reshape(*ids.shape, n_heads, -1).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, -1)
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
        z = softmax(np.where(sees, scores, -np.inf)) @ v
        z = z.transpose(0, 2, 1, 3).reshape(h.shape)
        a = h + z @ p("attn.c_proj.weight") + p("attn.c_proj.bias")
        m = gelu2(normed(a, p("ln_2.weight")) @ p("mlp.c_fc.weight") + p("mlp.c_fc.bias"))
        h = a + m @ p("mlp.c_proj.weight") + p("mlp.c_proj.bias")
        hidden.append(h)
    norms.append(normed(h, w["ln_f.weight"]))
    return {"resid": hidden, "ln_1": norms}


def pixels(n_rows, n_tokens, n_ids, seed=0):
    ids = np.random.default_rng(seed).integers(0, n_ids, (n_rows, n_tokens))
    ones = np.ones(ids.shape, np.int64)
    return TokenBatch(ids, ones, np.zeros(ids.shape, bool))


def small_model(twin, readings):
    """iGPT-S with random weights, larger than at the start of training so that all parts matter."""
    config = {"model_type": "imagegpt", **SMALL, "bert": twin}
    request = ModelRequest(
        "igpt-s", "igpt", None, "float32", readings, weights="random", seed=4, config=config
    )
    model = Replicate().open_model(request)
    generator = torch.Generator().manual_seed(4)
    for name, parameter in model.skeleton.model.named_parameters():
        if parameter.dim() == 1:  # gains are ones and biases zeros
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        else:
            parameter *= 12 if "c_proj" in name else 2.5
    return model


@pytest.mark.parametrize("twin", [False, True], ids=["igpt", "bert"])
def test_the_small_architecture_is_that_of_the_paper(twin):
    batch = pixels(2, 20, 513)
    model = small_model(twin, tuple(Reading(site, ("tokens",)) for site in ("resid", "ln_1")))
    own = model.skeleton.model
    weights = {name: value.numpy().astype(np.float64) for name, value in own.state_dict().items()}
    expected = reference(weights, batch.input_ids, 24, 8, is_causal=not twin)
    found = model.extract(batch)
    for site, layers in expected.items():
        assert len(layers) == 25
        for layer, by_hand in enumerate(layers):
            error = np.abs(found[site, "tokens"][layer] - by_hand.reshape(40, 512)).max()
            assert error < 1e-4 * np.sqrt((by_hand**2).mean()), (site, layer)
    assert isinstance(own, ImageGPTModel)
    with torch.inference_mode():
        states = own(**tiny.inputs_of("igpt", batch), output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(
        found["resid", "tokens"][:-1], np.stack([h.flatten(0, 1) for h in states[:-1]])
    )
    np.testing.assert_array_equal(found["ln_1", "tokens"][-1], states[-1].flatten(0, 1))


def linked(folder, target, **config):
    """The same weights with other settings; the file is not copied."""
    tiny.rewrite_config(folder, target, **config)
    (target / "model.safetensors").symlink_to(folder / "model.safetensors")
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save("igpt", tmp_path_factory.mktemp("igpt"))


def by_hand(folder, batch, dtype, is_causal):
    model = tiny.load("igpt", folder, dtype=dtype)
    ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
    if not is_causal:
        for block in model.h:
            block.attn.bias[:] = True
    with torch.inference_mode():
        own = model(ids, attention_mask=mask, use_cache=False, output_hidden_states=True).hidden_states
        tokens, positions = model.wte(ids), model.wpe(torch.arange(ids.shape[1]))[None]
        shown = create_bidirectional_mask(model.config, tokens, mask)
        seen = tiny.visible(batch, is_causal=is_causal)

        def step(block, h):
            first = block.ln_1(h)
            q, k, v = block.attn.c_attn(first).chunk(3, dim=-1)
            attn_out = block.attn(first, attention_mask=shown)[0]
            resid_mid = h + attn_out
            second = block.ln_2(resid_mid)
            pre = block.mlp.c_fc(second)
            act = block.mlp.act(pre)
            sites = {"ln_1": first, "q": q, "k": k, "v": v, "z": tiny.attended(q, k, v, seen),
                     "attn_out": attn_out, "resid_mid": resid_mid, "ln_2": second, "mlp_pre": pre,
                     "mlp_act": act, "mlp_out": block.mlp.c_proj(act)}  # fmt: skip
            return sites, block(h, attention_mask=shown)[0]

        found = tiny.chain_by_hand(model.h, tokens + positions, step, model.ln_f)
    assert all(torch.equal(a, b) for a, b in zip(own, found["hidden_states"], strict=True))
    return {"token_embed": [tokens], "pos_embed": [positions.expand(tokens.shape)], **found}


@pytest.mark.parametrize("twin", [False, True], ids=["igpt", "bert"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(
    folder, tmp_path, padded_batch, pool_in_float64, dtype, twin
):
    here = linked(folder, tmp_path / "twin", bert=True) if twin else folder
    expected = by_hand(folder, padded_batch, dtype, is_causal=not twin)
    assert set(expected) == set(SITES)
    model = tiny.open_model("igpt", here, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch."))
    tiny.check_sites(model, expected, padded_batch, pool_in_float64, dtype)


@pytest.mark.parametrize("weights", [None, "random"])
def test_a_change_of_the_last_pixel_reaches_the_first_in_the_twin_only(folder, tmp_path, weights):
    one, other = pixels(2, 9, 40), pixels(2, 9, 40)
    other.input_ids[:, -1] = (other.input_ids[:, -1] + 1) % 40
    places = {"igpt": folder, "bert": linked(folder, tmp_path / "twin", bert=True)}
    for kind, place in places.items():
        model = tiny.open_model("igpt", place, Reading("resid", ("first",)), weights=weights)
        before, after = (model.extract(batch)["resid", "first"] for batch in (one, other))
        assert np.array_equal(before, after) == (kind == "igpt")


def test_a_flag_that_is_no_truth_value_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"bert is 'yes': expected true or false: correct it"):
        model_limits(tiny.request("igpt", linked(folder, tmp_path / "odd", bert="yes")))


def test_limits_come_from_the_config(folder):
    found = model_limits(tiny.request("igpt", folder))
    assert (found.vocab_size, found.max_tokens, found.image_shape) == (40, 24, None)
