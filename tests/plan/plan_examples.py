"""Plans without files: a manifest, samples that are only counted, and drafts of models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hpcgeom.manifest import Manifest
from hpcgeom.plan.assemble import ModelDraft, assemble
from hpcgeom.plan.plan import Plan, Representation, SamplesPlan, SourceFile

TEXT: dict[str, Any] = {
    "name": "demo",
    "dataset": {"kind": "text", "path": "texts.tsv", "labels": {"topic": {"column": "topic"}}},
    "models": [{"name": "a", "family": "bert", "source": "org/a"}],
    "neighbors": {"k": 64},
}
ARRAYS: dict[str, Any] = {
    "name": "demo",
    "dataset": {"kind": "arrays"},
    "models": [{"name": "a", "family": "arrays", "source": "layer{layer}.npy"}],
    "neighbors": {"k": 64},
}


def changed(settings: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Settings with one of them, such as ``neighbors.k``, set to another value."""
    result = copy.deepcopy(settings)
    *sections, key = path.split(".")
    place: Any = result
    for name in sections:
        place = place[int(name)] if name.isdigit() else place.setdefault(name, {})
    place[key] = value
    return result


def samples(n: int = 1000, **changes: Any) -> SamplesPlan:
    known = {"n": n, "digest": "samples", "label_digests": {"topic": "labels"}, "files": ()}
    return SamplesPlan(**{**known, **changes})


def draft(name: str = "a", width: int = 8, layers: int = 3, sites=("resid",), **changes: Any) -> ModelDraft:
    items = tuple(
        Representation(site=site, pooling="mean", layers=tuple(range(layers)), width=width) for site in sites
    )
    known: dict[str, Any] = {
        "name": name,
        "family": "bert",
        "folder": Path("/models") / name,
        "representations": items,
        "n_layers": layers - 1,
        "width": width,
        "files": (SourceFile(path=f"/models/{name}/model.safetensors", size=1, sha256=f"weights of {name}"),),
        "identity": {"family": "bert", "dtype": "float32"},
    }
    return ModelDraft(**{**known, **changes})


def points(name: str = "a", width: int = 8, layers: int = 3, **changes: Any) -> ModelDraft:
    items = (Representation(site="points", pooling="none", layers=tuple(range(layers)), width=width),)
    known = {"family": "arrays", "representations": items, "identity": {"family": "arrays"}}
    return draft(name, width, layers, **{**known, **changes})


def plan_of(
    settings: dict[str, Any] = TEXT, n: int = 1000, drafts=None, known: SamplesPlan | None = None
) -> Plan:
    """The plan of some settings, models being drafted as `draft` does unless they are given."""
    manifest = Manifest.model_validate(settings)
    return assemble(manifest, Path("/data"), known or samples(n), drafts or [draft()])
