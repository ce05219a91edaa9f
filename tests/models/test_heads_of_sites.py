"""Sites of single heads are columns of the site of all heads."""

from __future__ import annotations

from dataclasses import replace

import families_for_tests as tiny
import numpy as np
import pytest

from hpcgeom.errors import InputError
from hpcgeom.models import ModelRequest, Reading, Replicate

POOLINGS = ("tokens", "mean", "max", "last")
HEADS = ("z.3", "z.0", "q.0", "q.2", "k.1", "v.0")


@pytest.fixture(scope="module", params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return tiny.save(kind, tmp_path_factory.mktemp(kind))


def batch_of(kind, make_batch):
    return tiny.images(3) if kind == "vit" else make_batch([9, 4, 12])


def test_a_head_is_its_columns_of_the_whole_site(kind, folder, make_batch):
    batch = batch_of(kind, make_batch)
    whole = [Reading(site, POOLINGS) for site in ("q", "k", "v", "z")]
    single = [Reading(site, POOLINGS) for site in HEADS]
    model = tiny.open_model(kind, folder, *whole, *single)
    found = model.extract(batch)
    n_heads = {"q": 4, "z": 4, "k": tiny.KINDS[kind].n_kv_heads, "v": tiny.KINDS[kind].n_kv_heads}
    for site in HEADS:
        base, head = site.split(".")
        for pooling in POOLINGS:
            every, part = found[base, pooling], found[site, pooling]
            width = every.shape[-1] // n_heads[base]
            columns = every[..., int(head) * width : (int(head) + 1) * width]
            # a reduction over fewer columns may add in another order
            tolerance = 4e-7 * np.abs(every).max() if pooling == "mean" else 0
            np.testing.assert_allclose(part, columns, rtol=0, atol=tolerance)
    shapes = model.describe().sites
    assert {shapes[site].layers for site in HEADS} == {(1, 2, 3)}
    assert {shapes[site].width for site in HEADS} == {12 if kind == "mistral" else 8}


def test_heads_alone_give_the_same_numbers_and_layers_can_be_chosen(kind, folder, make_batch):
    batch = batch_of(kind, make_batch)
    alone = tiny.open_model(kind, folder, Reading("z.3", ("tokens",), (2,))).extract(batch)
    beside = tiny.open_model(kind, folder, Reading("z", ("tokens",)), Reading("z.3", ("tokens",)))
    np.testing.assert_array_equal(alone["z.3", "tokens"][0], beside.extract(batch)["z.3", "tokens"][1])


def test_keys_and_values_have_the_heads_of_grouped_queries(kind, folder):
    n_heads = {"q": 4, "z": 4, "k": tiny.KINDS[kind].n_kv_heads, "v": tiny.KINDS[kind].n_kv_heads}
    for site, n in n_heads.items():
        tiny.open_model(kind, folder, Reading(f"{site}.{n - 1}", ("mean",)))
        with pytest.raises(
            InputError, match=rf"site '{site}.{n}': its heads are 0 to {n - 1}: name one of these"
        ):
            tiny.open_model(kind, folder, Reading(f"{site}.{n}", ("mean",)))


@pytest.mark.parametrize("site", ["resid.0", "attn_out.1", "z.-1", "z.", "z.x"])
def test_only_q_k_v_and_z_have_heads(kind, folder, site):
    with pytest.raises(InputError, match=f"has no site '{site}': expected one of token_embed.*: choose one"):
        tiny.open_model(kind, folder, Reading(site, ("mean",)))


def users_module(*readings, **more) -> ModelRequest:
    settings = {"blocks": "blocks", "block_sites": {"z": "attn.proj:input", "q": "attn.qkv:0/3"}, **more}
    return ModelRequest("mine", "module", None, "float32", readings, factory="modules_for_tests:make",
                        weights="random", **settings)  # fmt: skip


def test_the_number_of_heads_of_a_users_module_must_be_given(make_batch):
    request = users_module(Reading("z.1", ("mean",)))
    with pytest.raises(
        InputError, match=r"site 'z.1': how many heads it has is not known: give `n_heads`.*'z'"
    ):
        Replicate().open_model(request)
    batch = make_batch([5, 7])
    found = Replicate().open_model(replace(request, n_heads=2)).extract(batch)["z.1", "mean"]
    whole = Replicate().open_model(users_module(Reading("z", ("mean",)))).extract(batch)["z", "mean"]
    np.testing.assert_allclose(found, whole[..., 8:], rtol=0, atol=1e-6)


def test_keys_of_a_users_module_may_have_fewer_heads(make_batch):
    places = {"q": "attn.qkv:0/3", "k": "attn.qkv:1/3"}
    sites = [Reading(site, ("mean",)) for site in ("q.3", "k.1", "q", "k")]
    request = users_module(*sites, block_sites=places, n_heads=4, n_kv_heads=2)
    found = Replicate().open_model(request).extract(make_batch([5, 7]))
    np.testing.assert_allclose(found["q.3", "mean"], found["q", "mean"][..., 12:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["k.1", "mean"], found["k", "mean"][..., 8:], rtol=0, atol=1e-6)


def test_a_width_that_the_heads_do_not_divide_is_refused(make_batch):
    model = Replicate().open_model(users_module(Reading("z.1", ("mean",)), n_heads=3))
    with pytest.raises(InputError, match=r"site 'z.1': its 16 features cannot .* 3 heads: give the right"):
        model.extract(make_batch([5, 7]))
