"""What is kept whole of one sample: against transformers' own outputs, and NumPy in float64."""

from __future__ import annotations

from dataclasses import replace

import families_for_tests as tiny
import numpy as np
import pytest
import torch

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import ModelRequest, Reading, Replicate
from hpcgeom.models.attention import NAME
from hpcgeom.models.details import WholeTokens
from hpcgeom.models.linears import ask_onednn
from hpcgeom.models.readings import SiteReading

ALL = ("attention", "logits", "probabilities", "logit_lens")
NORM_AND_HEAD = {
    "bert": ("bert.embeddings.dropout", "cls"),  # no norm: nothing is done in eval mode
    "esm2": ("esm.encoder.emb_layer_norm_after", "lm_head"),
    "gpt2": ("transformer.ln_f", "lm_head"),
    "igpt": ("transformer.ln_f", "lm_head"),
    "llama": ("model.norm", "lm_head"),
    "mistral": ("model.norm", "lm_head"),
}


@pytest.fixture(scope="module", params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints with a head, made once for each kind."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = tiny.save(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return of


def sample(kind, make_batch, length=11):
    return tiny.images(1) if kind == "vit" else make_batch([length])


def own_outputs(kind, folder, batch, attention=NAME, **more):
    """Of transformers, but for who multiplies: `test_linears.py` compares the two."""
    model = tiny.load(kind, folder, head=True, attention=attention)
    ask_onednn(model)
    with torch.inference_mode():
        return model(**tiny.inputs_of(kind, batch), **more)


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("layers", [None, (0, 2)])
def test_sites_of_blocks_are_kept_whole_with_special_tokens(kind, folders, make_batch, layers):
    batch = sample(kind, make_batch)
    sites = tiny.open_model(kind, folders(kind)).skeleton.layout.site_names
    if layers is not None:  # these have no layer but 0, or none of them
        sites = tuple(site for site in sites if not site.endswith("_embed"))
    model = tiny.open_model(kind, folders(kind), details=sites, detail_layers=layers)
    found = model.details(batch)
    batch.special_mask[:] = False
    readings = [Reading(site, ("tokens",)) for site in sites]
    every = tiny.open_model(kind, folders(kind), *readings)
    expected, shapes = every.extract(batch), every.describe(batch).sites
    assert set(found) == set(sites)
    for site in sites:
        kept = [i for i, layer in enumerate(shapes[site].layers) if layers is None or layer in layers]
        assert kept
        np.testing.assert_array_equal(found[site]["activations"], expected[site, "tokens"][kept])


@pytest.mark.parametrize("with_head", [True, False])
def test_attention_maps_are_those_of_transformers(kind, folders, make_batch, with_head):
    batch = sample(kind, make_batch)
    details = ("attention", "logits") if with_head else ("attention",)
    found = tiny.open_model(kind, folders(kind), details=details).details(batch)["attention"]["attention"]
    own = own_outputs(kind, folders(kind), batch, "eager", output_attentions=True).attentions
    np.testing.assert_array_equal(found, np.stack([layer[0].numpy() for layer in own]))
    n_tokens = batch.input_ids.shape[1]
    assert (found.dtype, found.shape) == (np.float32, (3, 4, n_tokens, n_tokens))
    np.testing.assert_allclose(found.sum(-1), 1, rtol=0, atol=1e-6)
    above = found[..., ~np.tri(n_tokens, dtype=bool)]
    assert (above == 0).all() if tiny.KINDS[kind].is_causal else (above > 0).all()


def test_the_maps_of_some_layers_are_the_same_and_later_blocks_do_not_run(kind, folders, make_batch):
    batch = sample(kind, make_batch)
    every = tiny.open_model(kind, folders(kind), details=("attention",)).details(batch)["attention"][
        "attention"
    ]
    model = tiny.open_model(kind, folders(kind), details=("attention",), detail_layers=(2,))
    model.details(batch)  # the first time also checks the chain, with all blocks
    ran = []
    for index, block in enumerate(model.skeleton.layout.blocks_of(model.skeleton.model)):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    np.testing.assert_array_equal(model.details(batch)["attention"]["attention"], every[[1]])
    assert ran == [0, 1]


def test_the_twin_of_image_gpt_sees_later_pixels(folders, tmp_path, make_batch):
    twin = tiny.rewritten(folders("igpt"), tmp_path / "twin", bert=True)
    maps = tiny.open_model("igpt", twin, details=("attention",)).details(make_batch([8]))["attention"]
    assert (maps["attention"][..., ~np.tri(8, dtype=bool)] > 0).all()


def test_logits_are_bitwise_the_models_own_and_probabilities_their_softmax(kind, folders, make_batch):
    batch = sample(kind, make_batch)
    found = tiny.open_model(kind, folders(kind), details=("logits", "probabilities")).details(batch)
    own = own_outputs(kind, folders(kind), batch).logits.numpy()
    logits, probabilities = found["logits"]["logits"], found["probabilities"]["probabilities"]
    np.testing.assert_array_equal(logits, own if kind == "vit" else own[0])
    assert logits.shape == {"vit": (1, 7), "igpt": (11, 39)}.get(kind, (11, 40))
    np.testing.assert_allclose(probabilities, softmax(logits.astype(np.float64)), rtol=3e-6, atol=1e-12)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=0, atol=1e-6)
    assert {logits.dtype, probabilities.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", NORM_AND_HEAD)
def test_the_logit_lens_is_that_of_numpy(kind, folders, make_batch):
    batch = sample(kind, make_batch)
    found = tiny.open_model(kind, folders(kind), details=("logit_lens",)).details(batch)["logit_lens"]
    states = tiny.open_model(kind, folders(kind), Reading("resid", ("tokens",)))
    batch.special_mask[:] = False
    resid = states.extract(batch)["resid", "tokens"]
    reference = tiny.load(kind, folders(kind), head=True)
    norm, head = (reference.get_submodule(path) for path in NORM_AND_HEAD[kind])
    with torch.inference_mode():
        normed = norm(torch.from_numpy(resid))
        p = softmax(head(normed).numpy().astype(np.float64))
    h = normed.numpy().astype(np.float64)
    lengths = np.linalg.norm(h, axis=-1)
    kl = (p[-1] * np.log(p[-1] / p)).sum(-1)
    np.testing.assert_allclose(found["entropy"], -(p * np.log(p)).sum(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["kl_to_last"], kl, rtol=1e-5, atol=3e-6)
    np.testing.assert_allclose(
        found["cosine_to_last"], (h * h[-1]).sum(-1) / lengths / lengths[-1], atol=1e-6
    )
    order = np.argsort(-p, axis=-1)[..., :10]
    np.testing.assert_array_equal(found["top_token"], order)
    np.testing.assert_allclose(found["top_probability"], np.take_along_axis(p, order, -1), rtol=1e-5)
    assert kl[0].min() > 0.1
    assert (found["kl_to_last"][-1] == 0).all()
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == {"entropy": (4, 11), "kl_to_last": (4, 11), "cosine_to_last": (4, 11),
                      "top_token": (4, 11, 10), "top_probability": (4, 11, 10)}  # fmt: skip
    assert {str(values.dtype) for values in found.values()} == {"float32", "int64"}


def test_activations_are_the_same_before_and_after_details_and_without(kind, folders, make_batch):
    batch = tiny.images(3) if kind == "vit" else make_batch([9, 5, 11])
    readings = (Reading("resid", ("tokens",)), Reading("z", ("tokens",)))
    details = ALL[:3] if kind == "vit" else ALL
    model = tiny.open_model(kind, folders(kind), *readings, details=details)
    before = model.extract(batch)
    model.details(sample(kind, make_batch))
    after = model.extract(batch)
    without = tiny.open_model(kind, folders(kind), *readings).extract(batch)
    for key in before:
        np.testing.assert_array_equal(after[key], before[key])
        np.testing.assert_array_equal(without[key], before[key])
    assert model.skeleton.model.config._attn_implementation == ("eager" if kind == "igpt" else NAME)


def test_random_activations_are_the_same_with_and_without_a_head(kind, folders, make_batch):
    batch = sample(kind, make_batch)
    found, expected = (
        tiny.open_model(kind, folders(kind), weights="random", seed=5, details=details).extract(batch)
        for details in (("logits",), ())
    )
    np.testing.assert_array_equal(found["resid", "tokens"], expected["resid", "tokens"])


LACKING = {
    "bert": "6 tensors .*: cls.predictions.bias, cls.predictions.transform.dense.weight",
    "esm2": "5 tensors .*: lm_head.bias, lm_head.dense.weight",
    "igpt": "1 tensors .*: lm_head.weight",
    "llama": "1 tensors .*: lm_head.weight",
    "mistral": "1 tensors .*: lm_head.weight",
    "vit": "2 tensors .*: classifier.weight, classifier.bias",
}


@pytest.mark.parametrize("kind", LACKING)
def test_a_checkpoint_without_a_head_is_refused_where_one_is_needed(kind, tmp_path, make_batch):
    folder = tiny.save(kind, tmp_path, head=False)
    with pytest.raises(ProblemsError, match=f"lack {LACKING[kind]}"):
        tiny.open_model(kind, folder, details=("logits",))
    maps = tiny.open_model(kind, folder, details=("attention",)).details(sample(kind, make_batch))
    assert maps["attention"]["attention"].shape[:2] == (3, 4)


@pytest.mark.parametrize("kind", ["bert", "esm2", "gpt2"])
@pytest.mark.parametrize("copied", [False, True])
def test_a_tied_head_needs_no_tensor_of_its_own_and_may_have_one(kind, copied, folders, tmp_path, make_batch):
    def copy(tensors):
        own = {
            "bert": "cls.predictions.decoder.weight",
            "esm2": "lm_head.decoder.weight",
            "gpt2": "lm_head.weight",
        }
        rows = next(key for key in tensors if key.endswith(("word_embeddings.weight", "wte.weight")))
        assert own[kind] not in tensors
        tensors[own[kind]] = tensors[rows].clone()

    folder = tiny.rewritten(folders(kind), tmp_path / "copied", copy) if copied else folders(kind)
    batch = make_batch([7])
    found = tiny.open_model(kind, folder, details=("logits",)).details(batch)["logits"]["logits"]
    np.testing.assert_array_equal(found, own_outputs(kind, folders(kind), batch).logits[0].numpy())


def test_a_tied_head_with_numbers_of_its_own_is_refused(folders, tmp_path):
    def change(tensors):
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"] + 1

    folder = tiny.rewritten(folders("gpt2"), tmp_path / "changed", change)
    with pytest.raises(
        ProblemsError, match=r"transformer.wte.weight and lm_head.weight hold different .*tie_word"
    ):
        tiny.open_model("gpt2", folder, details=("logits",))
    assert tiny.open_model("gpt2", folder).unused_keys == ("lm_head.weight",)
    apart = tmp_path / "apart"
    tiny.rewrite_config(folder, apart, tie_word_embeddings=False)
    (apart / "model.safetensors").symlink_to(folder / "model.safetensors")
    head = tiny.open_model("gpt2", apart, details=("logits",)).skeleton.model
    assert torch.equal(head.lm_head.weight, head.transformer.wte.weight + 1)


def test_gpt2_saved_without_its_head_has_one_all_the_same(folders, tmp_path, make_batch):
    base = tiny.save("gpt2", tmp_path, head=False)
    found, expected = (
        tiny.open_model("gpt2", place, details=("logits",)).details(make_batch([7]))["logits"]["logits"]
        for place in (base, folders("gpt2"))
    )
    np.testing.assert_array_equal(found, expected)


def test_threads_are_those_asked_for(folders, make_batch):
    model = tiny.open_model("gpt2", folders("gpt2"), details=("logits",))
    torch.set_num_threads(2)
    model.details(make_batch([4]))
    assert torch.get_num_threads() == 1


def test_lower_precision_gives_float32_details(folders, make_batch):
    model = tiny.open_model("llama", folders("llama"), details=ALL, dtype="bfloat16")
    found = model.details(make_batch([9]))
    reference = tiny.load("llama", folders("llama"), head=True, dtype=torch.bfloat16)
    with torch.inference_mode():
        own = reference(**tiny.inputs_of("llama", make_batch([9]))).logits[0].float().numpy()
    np.testing.assert_array_equal(found["logits"]["logits"], own)
    np.testing.assert_allclose(found["attention"]["attention"].sum(-1), 1, rtol=0, atol=0.02)


def test_details_are_of_one_sample_without_padding(folders, make_batch):
    model = tiny.open_model("gpt2", folders("gpt2"), details=("attention",))
    with pytest.raises(
        InputError, match="details are read of one sample without padding at a time: give one"
    ):
        model.details(make_batch([5, 5]))
    padded = make_batch([4])
    padded.attention_mask[0, -1] = 0
    with pytest.raises(InputError, match="one sample without padding"):
        model.details(padded)


@pytest.mark.parametrize("layers", [(), (0,), (4,), (2, 1), (1, 1)])
def test_layers_that_the_model_does_not_have_are_refused(folders, make_batch, layers):
    model = tiny.open_model("gpt2", folders("gpt2"), details=("attention",), detail_layers=layers)
    with pytest.raises(
        InputError,
        match=r"site 'attention': expected ascending layers out of 1 to 3; found \[.*\]: correct them",
    ):
        model.details(make_batch([4]))


def test_details_that_a_model_does_not_have_are_refused(folders):
    with pytest.raises(
        InputError, match=r"has no detail 'risid': expected one of attention, .*: choose one of"
    ):
        tiny.open_model("gpt2", folders("gpt2"), details=("risid",))
    with pytest.raises(
        InputError, match=r"has no 'logit_lens': its head reads a class token, .*: leave it out"
    ):
        tiny.open_model("vit", folders("vit"), details=("logit_lens",))


def test_a_module_that_is_not_of_one_sample_is_no_detail(make_batch):
    places = WholeTokens({"resid": SiteReading("resid", ("mean",), (1,), {1: 0})})
    with pytest.raises(
        InputError, match=r"'m' gives .* \(2, 3, 4\); expected \(1, T, D\): read another module"
    ):
        places.put("resid", 1, torch.zeros(2, 3, 4), "module 'm'")


def test_values_that_are_not_finite_are_refused(folders, make_batch):
    model = tiny.open_model("gpt2", folders("gpt2"), details=("logits",))
    model.skeleton.model.transformer.ln_f.bias[0] = torch.nan
    with pytest.raises(InputError, match="'logits' of site 'logits' has NaN or infinite values"):
        model.details(make_batch([4]))


def users_model(**more):
    return ModelRequest("mine", "module", None, "float32", (Reading("resid", ("mean",)),), weights="random",
                        seed=3, factory="families_for_tests:make_with_maps", blocks="blocks",
                        final_norm="norm", **more)  # fmt: skip


def test_a_users_model_has_the_details_whose_modules_are_named(make_batch):
    batch = make_batch([6])
    model = Replicate().open_model(users_model(attention="weights", head="head", details=ALL))
    found = model.details(batch)
    with torch.inference_mode():
        logits, maps = model.skeleton.model.run(torch.from_numpy(batch.input_ids))
    np.testing.assert_array_equal(found["attention"]["attention"], torch.stack(maps)[:, 0].numpy())
    np.testing.assert_array_equal(found["logits"]["logits"], logits[0].numpy())


@pytest.mark.parametrize(
    ("details", "message"),
    [(("attention",), "give the path, in a block, of the module whose output is"),
     (("logits",), "give the path of the module that makes logits")],
)  # fmt: skip
def test_a_users_model_must_name_the_modules(details, message):
    with pytest.raises(InputError, match=message):
        Replicate().open_model(users_model(details=details))


def test_a_module_that_gives_no_map_is_refused(make_batch):
    request = users_model(attention="mix", details=("attention",))
    with pytest.raises(
        InputError, match=r"site 'attention': module 'blocks.0.mix' gives .* \(1, 6, 8\); expected an"
    ):
        Replicate().open_model(request).details(make_batch([6]))
    unused = replace(request, attention="unused")
    with pytest.raises(
        InputError, match=r"'attention': the module that gives the map did not run in layer 1"
    ):
        Replicate().open_model(unused).details(make_batch([6]))
