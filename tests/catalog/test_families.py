"""The table of families: every site is there or has a reason, and layers are counted as promised."""

from __future__ import annotations

import pytest

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.sites import DETAIL_SITES, POOLINGS, SITES, layers_of_site
from hpcgeom.errors import InputError


def test_the_families_are_these():
    assert {name: family.model_types for name, family in FAMILIES.items()} == {
        "bert": ("bert",),
        "esm2": ("esm",),
        "gpt2": ("gpt2",),
        "igpt": ("imagegpt",),
        "llama": ("llama", "mistral"),
        "vit": ("vit",),
    }
    assert all(name == family.name for name, family in FAMILIES.items())


def test_a_type_of_model_belongs_to_one_family():
    types = [model_type for family in FAMILIES.values() for model_type in family.model_types]
    assert len(types) == len(set(types))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=str)
def test_sites_of_a_family_exist_and_those_that_it_lacks_have_a_reason(family):
    present = (*family.sites, *family.detail_sites)
    assert {*present, *family.absent_sites} == {*SITES, *DETAIL_SITES}
    assert not set(present) & set(family.absent_sites)
    assert [*family.sites] == [site for site in SITES if site in family.sites]
    assert all(len(reason) > 20 for reason in family.absent_sites.values())


def test_families_lack_what_their_architecture_does_not_have():
    assert {name: set(family.absent_sites) for name, family in FAMILIES.items()} == {
        "bert": {"ln_1", "ln_2"},
        "esm2": {"pos_embed"},
        "gpt2": set(),
        "igpt": set(),
        "llama": {"pos_embed"},
        "vit": {"pos_embed", "logit_lens"},
    }


def test_families_take_the_data_that_they_were_made_for():
    assert {name: family.dataset_kinds for name, family in FAMILIES.items()} == {
        "bert": ("text", "tokens"),
        "esm2": ("fasta", "tokens"),
        "gpt2": ("text", "tokens"),
        "igpt": ("images", "tokens"),
        "llama": ("text", "tokens"),
        "vit": ("images",),
    }
    assert [name for name, family in FAMILIES.items() if family.is_causal] == ["gpt2", "igpt", "llama"]


@pytest.mark.parametrize(
    ("site", "layers"),
    [
        ("token_embed", (0,)),
        ("pos_embed", (0,)),
        ("resid", (0, 1, 2)),
        ("hidden_states", (0, 1, 2)),
        ("ln_1", (0, 1, 2)),
        ("attn_out", (1, 2)),
        ("q", (1, 2)),
        ("z.3", (1, 2)),
        ("mlp_out", (1, 2)),
        ("attention", (1, 2)),
        ("logits", (2,)),
        ("logit_lens", (0, 1, 2)),
    ],
)
def test_layers_count_the_blocks_before_the_place_that_is_read(site, layers):
    assert layers_of_site(site, 2) == layers


@pytest.mark.parametrize("site", ["x", "resid.0", "z.", "z.-1", "module:*", POOLINGS[0]])
def test_an_unknown_site_is_refused_with_those_there_are(site):
    with pytest.raises(
        InputError, match=r"unknown site '.*': expected one of token_embed, .* or module:<glob>: choose"
    ):
        layers_of_site(site, 2)
