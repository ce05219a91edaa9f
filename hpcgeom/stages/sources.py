"""Bringing what a model needs to this machine: downloads, and conversion of original checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpcgeom.catalog.sources import locate, mirrored_revision
from hpcgeom.errors import InputError
from hpcgeom.manifest.sections import CatalogModel
from hpcgeom.plan.drafts import ESM_CHECKPOINT, Origin, offline_origin, overridden


def origin_of(model: CatalogModel, manifest_folder: Path, kind: str) -> Origin:
    """Find, fetch or convert a model of the catalog.

    Parameters
    ----------
    kind
        Of the data set: only texts and sequences need a tokenizer.

    Raises
    ------
    InputError
        It does not exist, cannot be had, or cannot be converted.
    """
    origin = _weights(model, manifest_folder)
    if model.tokenizer is not None:
        return replace(origin, tokenizer=fetched_tokenizer(model.tokenizer, manifest_folder))
    if origin.folder is None and kind in ("text", "fasta"):
        return replace(origin, tokenizer=_tokenizer_without_weights(model))
    return origin


def _weights(model: CatalogModel, manifest_folder: Path) -> Origin:
    source = model.source or ""
    if model.weights == "random":
        return _random(model, manifest_folder)
    path = manifest_folder / source
    if model.family == "igpt" and path.with_name(path.name + ".index").is_file():
        raise InputError(
            f"model '{model.name}': {path} is a TensorFlow checkpoint: convert it with "
            "`python tools/convert_igpt.py CHECKPOINT --clusters kmeans_centers.npy --out FOLDER`, and name "
            "that folder"
        )
    folder, revision = fetched(source, model.revision, manifest_folder)
    if folder.is_dir():
        return Origin(folder, revision)
    if model.family == "esm2" and folder.suffix == ESM_CHECKPOINT:
        from hpcgeom.models.esm_conversion import convert_esm

        return Origin(convert_esm(folder))
    raise InputError(
        f"model '{model.name}': {folder} is a file: expected a folder with config.json and model.safetensors"
        + (f", or an original {ESM_CHECKPOINT} of fair-esm" if model.family == "esm2" else "")
        + ": name one"
    )


def _random(model: CatalogModel, manifest_folder: Path) -> Origin:
    """A folder's configuration, else the catalog's, else the hub's."""
    from hpcgeom.models import fetch

    origin = offline_origin(model, manifest_folder)
    if origin.folder is not None or origin.config is not None:
        return origin
    folder, revision = fetch(model.source or "", model.revision, with_weights=False)
    return Origin(folder, revision, overridden(model, folder))


def _tokenizer_without_weights(model: CatalogModel) -> Path:
    from hpcgeom.models import fetch
    from hpcgeom.models.esm_tokenizer import esm_tokenizer

    if model.family == "esm2":  # one alphabet for all sizes
        return esm_tokenizer()
    folder, _ = fetch(model.source or "", model.revision, with_weights=False)
    return folder


def fetched_tokenizer(source: str, folder: Path) -> Path:
    """The folder of a tokenizer on this machine; see `fetched`."""
    return fetched(source, None, folder, with_weights=False, needs_config=False)[0]


def fetched(
    source: str,
    revision: str | None,
    folder: Path,
    *,
    with_weights: bool = True,
    needs_config: bool = True,
) -> tuple[Path, str]:
    """The folder or file of a source on this machine, and its commit where it is a hub id.

    Parameters
    ----------
    folder
        The manifest's folder.
    with_weights, needs_config
        What must be there: a tokenizer needs neither.

    Raises
    ------
    InputError
        It does not exist or cannot be had.
    """
    from hpcgeom.models import fetch

    found = locate(source, folder)
    if found is None:
        return fetch(source, revision, with_weights=with_weights, needs_config=needs_config)
    return found, mirrored_revision(found, revision)
