"""Looking at one model of a manifest: where it is, whether its weights fit, how long its samples are."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpcgeom.data.samples import Samples
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ArraysModel, CatalogModel, Manifest, Model, ModuleModel
from hpcgeom.plan.assemble import ModelDraft
from hpcgeom.plan.drafts import Origin, detail_layers, draft_arrays, draft_catalog
from hpcgeom.plan.layout import choose_layers, sites_by_head
from hpcgeom.plan.plan import SourceFile
from hpcgeom.plan.sequences import Sequences
from hpcgeom.stages.contents import Contents
from hpcgeom.stages.requests import catalog_request, module_request, settings_of
from hpcgeom.stages.sources import fetched, origin_of

if TYPE_CHECKING:
    from hpcgeom.models import Encoder, ModelRequest, Reading

Drafted = tuple[ModelDraft, Sequences]
_ROWS = 1024
"""Samples that are encoded at a time, to be counted."""


def draft_model(section: Model, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    """Resolve, check and measure one model.

    Raises
    ------
    InputError
        The model cannot be found, its weights do not fit, or a sample does not suit it.
    """
    if isinstance(section, ArraysModel):
        return draft_arrays(section, folder, with_digests=True), Sequences.alike(len(samples))
    if isinstance(section, CatalogModel):
        return _draft_catalog(section, manifest, folder, samples)
    return _draft_module(section, manifest, folder, samples)


def _draft_catalog(section: CatalogModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import check_model

    origin = origin_of(section, folder, manifest.dataset.kind)
    draft, _ = draft_catalog(section, manifest, origin, _files(section, origin, folder))
    readings = _readings(manifest, list(dict.fromkeys(item.site for item in draft.representations)))
    request = replace(
        catalog_request(section, folder, origin, readings),
        details=draft.details,
        detail_layers=draft.detail_layers,
    )
    unused = check_model(request).unused
    sequences = _measure(request, manifest, folder, samples)
    return replace(draft, n_tokens=int(sequences.n_tokens.sum()), unused_keys=unused), sequences


def _draft_module(section: ModuleModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import Replicate

    where = None if section.source is None else fetched(section.source, None, folder)[0]
    if section.tokenizer is not None:
        fetched(section.tokenizer, None, folder)  # downloads what the request then finds in the cache
    asked = manifest.representations
    readings = _readings(manifest, sites_by_head(asked, lambda _: section.n_heads or 1))
    details = asked.details.sites if asked.details else ()
    request = replace(module_request(section, folder, where, readings), details=details)
    sequences = _measure(request, manifest, folder, samples)
    model = Replicate().open_model(request)
    shapes = model.describe()
    model.close()
    chosen = choose_layers(section.name, asked, shapes.sites)
    deepest = max(max(shape.layers) for shape in shapes.sites.values())
    n_layers = shapes.n_layers if shapes.n_layers is not None else deepest
    settings = section.model_dump(mode="json", exclude={"name", "source", "tokenizer", "strategy", "step"})
    draft = ModelDraft(
        name=section.name,
        family=section.family,
        folder=where or "",
        representations=chosen,
        n_layers=n_layers,
        width=shapes.width or max(shape.width for shape in shapes.sites.values()),
        n_parameters=shapes.n_parameters,
        dtype=section.dtype,
        store_dtype=asked.store_dtype,
        files=(
            *(_digests(where) if where else ()),
            *(_digests(request.tokenizer) if request.tokenizer else ()),
        ),
        unused_keys=shapes.unused_keys,
        n_tokens=int(sequences.n_tokens.sum()),
        step=-1 if section.step is None else section.step,
        details=details,
        detail_layers=detail_layers(section.name, manifest, n_layers),
        equal_lengths="attention_mask" not in model.skeleton.inputs,
        identity={**settings, "factory_source": _source_digest(section.factory)},
    )
    return draft, sequences


def _readings(manifest: Manifest, sites: Sequence[str]) -> tuple[Reading, ...]:
    from hpcgeom.models import Reading

    return tuple(Reading(site, tuple(manifest.representations.pooling)) for site in sites)


def _files(section: CatalogModel, origin: Origin, manifest_folder: Path) -> tuple[SourceFile, ...]:
    """What decides a model's numbers: weights, configuration, tokenizer, palette."""
    folders = [folder for folder in (origin.folder, origin.tokenizer) if folder is not None]
    found = [file for folder in folders for file in _digests(folder)]
    if section.weights == "random":
        found = [file for file in found if not file.path.endswith((".safetensors", ".index.json"))]
    if section.clusters is not None:
        found += _digests(resolve_path(manifest_folder, section.clusters))
    return tuple(found)


def _digests(folder: Path) -> tuple[SourceFile, ...]:
    from hpcgeom.models import weights_digest

    root = folder if folder.is_dir() else folder.parent
    return tuple(
        SourceFile(path=str(root / name), size=int(entry["size"]), sha256=str(entry["sha256"]))
        for name, entry in weights_digest(folder).items()
    )


def _measure(request: ModelRequest, manifest: Manifest, folder: Path, samples: Samples) -> Sequences:
    """Encode all samples and keep their lengths; images are all alike, and only a few are looked at."""
    from hpcgeom.models import encoder_of

    encoder = encoder_of(request, settings_of(manifest))
    contents = Contents(manifest, folder, samples)
    if encoder.n_tokens is not None:
        probe = encoder.encode(samples.ids[:1], contents.of(range(1)))[0][0]
        return Sequences.alike(len(samples), len(probe.ids), probe.n_ordinary)
    return _count(encoder, contents, samples)


def _count(encoder: Encoder, contents: Contents, samples: Samples) -> Sequences:
    row: list[int] = []
    window: list[int] = []
    n_tokens: list[int] = []
    n_ordinary: list[int] = []
    problems: list[str] = []
    for start in range(0, len(samples), _ROWS):
        rows = range(start, min(start + _ROWS, len(samples)))
        try:
            encoded = encoder.encode(samples.ids[rows.start : rows.stop], contents.of(rows))
        except ProblemsError as error:
            problems += error.problems
            continue
        for sample, windows in zip(rows, encoded, strict=True):
            row += [sample] * len(windows)
            window += range(len(windows))
            n_tokens += [len(encoding.ids) for encoding in windows]
            n_ordinary += [encoding.n_ordinary for encoding in windows]
    if problems:
        raise ProblemsError(problems)
    return Sequences(
        np.array(row, np.int64),
        np.array(window, np.int32),
        np.array(n_tokens, np.int64),
        np.array(n_ordinary, np.int64),
    )


def _source_digest(factory: str) -> str:
    """SHA-256 of the file that holds a factory: other code is another model."""
    module = factory.partition(":")[0]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(
            f"factory '{factory}': the source of '{module}' is not a file, so it has no identity"
        )
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
