"""What a manifest would cost, worked out without torch and without touching weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.errors import InputError
from hpcgeom.manifest import LoadedManifest, load_manifest
from hpcgeom.manifest.sections import ArraysModel, CatalogModel, Manifest, Model
from hpcgeom.plan.assemble import ModelDraft, assemble
from hpcgeom.plan.costs import StageCost, costs_of
from hpcgeom.plan.dataset import read_dataset
from hpcgeom.plan.drafts import draft_arrays, draft_catalog, offline_origin
from hpcgeom.plan.plan import Plan, SamplesPlan


@dataclass(frozen=True, slots=True)
class Price:
    """A plan that was only looked at, and what each stage of it costs."""

    plan: Plan
    stages: tuple[StageCost, ...]
    notices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.plan.name,
            "manifest_digest": self.plan.manifest_digest,
            "n_samples": self.plan.samples.n,
            "unit_rows": self.plan.unit_rows,
            "tile_rows": self.plan.tile_rows,
            "models": [
                {
                    "name": model.name,
                    "family": model.family,
                    "n_layers": model.n_layers,
                    "width": model.width,
                    "n_parameters": model.n_parameters,
                    "strategy": model.strategy,
                    "representations": [item.model_dump(mode="json") for item in model.representations],
                }
                for model in self.plan.models
            ],
            "stages": [stage.as_dict() for stage in self.stages],
            "notices": list(self.notices),
        }


def price(manifest: Path) -> Price:
    """Work out units, bytes, files, memory and operations of a manifest.

    Raises
    ------
    InputError
        The manifest, its data or its models are wrong, or a model can only be looked at by prepare.
    """
    loaded = load_manifest(manifest)
    samples = read_dataset(loaded.manifest, loaded.folder, with_digests=False)
    drafts: list[ModelDraft] = []
    flops: dict[str, float] = {}
    mlp_widths: dict[str, int] = {}
    for section in loaded.manifest.all_models:
        draft, operations, mlp_width = _look_at(section, loaded, len(samples))
        drafts.append(draft)
        mlp_widths[draft.name] = mlp_width
        if operations:
            flops[draft.name] = operations
    summary = SamplesPlan(
        n=len(samples),
        digest=samples.digest,
        label_digests={name: samples.label_digest(name) for name in samples.labels},
        files=(),
        notices=samples.notices,
    )
    plan = assemble(loaded.manifest, loaded.folder, summary, drafts)
    return Price(plan, tuple(costs_of(plan, flops, mlp_widths)), samples.notices)


def _look_at(section: Model, loaded: LoadedManifest, n: int) -> tuple[ModelDraft, float, int]:
    if isinstance(section, ArraysModel):
        return draft_arrays(section, loaded.folder, with_digests=False), 0.0, 0
    if isinstance(section, CatalogModel):
        draft, facts = draft_catalog(section, loaded.manifest, offline_origin(section, loaded.folder))
        length = facts.n_image_tokens or _longest(loaded.manifest, facts.max_positions)
        return draft, facts.forward_flops(n * length, length), facts.mlp_width
    raise InputError(
        f"model '{section.name}' is a module, whose shape is known only to its own code: "
        "hpcgeom prepare builds it and writes the plan"
    )


def _longest(manifest: Manifest, max_positions: int) -> int:
    return min(int(getattr(manifest.dataset, "max_length", max_positions)), max_positions)
