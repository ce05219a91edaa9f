"""Drafts of models that can be known without torch: from config.json, or from the headers of arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hpcgeom.catalog.families import ModelFacts, read_facts
from hpcgeom.catalog.sources import cached_hub_folder, locate
from hpcgeom.data.arrays import layer_files, points_shape
from hpcgeom.data.files import source_digest
from hpcgeom.errors import InputError
from hpcgeom.manifest.sections import ArraysModel, BertModel, Manifest
from hpcgeom.plan.assemble import ModelDraft
from hpcgeom.plan.layout import choose_layers, family_shapes, points_representation
from hpcgeom.plan.plan import SourceFile

Digests = Callable[[Path], tuple[SourceFile, ...]]
"""Files of a model folder with their SHA-256; a draft for a price leaves them out."""


def no_digests(_folder: Path) -> tuple[SourceFile, ...]:
    """No files: a plan that is only looked at has no identity."""
    return ()


def draft_arrays(model: ArraysModel, folder: Path, *, with_digests: bool) -> ModelDraft:
    """Draft a model that is points on disk.

    Raises
    ------
    InputError
        Files are missing, are not (N, D), or differ in N or D.
    """
    files = layer_files(model.source, folder)
    found = {layer: points_shape(path) for layer, path in files.items()}
    first = next(iter(found))
    for layer, (shape, _) in found.items():
        if shape != found[first][0]:
            raise InputError(
                f"{files[layer]} has shape {shape}, but {files[first]} has {found[first][0]}: "
                "layers of one model share samples and features; make them equal, or name them as two models"
            )
    width = found[first][0][1]
    digests = source_digest(files.values()) if with_digests else ()
    return ModelDraft(
        name=model.name,
        family=model.family,
        folder=folder / model.source,
        representations=points_representation(tuple(files), width),
        n_layers=max(files),
        width=width,
        store_dtype="float64" if np.float64 in {dtype.type for _, dtype in found.values()} else "float32",
        files=tuple(SourceFile(path=d.path, size=d.size, sha256=d.sha256) for d in digests),
        identity={"family": "arrays"},
    )


def draft_bert(
    model: BertModel, manifest: Manifest, folder: Path, revision: str, digests: Digests
) -> tuple[ModelDraft, ModelFacts]:
    """Draft a model of the catalogue from its folder.

    Raises
    ------
    InputError
        The folder holds no such model, or it has no such site or layer.
    """
    facts = read_facts(folder, model.family)
    shapes = family_shapes(model.name, model.family, facts, manifest.representations.sites)
    limit = getattr(manifest.dataset, "max_length", 0)
    if manifest.dataset.kind == "text" and limit > facts.max_positions:
        raise InputError(
            f"model '{model.name}' has {facts.max_positions} positions, but dataset.max_length is {limit}: "
            f"lower it to {facts.max_positions} at most"
        )
    draft = ModelDraft(
        name=model.name,
        family=model.family,
        folder=folder,
        representations=choose_layers(model.name, manifest.representations, shapes),
        n_layers=facts.n_layers,
        width=facts.width,
        n_parameters=facts.n_parameters,
        revision=revision,
        dtype=model.dtype,
        store_dtype=manifest.representations.store_dtype,
        files=digests(folder),
        identity={"family": model.family, "dtype": model.dtype},
    )
    return draft, facts


def local_folder(model: BertModel, manifest_folder: Path) -> Path:
    """The model's folder, as far as it lies on this machine.

    Raises
    ------
    InputError
        It is a hub id that has not been downloaded.
    """
    found = locate(model.source, manifest_folder) or cached_hub_folder(model.source, model.revision)
    if found is None:
        raise InputError(
            f"model '{model.name}': '{model.source}' is not on this machine: hpcgeom prepare downloads it"
        )
    return found
