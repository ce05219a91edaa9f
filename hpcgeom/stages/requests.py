"""From the plan and the manifest to what the models package is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.catalog.sources import cached_hub_folder, locate
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import CatalogModel, Manifest, ModuleModel
from hpcgeom.plan.assemble import input_settings
from hpcgeom.plan.drafts import Origin
from hpcgeom.plan.plan import DetailPlan, ModelPlan, Plan

if TYPE_CHECKING:
    from hpcgeom.models import InputSettings, ModelRequest, Reading


def request_of(plan: Plan, model: ModelPlan, manifest: Manifest) -> ModelRequest:
    """The request of a model that prepare has looked at."""
    from hpcgeom.models import Reading

    poolings: dict[str, list[str]] = {}
    layers: dict[str, tuple[int, ...]] = {}
    for item in model.representations:
        poolings.setdefault(item.site, []).append(item.pooling)
        layers[item.site] = item.layers
    readings = tuple(Reading(site, tuple(names), layers[site]) for site, names in poolings.items())
    section = next(item for item in manifest.all_models if item.name == model.name)
    folder = Path(model.folder) if model.folder else None
    tokenizer = Path(model.tokenizer) if model.tokenizer else None
    if isinstance(section, CatalogModel):
        origin = Origin(folder, model.revision, model.config, tokenizer)
        return catalog_request(section, Path(plan.manifest_folder), origin, readings, model.details)
    assert isinstance(section, ModuleModel)
    return module_request(section, Path(plan.manifest_folder), folder, readings, model.details)


def catalog_request(
    section: CatalogModel,
    manifest_folder: Path,
    origin: Origin,
    readings: Sequence[Reading],
    details: DetailPlan | None = None,
) -> ModelRequest:
    """The request of a model of the catalog whose origin is known."""
    from hpcgeom.models import ModelRequest

    return ModelRequest(
        section.name,
        section.family,
        origin.folder,
        section.dtype,
        tuple(readings),
        weights=section.weights,
        seed=section.seed,
        tokenizer=origin.tokenizer,
        config=origin.config,
        details=tuple(item.site for item in details.sites) if details else (),
        detail_layers=kept_layers(details),
        image_pipeline=section.image_pipeline,
        clusters=None if section.clusters is None else resolve_path(manifest_folder, section.clusters),
    )


def module_request(
    section: ModuleModel,
    manifest_folder: Path,
    folder: Path | None,
    readings: Sequence[Reading],
    details: DetailPlan | None = None,
) -> ModelRequest:
    """The request of a user's module whose weights are known."""
    from hpcgeom.models import ModelRequest

    return ModelRequest(
        section.name,
        section.family,
        None if section.weights == "random" else folder,
        section.dtype,
        tuple(readings),
        factory=section.factory,
        factory_kwargs=dict(section.factory_arguments),
        weights=section.weights,
        seed=section.seed,
        tokenizer=tokenizer_folder(section, manifest_folder),
        blocks=section.blocks,
        block_sites={str(site): path for site, path in section.block_sites.items()},
        final_norm=section.final_norm,
        embeddings={str(site): path for site, path in section.embeddings.items()},
        attention=section.attention,
        head=section.head,
        n_heads=section.n_heads,
        n_kv_heads=section.n_kv_heads,
        details=tuple(item.site for item in details.sites) if details else (),
        detail_layers=kept_layers(details),
    )


def kept_layers(details: DetailPlan | None) -> tuple[int, ...] | None:
    """Layers at which attention and sites are kept whole (the logit lens has all); None for no choice."""
    chosen = [item.layers for item in details.sites if item.site != "logit_lens"] if details else []
    layers = sorted({layer for each in chosen for layer in each})
    return tuple(layers) or None


def tokenizer_folder(section: ModuleModel, manifest_folder: Path) -> Path | None:
    """Where a module's tokenizer lies.

    Raises
    ------
    InputError
        It is a hub id that is not on this machine.
    """
    if section.tokenizer is None:
        return None
    found = locate(section.tokenizer, manifest_folder) or cached_hub_folder(section.tokenizer, None)
    if found is None:
        raise InputError(
            f"model '{section.name}': the tokenizer '{section.tokenizer}' is not on this machine: "
            "hpcgeom prepare downloads it"
        )
    return found


def settings_of(manifest: Manifest) -> InputSettings:
    """How the samples of a manifest are turned into tokens."""
    from hpcgeom.models import InputSettings

    found = {key: value for key, value in input_settings(manifest).items() if key != "pad_id"}
    return InputSettings(**found)
