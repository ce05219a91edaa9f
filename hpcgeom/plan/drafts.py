"""Drafts of models that can be known without torch: from a configuration, or from the headers of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.catalog.facts import read_config
from hpcgeom.catalog.families import FAMILIES, ModelFacts, facts_of, read_facts
from hpcgeom.catalog.models import KnownModel, known
from hpcgeom.catalog.sites import OF_THE_HEAD
from hpcgeom.catalog.sources import cached_hub_folder, locate
from hpcgeom.data.arrays import layer_files, points_shape
from hpcgeom.data.files import source_digest
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ArraysModel, CatalogModel, Manifest
from hpcgeom.plan.assemble import ModelDraft
from hpcgeom.plan.layout import choose_layers, family_shapes, points_representation, sites_by_head
from hpcgeom.plan.plan import SourceFile

ESM_CHECKPOINT = ".pt"
"""How the original checkpoints of fair-esm end; prepare converts them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model of the catalog comes from.

    Attributes
    ----------
    folder
        Its folder on this machine; None where nothing of it is here.
    revision
        Commit of a hub id, as far as it is known.
    config
        What config.json would say, where the folder's is not to be taken: random weights.
    tokenizer
        Folder of the tokenizer, where it is not `folder`.
    """

    folder: Path | None
    revision: str = ""
    config: Mapping[str, Any] | None = None
    tokenizer: Path | None = None


def draft_arrays(model: ArraysModel, folder: Path, *, with_digests: bool) -> ModelDraft:
    """Draft a model that is points on disk.

    Raises
    ------
    InputError
        Files are missing, are not (N, D), or differ in N or D; queries have other layers or features.
    """
    files = layer_files(model.source, folder)
    shape, dtypes = _one_shape(files)
    paths = [*files.values()]
    if model.query_source is not None:
        of_queries = layer_files(model.query_source, folder)
        if of_queries.keys() != files.keys():
            raise InputError(
                f"model '{model.name}' has layers {', '.join(map(str, files))}, but its queries have "
                f"{', '.join(map(str, of_queries))}: give the same layers of both"
            )
        query_shape, query_dtypes = _one_shape(of_queries)
        if query_shape[1] != shape[1]:
            raise InputError(
                f"model '{model.name}' has {shape[1]} features, but its queries have {query_shape[1]}: "
                "give points of the same space"
            )
        dtypes |= query_dtypes
        paths += of_queries.values()
    if model.ids is not None:
        paths.append(resolve_path(folder, model.ids))
    width = shape[1]
    digests = source_digest(paths) if with_digests else ()
    return ModelDraft(
        name=model.name,
        family=model.family,
        folder=folder / model.source,
        representations=points_representation(tuple(files), width),
        n_layers=max(files),
        width=width,
        store_dtype="float64" if "float64" in dtypes else "float32",
        files=tuple(SourceFile(path=d.path, size=d.size, sha256=d.sha256) for d in digests),
        identity={"family": "arrays"},
        n_rows=shape[0],
    )


def _one_shape(files: Mapping[int, Path]) -> tuple[tuple[int, int], set[str]]:
    """The shape that all layers have, and their dtypes."""
    found = {layer: points_shape(path) for layer, path in files.items()}
    first = next(iter(found))
    for layer, (shape, _) in found.items():
        if shape != found[first][0]:
            raise InputError(
                f"{files[layer]} has shape {shape}, but {files[first]} has {found[first][0]}: "
                "layers of one model share samples and features; make them equal, or name them as two models"
            )
    return found[first][0], {dtype.name for _, dtype in found.values()}


def facts_of_origin(model: CatalogModel, origin: Origin) -> ModelFacts:
    """Sizes of a model of the catalog.

    Raises
    ------
    InputError
        Its configuration is missing, or of another family.
    """
    if origin.config is not None:
        return facts_of(origin.config, model.family, f"the configuration of '{model.name}'")
    if origin.folder is None:
        raise InputError(
            f"model '{model.name}': '{model.source}' is not on this machine: hpcgeom prepare downloads it"
        )
    return read_facts(origin.folder, model.family)


def draft_catalog(
    model: CatalogModel, manifest: Manifest, origin: Origin, files: tuple[SourceFile, ...] = ()
) -> tuple[ModelDraft, ModelFacts]:
    """Draft a model of the catalog.

    Parameters
    ----------
    files
        What decides its numbers, with digests; a draft for a price leaves them out.

    Raises
    ------
    InputError
        There is no such model, or it has no such site or layer.
    """
    facts, asked = facts_of_origin(model, origin), manifest.representations
    sites = sites_by_head(asked, facts.n_heads_of)
    shapes = family_shapes(model.name, model.family, facts, sites)
    _refuse_absent_details(model, manifest)
    limit = getattr(manifest.dataset, "max_length", 0)
    if manifest.dataset.kind == "text" and limit > facts.max_positions:
        raise InputError(
            f"model '{model.name}' has {facts.max_positions} positions, but dataset.max_length is {limit}: "
            f"lower it to {facts.max_positions} at most"
        )
    draft = ModelDraft(
        name=model.name,
        family=model.family,
        folder=origin.folder or "",
        representations=choose_layers(model.name, asked, shapes),
        n_layers=facts.n_layers,
        width=facts.width,
        n_parameters=facts.n_parameters,
        n_block_parameters=facts.n_block_parameters,
        n_head_parameters=facts.n_head_parameters if _needs_head(manifest) else 0,
        revision=origin.revision,
        step=-1 if model.step is None else model.step,
        dtype=model.dtype,
        store_dtype=asked.store_dtype,
        files=files,
        config=origin.config,
        tokenizer=str(origin.tokenizer or ""),
        equal_lengths=model.family == "vit",
        identity=_identity(model, origin),
    )
    return draft, facts


def _needs_head(manifest: Manifest) -> bool:
    asked = manifest.representations.details
    return asked is not None and bool(OF_THE_HEAD & set(asked.sites))


def _identity(model: CatalogModel, origin: Origin) -> dict[str, Any]:
    """Settings of a model that change its activations, besides its files."""
    found: dict[str, Any] = {"family": model.family, "dtype": model.dtype}
    if model.weights == "random":
        found |= {"weights": "random", "seed": model.seed, "config": dict(origin.config or {})}
    if model.family == "igpt":
        found["image_pipeline"] = model.image_pipeline
    return found


def _refuse_absent_details(model: CatalogModel, manifest: Manifest) -> None:
    details, family = manifest.representations.details, FAMILIES[model.family]
    for site in details.sites if details else ():
        if site not in (*family.detail_sites, *family.sites):
            raise InputError(
                f"model '{model.name}' of family '{model.family}' has no '{site}' "
                f"({family.absent_sites[site]}): take it out of representations.details.sites"
            )


def offline_origin(model: CatalogModel, manifest_folder: Path) -> Origin:
    """Where a model comes from, as far as this machine knows; nothing is downloaded or converted.

    Models of the catalog have a configuration even where nothing of them is here.

    Raises
    ------
    InputError
        The source does not exist.
    """
    source = model.source or ""
    cataloged = known(source) or known(f"facebook/{Path(source).stem}")
    is_plain_name = cataloged is not None and "/" not in source  # no path and no hub id
    is_here = not is_plain_name or (manifest_folder / source).exists()
    found = locate(source, manifest_folder) if is_here else None
    if found is None:
        found = cached_hub_folder(source, model.revision)
    if found is not None and found.is_dir():
        return Origin(found, model.revision or "", overridden(model, found))
    if cataloged is None:
        return Origin(None, model.revision or "")
    return Origin(None, model.revision or "", catalog_config(model, cataloged))


def overridden(model: CatalogModel, folder: Path) -> Mapping[str, Any] | None:
    """The configuration in `folder` with the manifest's changes, for random weights; else None: as it is.

    Raises
    ------
    InputError
        config.json is missing or unreadable.
    """
    if model.weights is None:
        return None
    return {**read_config(folder), **model.config}


def catalog_config(model: CatalogModel, cataloged: KnownModel) -> Mapping[str, Any]:
    """The configuration of a model of the catalog with the manifest's changes.

    Raises
    ------
    InputError
        Something of it was never published, and the manifest does not give it.
    """
    given = {key: model.config[key] for key in cataloged.unpublished if key in model.config}
    return {**cataloged.complete_config(given), **model.config}
