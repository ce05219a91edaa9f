"""Every key of the science is in the digest, is named in a difference, and survives a copy."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from hpcgeom.manifest import Manifest, canonical, difference, manifest_digest
from hpcgeom.manifest.sections import (
    CatalogModel,
    Checkpoint,
    Details,
    ImagesDataset,
    ModuleModel,
    Representations,
    TokensDataset,
)

NAMES = {"name", "kind", "family", "strategy"}
"""Keys that say what else there is to say, and the one that changes no number."""
MINE = {"name": "mine", "family": "module", "factory": "m:f", "source": "w.safetensors", "blocks": "layers"}
GPT2 = {"name": "a", "family": "gpt2", "source": "org/name"}
RANDOM = {**GPT2, "weights": "random"}
IGPT = {"name": "a", "family": "igpt", "source": "org/name"}
CHECKPOINTS = {"name": "a", "family": "gpt2", "checkpoints": [{"step": 1, "source": "org/name"}]}
TOKENS = {"kind": "tokens", "path": "tokens.npy"}
TEXTS = {"kind": "text", "path": "texts.tsv"}
IMAGES = {"kind": "images", "path": "images", "per_class": 3}
KEPT = {"sites": ["attention"], "samples": ["a"]}

Settings = dict[str, Any]
Changes = dict[str, tuple[Settings, Any]]

OF_MODELS: Changes = {
    "source": (GPT2, "other/name"),
    "revision": (GPT2, "main"),
    "step": (GPT2, 0),
    "checkpoints": (CHECKPOINTS, [{"step": 1, "source": "other/name"}]),
    "weights": (GPT2, "random"),
    "seed": (RANDOM, 1),
    "config": (RANDOM, {"n_layer": 2}),
    "tokenizer": (GPT2, "other/name"),
    "image_pipeline": (IGPT, "huggingface"),
    "clusters": (IGPT, "kmeans_centers.npy"),
    "dtype": (GPT2, "bfloat16"),
}
OF_CHECKPOINTS: Changes = {
    "step": (CHECKPOINTS, 2),
    "source": (CHECKPOINTS, "other/name"),
    "revision": (CHECKPOINTS, "main"),
}
OF_MODULES: Changes = {
    "factory": (MINE, "m:g"),
    "factory_arguments": (MINE, {"depth": 2}),
    "source": (MINE, "other.safetensors"),
    "weights": ({**MINE, "source": None, "weights": "random"}, None),
    "seed": ({**MINE, "source": None, "weights": "random"}, 1),
    "tokenizer": ({**MINE, "tokenizer": "other/name"}, "org/name"),
    "step": (MINE, 1),
    "blocks": (MINE, "encoder.layers"),
    "block_sites": (MINE, {"z": "attn.proj:input"}),
    "embeddings": (MINE, {"token_embed": "embed"}),
    "attention": (MINE, "attn.softmax"),
    "n_heads": (MINE, 4),
    "n_kv_heads": (MINE, 2),
    "head": (MINE, "to_logits"),
    "final_norm": (MINE, "norm"),
    "dtype": (MINE, "float16"),
}
OF_IMAGES: Changes = {
    "path": (IMAGES, "other"),
    "classes": (IMAGES, "classes.txt"),
    "per_class": (IMAGES, 4),
    "seed": (IMAGES, 1),
    "transparent": (IMAGES, "white"),
    "labels": (IMAGES, {"class": {"folder": True}}),
    "exclude": (IMAGES, ["a.png"]),
    "query": (IMAGES, {"path": "queries"}),
}
OF_TOKENS: Changes = {
    "path": (TOKENS, "other.npy"),
    "ids": (TOKENS, "ids.txt"),
    "pad_id": (TOKENS, 0),
    "labels": (TOKENS, {"class": {"file": "class.npy"}}),
    "exclude": (TOKENS, ["0"]),
    "query": (TOKENS, {"path": "queries.npy"}),
}
OF_REPRESENTATIONS: Changes = {
    "sites": ({}, ["z.3"]),
    "pooling": ({}, ["token:-1"]),
    "layers": ({}, [0]),
    "heads": ({}, "separate"),
    "details": ({}, KEPT),
    "store_dtype": ({}, "float16"),
}
OF_DETAILS: Changes = {
    "sites": (KEPT, ["attention", "resid"]),
    "samples": (KEPT, ["b"]),
    "layers": (KEPT, [1]),
}


def cases(changes: Changes) -> list[Any]:
    return [pytest.param(base, key, value, id=key) for key, (base, value) in changes.items()]


def manifest(model: Settings = GPT2, dataset: Settings = TOKENS, asked: Settings | None = None) -> Manifest:
    data = {"name": "demo", "dataset": dataset, "models": [model], "representations": asked or {}}
    return Manifest.model_validate(copy.deepcopy(data))


def check(old: Manifest, new: Manifest, line: str) -> None:
    """Both have digests of their own, the difference is that line, and copies are the same manifests."""
    assert manifest_digest(old) != manifest_digest(new)
    (found,) = difference(canonical(old), canonical(new))
    assert found.startswith(line)
    for each in (old, new):
        again = Manifest.model_validate(json.loads(json.dumps(canonical(each))))
        assert (canonical(again), manifest_digest(again)) == (canonical(each), manifest_digest(each))


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        (CatalogModel, OF_MODELS),
        (Checkpoint, OF_CHECKPOINTS),
        (ModuleModel, OF_MODULES),
        (ImagesDataset, OF_IMAGES),
        (TokensDataset, OF_TOKENS),
        (Representations, OF_REPRESENTATIONS),
        (Details, OF_DETAILS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_no_key_is_forgotten_below(section, changes):
    assert set(changes) == set(section.model_fields) - NAMES


@pytest.mark.parametrize(("base", "key", "value"), cases(OF_MODELS))
def test_every_key_of_a_model_of_the_catalog_changes_the_digest(base, key, value):
    dataset = IMAGES if base is IGPT else TEXTS if key == "tokenizer" else TOKENS
    check(manifest(base, dataset), manifest({**base, key: value}, dataset), f"models[a].{key}")


@pytest.mark.parametrize(("base", "key", "value"), cases(OF_CHECKPOINTS))
def test_every_key_of_a_checkpoint_changes_the_digest(base, key, value):
    other = {**base, "checkpoints": [{**base["checkpoints"][0], key: value}]}
    check(manifest(base), manifest(other), "models[a].checkpoints: ")


@pytest.mark.parametrize(("base", "key", "value"), cases(OF_MODULES))
def test_every_key_of_a_module_changes_the_digest(base, key, value):
    other = {**base, key: value}
    if key == "weights":
        other["source"] = "w.safetensors"
        assert manifest_digest(manifest(base)) != manifest_digest(manifest(other))
    else:
        dataset = TEXTS if key == "tokenizer" else TOKENS
        check(manifest(base, dataset), manifest(other, dataset), f"models[mine].{key}")


@pytest.mark.parametrize(("base", "key", "value"), [*cases(OF_IMAGES), *cases(OF_TOKENS)])
def test_every_key_of_samples_changes_the_digest(base, key, value):
    model = IGPT if base is IMAGES else GPT2
    old, new = manifest(model, base), manifest(model, {**base, key: value})
    if key == "labels":  # those that are measured change too
        assert manifest_digest(old) != manifest_digest(new)
        assert difference(canonical(old), canonical(new))[1] == 'geometry.labels: [] -> ["class"]'
    else:
        check(old, new, f"dataset.{key}: ")


@pytest.mark.parametrize(("base", "key", "value"), cases(OF_REPRESENTATIONS))
def test_every_key_of_what_is_read_changes_the_digest(base, key, value):
    check(manifest(asked=base), manifest(asked={**base, key: value}), f"representations.{key}: ")


@pytest.mark.parametrize(("base", "key", "value"), cases(OF_DETAILS))
def test_every_key_of_details_changes_the_digest(base, key, value):
    old, new = {"details": base}, {"details": {**base, key: value}}
    check(manifest(asked=old), manifest(asked=new), f"representations.details.{key}: ")


@pytest.mark.parametrize("model", [GPT2, RANDOM, CHECKPOINTS, MINE], ids=lambda model: model["name"])
def test_the_strategy_is_in_no_digest(model):
    other = {**model, "strategy": "replicate"}
    assert manifest_digest(manifest(other)) == manifest_digest(manifest(model))
    assert difference(canonical(manifest(other)), canonical(manifest(model))) == []


def test_numbers_of_a_config_keep_their_type():
    whole, real = ({**RANDOM, "config": {"scale": value}} for value in (1, 1.0))
    check(manifest(whole), manifest(real), "models[a].config.scale: 1 -> 1.0")
