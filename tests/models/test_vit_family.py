"""ViT against transformers' own submodules, step by step."""

from __future__ import annotations

import families_for_tests as tiny
import numpy as np
import pytest
import torch
from transformers import ViTForMaskedImageModeling

from hpcgeom.catalog.sites import SITES
from hpcgeom.errors import InputError
from hpcgeom.models import Reading, TokenBatch, model_limits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save("vit", tmp_path_factory.mktemp("vit"))


def by_hand(folder, batch, dtype):
    model = tiny.load("vit", folder, dtype=dtype)
    pixels = torch.from_numpy(batch.pixel_values)
    with torch.inference_mode():
        out = model(pixels, output_hidden_states=True)
        patches = model.embeddings.patch_embeddings(pixels.to(dtype))
        classes = model.embeddings.cls_token.expand(len(pixels), 1, -1)
        seen = tiny.visible(batch, is_causal=False)

        def step(block, h):
            attention, mlp = block.attention, block.mlp
            normed = block.layernorm_before(h)
            q, k, v = attention.q_proj(normed), attention.k_proj(normed), attention.v_proj(normed)
            attn_out = attention(normed)[0]
            resid_mid = h + attn_out
            second = block.layernorm_after(resid_mid)
            pre = mlp.fc1(second)
            act = mlp.activation_fn(pre)
            sites = {"ln_1": normed, "q": q, "k": k, "v": v, "z": tiny.attended(q, k, v, seen),
                     "attn_out": attn_out, "resid_mid": resid_mid, "ln_2": second, "mlp_pre": pre,
                     "mlp_act": act, "mlp_out": mlp.fc2(act)}  # fmt: skip
            return sites, block(h)

        tokens = torch.cat([classes, patches], dim=1)
        start = tokens + model.embeddings.position_embeddings
        found = tiny.chain_by_hand(model.layers, start, step, model.layernorm)
    assert all(torch.equal(a, b) for a, b in zip(out.hidden_states, found["resid"], strict=True))
    assert torch.equal(out.last_hidden_state, found["hidden_states"][-1])
    return {"token_embed": [tokens], **found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_site_and_layer_equals_transformers(folder, pool_in_float64, dtype):
    batch = tiny.images(4)
    expected = by_hand(folder, batch, dtype)
    assert set(SITES) - set(expected) == {"pos_embed"}  # a parameter: nothing computes it
    model = tiny.open_model(
        "vit", folder, *tiny.everything(expected), dtype=str(dtype).removeprefix("torch.")
    )
    tiny.check_sites(model, expected, batch, pool_in_float64, dtype)


def test_hidden_states_end_with_the_norm_and_the_tuple_of_transformers_before_it(folder):
    batch = tiny.images(3)
    with torch.inference_mode():
        out = tiny.load("vit", folder)(torch.from_numpy(batch.pixel_values), output_hidden_states=True)
    sites = [Reading(site, ("tokens",)) for site in ("hidden_states", "resid")]
    found = tiny.open_model("vit", folder, *sites).extract(batch)
    own = np.stack([hidden[:, 1:].flatten(0, 1).numpy() for hidden in out.hidden_states])
    np.testing.assert_array_equal(found["resid", "tokens"], own)
    np.testing.assert_array_equal(found["hidden_states", "tokens"][:-1], own[:-1])
    normed = out.last_hidden_state[:, 1:].flatten(0, 1).numpy()
    np.testing.assert_array_equal(found["hidden_states", "tokens"][-1], normed)
    assert np.abs(normed - own[-1]).max() > 0.1


def test_first_is_the_class_token_and_mean_is_over_the_patches(folder):
    batch = tiny.images(3)
    with torch.inference_mode():
        last = tiny.load("vit", folder)(torch.from_numpy(batch.pixel_values)).last_hidden_state.numpy()
    reading = Reading("hidden_states", ("first", "mean", "mean_all"), (3,))
    found = tiny.open_model("vit", folder, reading).extract(batch)
    np.testing.assert_array_equal(found["hidden_states", "first"][0], last[:, 0])
    np.testing.assert_allclose(found["hidden_states", "mean"][0], last[:, 1:].mean(1), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["hidden_states", "mean_all"][0], last.mean(1), rtol=0, atol=1e-5)


def test_limits_and_shapes_come_from_the_config(folder):
    found = model_limits(tiny.request("vit", folder))
    assert (found.vocab_size, found.max_tokens, found.image_shape) == (None, 10, (3, 12, 12))
    shapes = tiny.open_model("vit", folder).describe()
    assert (shapes.n_layers, shapes.width) == (3, 32)


def test_images_of_another_size_or_none_are_refused(folder):
    model, batch = tiny.open_model("vit", folder), tiny.images(2)
    larger = TokenBatch(
        batch.input_ids, batch.attention_mask, batch.special_mask, np.zeros((2, 3, 16, 16), np.float32)
    )
    with pytest.raises(
        InputError, match=r"reads images of shape \(3, 12, 12\) as 10 tokens; found \(3, 16, 16\)"
    ):
        model.extract(larger)
    without = TokenBatch(batch.input_ids, batch.attention_mask, batch.special_mask)
    with pytest.raises(InputError, match=r"as 10 tokens; found no images and 10 tokens: encode them"):
        model.extract(without)


@pytest.mark.parametrize("settings", [{"image_size": 13}, {"image_size": [12, 8]}, {"patch_size": [4, 2]}])
def test_images_that_are_no_square_of_patches_are_refused(folder, tmp_path, settings):
    changed = tiny.rewritten(folder, tmp_path / "changed", **settings)
    with pytest.raises(InputError, match=r"expected square images of a whole number of patches: correct"):
        model_limits(tiny.request("vit", changed))


def test_a_checkpoint_of_masked_images_is_the_same_model(folder, tmp_path):
    masked = tiny.unusual(ViTForMaskedImageModeling(tiny.KINDS["vit"].make_config(encoder_stride=4)), 8)
    masked.vit.load_state_dict(tiny.load("vit", folder).state_dict(), strict=False)
    masked.save_pretrained(tmp_path)
    batch = tiny.images(3)
    found, expected = (tiny.open_model("vit", place) for place in (tmp_path, folder))
    assert "vit.embeddings.mask_token" in found.unused_keys
    np.testing.assert_array_equal(
        found.extract(batch)["resid", "tokens"], expected.extract(batch)["resid", "tokens"]
    )


def test_names_of_modules_of_newer_files_are_read_too(folder, tmp_path):
    old = {"encoder.layer.": "layers.", "attention.attention.query": "attention.q_proj",
           "attention.attention.key": "attention.k_proj", "attention.attention.value": "attention.v_proj",
           "attention.output.dense": "attention.o_proj", "intermediate.dense": "mlp.fc1",
           "output.dense": "mlp.fc2"}  # fmt: skip

    def newer(tensors):
        renamed = {}
        for key, tensor in tensors.items():
            for there, here in old.items():
                key = key.replace(there, here)
            renamed[key] = tensor
        assert not set(renamed) & {key for key in tensors if ".layer." in key}
        return renamed

    batch = tiny.images(2)
    found, expected = (
        tiny.open_model("vit", place, details=("logits",))
        for place in (tiny.rewritten(folder, tmp_path / "newer", newer), folder)
    )
    np.testing.assert_array_equal(
        found.extract(batch)["resid", "tokens"], expected.extract(batch)["resid", "tokens"]
    )
