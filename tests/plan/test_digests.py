"""Digests: which change of a manifest repeats which work, and which repeats none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_examples import ARRAYS, TEXT, changed, draft, plan_of, points, samples

from hpcgeom.manifest import Manifest
from hpcgeom.plan.between import between_units
from hpcgeom.plan.identity import canonical_json, digest
from hpcgeom.plan.plan import SourceFile
from hpcgeom.plan.units import collect_units, profile_digest

STAGES = ("extract", "search", "profile", "pairs", "collect")
ALL, NONE = set(STAGES), set()
FROM_SEARCH, GEOMETRY, PROFILE = ALL - {"extract"}, {"profile", "pairs", "collect"}, {"profile", "collect"}


def digests(plan):
    model = plan.models[0]
    item = model.representations[0]
    return {
        "extract": model.extract_digest,
        "search": model.search_digest,
        "profile": profile_digest(plan, model),
        "pairs": between_units(plan, item.site, item.pooling, 0)[0].digest,
        "collect": collect_units(plan)[0].digest,
    }


def differing(one, other):
    before, after = digests(one), digests(other)
    return {stage for stage in STAGES if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("setting", "value", "repeated"),
    [
        ("extract.tokens_per_batch", 4096, ALL),
        ("extract.unit_rows", 256, ALL),
        ("dataset.max_length", 100, ALL),
        ("dataset.too_long", "truncate", ALL),
        ("neighbors.k", 65, FROM_SEARCH),
        ("neighbors.metric", "cosine", FROM_SEARCH),
        ("neighbors.standardize", True, FROM_SEARCH),
        ("neighbors.standardize", ["resid"], FROM_SEARCH),
        ("neighbors.kernel", "float32", NONE),
        ("neighbors.unit_work", 1.0, NONE),
        ("geometry.overlap_k", [1, 2], GEOMETRY),
        ("geometry.error_splits", 8, {"collect"}),
        ("geometry.cka", True, {"collect"}),
        ("geometry.information_imbalance", True, {"pairs", "collect"}),
        ("geometry.jaccard", True, {"pairs", "collect"}),
        ("geometry.cross_model", False, {"pairs", "collect"}),
        ("geometry.estimators", ["twonn"], PROFILE),
        ("geometry.mu_fraction", 0.8, PROFILE),
        ("geometry.mu_fractions", [0.5], PROFILE),
        ("geometry.data_fractions", [1.0], PROFILE),
        ("geometry.gride_range_max", 32, PROFILE),
        ("geometry.seed", 1, PROFILE),
        ("geometry.labels", [], PROFILE),
        ("models.0.strategy", "replicate", NONE),
    ],
)
def test_a_setting_repeats_exactly_the_work_that_it_changes(setting, value, repeated):
    assert differing(plan_of(TEXT), plan_of(changed(TEXT, setting, value))) == repeated


def with_one_file(content):
    return (SourceFile(path="/elsewhere/model.safetensors", size=1, sha256=content),)


@pytest.mark.parametrize(
    ("changes", "repeated"),
    [
        ({"identity": {"family": "bert", "dtype": "bfloat16"}}, ALL),
        ({"store_dtype": "float16"}, ALL),
        ({"files": with_one_file("other weights")}, ALL),
        ({"sites": ("attn_out",)}, ALL),
        ({"sites": ("resid", "attn_out")}, ALL),
        ({"layers": 2}, ALL),
        ({"folder": "/elsewhere"}, NONE),
        ({"files": with_one_file("weights of a")}, NONE),
        ({"n_tokens": 5, "n_parameters": 7, "unused_keys": ("pooler",)}, NONE),
        ({"revision": "abc"}, {"collect"}),
    ],
)
def test_a_change_of_the_model_repeats_everything_and_its_place_nothing(changes, repeated):
    assert differing(plan_of(), plan_of(drafts=[draft(**changes)])) == repeated


@pytest.mark.parametrize(
    ("known", "repeated"),
    [
        ({"digest": "other texts"}, ALL),
        ({"label_digests": {"topic": "other labels"}}, PROFILE),
        ({"label_digests": {"topic": "labels", "unused": "more"}}, NONE),
        ({"files": with_one_file("copied")}, NONE),
        ({"notices": ("two texts are equal",)}, NONE),
    ],
)
def test_other_samples_repeat_everything_and_other_labels_what_is_measured_with_them(known, repeated):
    assert differing(plan_of(), plan_of(known=samples(**known))) == repeated


def test_pooling_is_part_of_what_is_extracted():
    other = draft().representations[0].model_copy(update={"pooling": "last"})
    assert differing(plan_of(), plan_of(drafts=[draft(representations=(other,))])) == ALL


def test_names_and_paths_of_the_manifest_are_no_science():
    renamed = changed(changed(TEXT, "name", "other"), "dataset.path", "moved.tsv")
    assert differing(plan_of(), plan_of(renamed)) == {"collect"}


def test_another_model_leaves_what_was_extracted_and_searched():
    models = [*TEXT["models"], {"name": "b", "family": "bert", "source": "org/b"}]
    both = plan_of(changed(TEXT, "models", models), drafts=[draft("a"), draft("b", 16, 4)])
    assert differing(plan_of(), both) == {"pairs", "collect"}
    assert both.models[1].extract_digest != both.models[0].extract_digest
    swapped = plan_of(changed(TEXT, "models", models[::-1]), drafts=[draft("b", 16, 4), draft("a")])
    assert swapped.models[1].search_digest == both.models[0].search_digest


def test_points_have_no_tokens_so_their_batches_are_no_science():
    plan = plan_of(ARRAYS, drafts=[points()])
    assert "tokens_per_batch" not in plan.manifest["extract"]
    assert differing(plan, plan_of(changed(ARRAYS, "extract.unit_rows", 256), drafts=[points()])) == ALL


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_is_no_science(shuffler: random.Random):
    def shuffled(value):
        if not isinstance(value, dict):
            return value
        keys = list(value)
        shuffler.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    written_out = Manifest.model_validate(TEXT).model_dump(mode="json")
    assert differing(plan_of(written_out), plan_of(shuffled(written_out))) == NONE


def test_a_digest_is_that_of_canonical_json():
    text = '{"a":[1,0.5,null],"b":"\\u00e9","schema":3,"what":"extract"}'
    assert canonical_json({"what": "extract", "b": "é", "a": [1, 0.5, None], "schema": 3}) == text
    # sha256sum of that text
    expected = "ff571461ff7621114b11b4acb49152280df253cb8269a1af662f3192f268d8ed"
    assert digest("extract", b="é", a=[1, 0.5, None]) == expected


def test_numbers_that_are_no_numbers_have_no_digest():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest("extract", value=float("nan"))
