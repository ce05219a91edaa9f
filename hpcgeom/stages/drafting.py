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
from hpcgeom.plan.details import catalog_sites, plan_details, probed_sites
from hpcgeom.plan.drafts import Origin, draft_arrays, draft_catalog
from hpcgeom.plan.layout import choose_layers, sites_by_head
from hpcgeom.plan.plan import DetailPlan, SourceFile
from hpcgeom.plan.sequences import Sequences
from hpcgeom.stages.contents import Contents
from hpcgeom.stages.requests import catalog_request, module_request, settings_of
from hpcgeom.stages.sources import fetched, fetched_tokenizer, origin_of

if TYPE_CHECKING:
    from hpcgeom.models import Encoder, ModelRequest, Reading
    from hpcgeom.models.replicate import ReplicatedModel

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
    draft, facts = draft_catalog(section, manifest, origin, _files(section, origin, folder))
    readings = _readings(manifest, list(dict.fromkeys(item.site for item in draft.representations)))
    asked = manifest.representations.details
    request = replace(
        catalog_request(section, folder, origin, readings), details=asked.sites if asked else ()
    )
    unused = check_model(request).unused
    sequences = _measure(request, manifest, folder, samples)
    sites = catalog_sites(manifest, section.name, section.family, facts)
    details = plan_details(manifest, section.name, samples.ids, sequences, sites)
    n_tokens = int(sequences.n_tokens.sum())
    return replace(draft, n_tokens=n_tokens, unused_keys=unused, details=details), sequences


def _draft_module(section: ModuleModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import Replicate

    where = None if section.source is None else fetched(section.source, None, folder, needs_config=False)[0]
    if section.tokenizer is not None:
        fetched_tokenizer(section.tokenizer, folder)  # downloads what the request then finds in the cache
    asked = manifest.representations
    readings = _readings(manifest, sites_by_head(asked, lambda _: section.n_heads or 1))
    kept = asked.details.sites if asked.details else ()
    request = replace(module_request(section, folder, where, readings), details=kept)
    sequences = _measure(request, manifest, folder, samples)
    model = Replicate().open_model(request)
    shapes = model.describe()
    details = _probe_details(model, manifest, folder, samples, sequences) if kept else None
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
        equal_lengths="attention_mask" not in model.skeleton.inputs,
        identity={**settings, "factory_source": _source_digest(section.factory)},
    )
    return draft, sequences


def _probe_details(
    model: ReplicatedModel, manifest: Manifest, folder: Path, samples: Samples, sequences: Sequences
) -> DetailPlan | None:
    """The details of a module, whose shapes are known only when it has run."""
    from hpcgeom.models import encoder_of, pad

    request, name = model.request, model.request.name
    whole = plan_details(manifest, name, samples.ids, sequences, ())
    assert whole is not None  # the caller knows that there are details
    row, layout = whole.rows[0], model.skeleton.layout
    encoder = encoder_of(request, settings_of(manifest))
    contents = Contents(manifest, folder, samples).of([row])
    encoding = encoder.encode([samples.ids[row]], contents)[0][0]
    found = model.details(pad([encoding], encoder.pad_id))
    shapes = {
        site: {key: values.shape for key, values in variables.items()} for site, variables in found.items()
    }
    n_layers = len(layout.blocks_of(model.skeleton.model)) if layout else 0
    return plan_details(
        manifest, name, samples.ids, sequences, probed_sites(manifest, name, n_layers, shapes)
    )


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
