"""Which layers of which sites are read: from what the manifest asks and what the model has."""

from __future__ import annotations

import pytest

from hpcgeom.catalog.families import ModelFacts
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import Representations
from hpcgeom.plan.layout import SiteShape, choose_layers, family_shapes, points_representation

FACTS = ModelFacts(
    n_layers=3,
    width=8,
    n_kv_heads=2,
    head_dim=4,
    n_block_parameters=1,
    n_head_parameters=0,
    is_gated_mlp=False,
    n_image_tokens=0,
    n_patch_values=0,
    n_outputs=9,
    n_heads=2,
    mlp_width=16,
    vocab_size=9,
    max_positions=24,
    n_parameters=5,
)


def chosen(**asked):
    sections = Representations.model_validate(asked)
    return choose_layers("a", sections, family_shapes("a", "bert", FACTS, sections.sites))


def test_all_layers_of_a_site_are_those_that_it_has():
    found = chosen(sites=["resid", "attn_out"], pooling=["mean", "last"])
    assert [(item.site, item.pooling, item.layers, item.width) for item in found] == [
        ("resid", "mean", (0, 1, 2, 3), 8),
        ("resid", "last", (0, 1, 2, 3), 8),
        ("attn_out", "mean", (1, 2, 3), 8),
        ("attn_out", "last", (1, 2, 3), 8),
    ]


def test_layers_that_are_named_are_taken_where_the_site_has_them():
    found = chosen(sites=["resid", "attn_out"], layers=[0, 2])
    assert [(item.site, item.layers) for item in found] == [("resid", (0, 2)), ("attn_out", (2,))]


def test_a_layer_out_of_range_is_refused_with_the_range():
    with pytest.raises(
        ProblemsError, match=r"model 'a': representations.layers names layer 4, but"
    ) as caught:
        chosen(layers=[0, 4, 9])
    assert caught.value.problems == (
        "model 'a': representations.layers names layer 4, but its layers are 0 to 3: remove it",
        "model 'a': representations.layers names layer 9, but its layers are 0 to 3: remove it",
    )


def test_a_site_without_any_of_the_layers_is_refused():
    with pytest.raises(ProblemsError, match=r"site 'attn_out' has layers 1 to 3, and .* names none of them"):
        chosen(sites=["resid", "attn_out"], layers=[0])


def test_a_site_that_the_architecture_lacks_is_refused_with_the_reason_and_the_others():
    with pytest.raises(
        InputError,
        match=r"model 'a' of family 'bert' has no site 'ln_1' \(its blocks are post-norm: .*\): choose from",
    ):
        chosen(sites=["ln_1"])


def test_a_head_that_the_architecture_lacks_is_refused():
    with pytest.raises(InputError, match=r"no site 'q.2': the heads of 'q' are 0 to 1: name one of these"):
        chosen(sites=["q.2"])


def test_globs_are_for_modules():
    with pytest.raises(
        InputError, match=r"cannot read 'module:encoder\.\*': module globs are read by .*: choose from"
    ):
        chosen(sites=["module:encoder.*"])


def test_names_of_submodules_stay_with_their_layers():
    shapes = {"module:x.*": SiteShape((0, 1), 5, ("x.0", "x.1"))}
    asked = Representations.model_validate({"sites": ["module:x.*"]})
    (item,) = choose_layers("a", asked, shapes)
    assert (item.modules, item.layers, item.width) == (("x.0", "x.1"), (0, 1), 5)


def test_points_that_exist_have_one_site_and_no_pooling():
    (item,) = points_representation([0, 5], 7)
    assert (item.site, item.pooling, item.layers, item.width) == ("points", "none", (0, 5), 7)
