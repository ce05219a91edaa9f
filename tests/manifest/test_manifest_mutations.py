"""A manifest with anything wrong anywhere is refused in one sentence a problem, never with a traceback."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcgeom.errors import ProblemsError
from hpcgeom.manifest import canonical, load_manifest

DETAILS = {"sites": ["attention", "resid"], "samples": ["a"], "layers": [1]}
SETTINGS: dict[str, Any] = {
    "representations": {"sites": ["resid", "z.0"], "pooling": ["mean", "token:1"], "details": DETAILS},
    "extract": {"unit_rows": 256},
    "neighbors": {"k": 64},
    "geometry": {"labels": ["a"], "overlap_k": [1, 2]},
}
MODULE = {
    "name": "m",
    "family": "module",
    "factory": "m:f",
    "factory_arguments": {"x": 1},
    "weights": "random",
    "tokenizer": "t",
    "blocks": "layers",
    "block_sites": {"z": "attn.proj:input"},
    "embeddings": {"token_embed": "embed"},
    "attention": "attn",
    "head": "head",
    "n_heads": 2,
}
STEPS = [{"step": 1, "source": "a"}, {"step": 2, "source": "org/name", "revision": "r"}]
BERT = {"name": "b", "family": "bert", "source": "s", "weights": "random", "config": {"n": 1}}
TEXT = {"kind": "text", "path": "t.tsv", "columns": {"id": "i"}, "labels": {"a": {"column": "c"}}}
FASTA = {"kind": "fasta", "path": "p.fa", "too_long": "window", "labels": {"a": {"header": "(x)"}}}
IMAGES = {"kind": "images", "path": "i", "per_class": 2, "labels": {"a": {"folder": True}}}
TOKENS = {"kind": "tokens", "path": "t.npy", "pad_id": 0, "labels": {"a": {"file": "l.npy"}}}
MANIFESTS = [
    {"name": "x", "dataset": TEXT, "models": [BERT, MODULE], **SETTINGS},
    {"name": "x", "dataset": FASTA, "models": [{"name": "e", "family": "esm2", "source": "s"}], **SETTINGS},
    {"name": "x", "dataset": IMAGES, "models": [{"name": "i", "family": "igpt", "source": "s"}], **SETTINGS},
    {
        "name": "x",
        "dataset": TOKENS,
        "models": [{"name": "g", "family": "gpt2", "checkpoints": STEPS}],
        **SETTINGS,
    },
]
WRONG = st.sampled_from(
    [None, True, False, -1, 0, 1, 3.5, 10**30, "", "a", "z.1", "all", "igpt", "images", "a/b", "~", [], {}]
) | st.sampled_from([["a"], [0], [{}], {"a": 1}, {"kind": "text"}, {"step": 1}, [[1]], ["resid", "resid"]])


def places(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and item, from the root down."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, inner in items for place in [(*key, name), *places(inner, (*key, name))]]


@pytest.mark.parametrize("data", MANIFESTS, ids=lambda data: data["dataset"]["kind"])
def test_nothing_is_wrong_before(load, data):
    manifest = load(json.dumps(data, indent=1))
    load(json.dumps(canonical(manifest), indent=1))


def spoiled(data: Any, draw: Any) -> Any:
    """A copy with one key or item replaced, removed or added."""
    data = copy.deepcopy(data)
    *path, last = draw(st.sampled_from(places(data)))
    inside = data
    for part in path:
        inside = inside[part]
    kind = draw(st.sampled_from(["replace", "remove", "add"]))
    if kind == "remove":
        del inside[last]
    elif kind == "add" and isinstance(inside, dict):
        inside[draw(st.sampled_from(["layers", "steps", "file", "revision", ""]))] = draw(WRONG)
    else:
        inside[last] = draw(WRONG)
    return copy.deepcopy(data)


@pytest.mark.parametrize("data", MANIFESTS, ids=lambda data: data["dataset"]["kind"])
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=st.data(), n_mistakes=st.integers(1, 3))
def test_every_mistake_is_a_sentence_with_a_line_and_a_key(tmp_path, data, source, n_mistakes):
    for _ in range(n_mistakes):
        data = spoiled(data, source.draw)
    path = tmp_path / "m.yaml"
    path.write_text(json.dumps(data, indent=1))
    try:
        manifest = load_manifest(path).manifest
    except ProblemsError as error:
        for problem in error.problems:
            assert re.match(r".*m\.yaml:\d+: ([^:]+: )?expected ", problem), problem
            assert "found" in problem or "remove" in problem or "give" in problem, problem
    else:
        assert canonical(manifest)["name"] == data["name"]
