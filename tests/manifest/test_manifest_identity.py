"""Digest and difference: what makes two manifests the same question."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcgeom.manifest import Manifest, canonical, difference, load_manifest, manifest_digest, template
from hpcgeom.manifest.yaml import parse_yaml

DATA = {
    "name": "demo",
    "dataset": {
        "kind": "text",
        "path": "a.tsv",
        "labels": {"topic": {"column": "topic"}, "author": {"file": "author.tsv"}},
    },
    "models": [
        {"name": "a", "family": "bert", "source": "org/name", "revision": "abc", "dtype": "float32"},
        {
            "name": "b",
            "family": "module",
            "factory": "m:f",
            "factory_arguments": {"x": 1, "y": 2.5},
            "source": "w.safetensors",
            "tokenizer": "t",
            "blocks": "layers",
            "block_sites": {"attn_out": "a", "mlp_out": "m"},
        },
    ],
    "representations": {"layers": [0, 1], "sites": ["resid"]},
    "neighbors": {"k": 64},
    "geometry": {"mu_fraction": 0.9, "seed": 3},
}
ARRAYS = {
    "name": "points",
    "dataset": {"kind": "arrays"},
    "models": [{"name": "mine", "family": "arrays", "source": "layer{layer}.npy"}],
}
ARRAYS_JSON = (
    '{"dataset":{"ids":null,"kind":"arrays","labels":{},"samples":"all"},"extract":{"unit_rows":null},'
    '"geometry":{"cka":false,"clusters":null,"cross_model":true,"data_fractions":[1.0,0.5,0.25,0.125],"error_splits":0,'
    '"estimators":["twonn","twonn_mle","gride"],"exclude_same":{},"gride_range_max":64,'
    '"information_imbalance":false,"jaccard":false,"labels":[],'
    '"levina_bickel_k":[5,10,20],"local_dimension_k":null,"mu_fraction":0.9,'
    '"mu_fractions":[0.5,0.6,0.7,0.8,0.9],'
    '"overlap_k":[1,2,5,10,20,50],"plateau_tolerance":0.02,"seed":0,'
    '"spectrum":false,"token_clouds":null,"variance_fractions":[0.8,0.9,0.99]},'
    '"models":[{"family":"arrays","name":"mine","source":"layer{layer}.npy"}],"name":"points",'
    '"neighbors":{"k":64,"metric":"euclidean","standardize":false}}'
)
SETTINGS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(0, 2)
        | st.sampled_from([0.0, 1.0, 0.5])
        | st.sampled_from("xy"),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=3,
)


def changed(**changes):
    data = json.loads(json.dumps(DATA))
    for key, value in changes.items():
        section, _, name = key.partition("__")
        data.setdefault(section, {})[name] = value
    return Manifest.model_validate(data)


def shuffled(value, shuffle):
    if isinstance(value, dict):
        names = list(value)
        shuffle.shuffle(names)
        return {name: shuffled(value[name], shuffle) for name in names}
    return [shuffled(item, shuffle) for item in value] if isinstance(value, list) else value


def test_the_digest_is_that_of_the_json_a_person_would_write():
    expected = hashlib.sha256(ARRAYS_JSON.encode()).hexdigest()
    assert manifest_digest(Manifest.model_validate(ARRAYS)) == expected


@settings(deadline=None)
@given(shuffle=st.randoms(use_true_random=False), comments=st.lists(st.sampled_from(["", "# k: 3", "  # x"])))
def test_the_digest_does_not_depend_on_the_order_of_keys_or_on_comments(shuffle, comments):
    lines = json.dumps(shuffled(DATA, shuffle), indent=1).split("\n")
    for comment in comments:
        lines.insert(shuffle.randrange(len(lines) + 1), comment)
    again = Manifest.model_validate(parse_yaml("\n".join(lines), "m.yaml").data)
    assert manifest_digest(again) == manifest_digest(Manifest.model_validate(DATA))


def test_the_order_of_models_matters_because_results_have_it():
    other = Manifest.model_validate({**DATA, "models": DATA["models"][::-1]})
    assert manifest_digest(other) != manifest_digest(Manifest.model_validate(DATA))
    assert difference(canonical(Manifest.model_validate(DATA)), canonical(other)) == [
        'models: ["a", "b"] -> ["b", "a"]'
    ]


def test_a_default_that_is_written_out_changes_nothing():
    base = manifest_digest(changed())
    assert (
        manifest_digest(changed(neighbors__metric="euclidean", geometry__labels=["author", "topic"])) == base
    )
    assert manifest_digest(changed(dataset__max_length=512, extract__tokens_per_batch=8192)) == base


def test_the_strategy_is_no_science():
    data = json.loads(json.dumps(DATA))
    data["models"][0]["strategy"] = "replicate"
    assert manifest_digest(Manifest.model_validate(data)) == manifest_digest(changed())


def test_the_means_of_the_search_are_no_science():
    base = manifest_digest(changed())
    assert manifest_digest(changed(neighbors__kernel="faiss", neighbors__unit_work=5.0)) == base
    assert manifest_digest(changed(neighbors__standardize=True)) != base


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"neighbors__k": 128}, ["neighbors.k: 64 -> 128"]),
        ({"geometry__mu_fraction": 0.5}, ["geometry.mu_fraction: 0.9 -> 0.5"]),
        ({"geometry__overlap_k": [1, 2]}, ["geometry.overlap_k: [1, 2, 5, 10, 20, 50] -> [1, 2]"]),
        ({"representations__layers": "all"}, ['representations.layers: [0, 1] -> "all"']),
        ({"extract__unit_rows": 256}, ["extract.unit_rows: null -> 256"]),
        ({"extract__tokens_per_batch": 1}, ["extract.tokens_per_batch: 8192 -> 1"]),
        (
            {"representations__store_dtype": "float16"},
            ['representations.store_dtype: "float32" -> "float16"'],
        ),
        ({"dataset__too_long": "truncate"}, ['dataset.too_long: "error" -> "truncate"']),
        (
            {"dataset__labels": {"topic": {"column": "topic"}}},
            [
                'dataset.labels.author: {"column": null, "file": "author.tsv"} -> absent',
                'geometry.labels: ["author", "topic"] -> ["topic"]',
            ],
        ),
    ],
)
def test_every_change_of_the_science_changes_the_digest_and_is_named(changes, lines):
    assert manifest_digest(changed(**changes)) != manifest_digest(changed())
    assert difference(canonical(changed()), canonical(changed(**changes))) == lines


def test_a_change_of_a_model_is_named_by_the_model():
    data = json.loads(json.dumps(DATA))
    data["models"][1]["factory_arguments"]["x"] = 1.0
    other = Manifest.model_validate(data)
    assert manifest_digest(other) != manifest_digest(changed())
    assert difference(canonical(changed()), canonical(other)) == ["models[b].factory_arguments.x: 1 -> 1.0"]


def test_a_model_that_was_added_is_named():
    fewer = Manifest.model_validate({**DATA, "models": DATA["models"][:1]})
    lines = difference(canonical(fewer), canonical(changed()))
    assert lines[0] == 'models: ["a"] -> ["a", "b"]'
    assert lines[1].startswith('models[b]: absent -> {"attention": null, "block_sites": {"attn_out"')


@settings(deadline=None)
@given(old=SETTINGS, new=SETTINGS)
def test_there_is_a_difference_exactly_where_the_json_differs(old, new):
    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert (difference(old, new) == []) is same
    assert len(difference(old, new)) == len(difference(new, old))


@pytest.mark.parametrize("data", [DATA, ARRAYS])
def test_what_is_canonical_is_a_manifest_with_the_same_digest(data):
    manifest = Manifest.model_validate(data)
    again = Manifest.model_validate(json.loads(json.dumps(canonical(manifest))))
    assert manifest_digest(again) == manifest_digest(manifest)
    assert canonical(again) == canonical(manifest)


def test_the_digest_of_a_file_does_not_depend_on_where_it_lies(tmp_path):
    digests = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{random.randrange(10**6)}.yaml").write_text(template("demo"))
        digests |= {manifest_digest(load_manifest(path).manifest) for path in (tmp_path / folder).iterdir()}
    assert len(digests) == 1
