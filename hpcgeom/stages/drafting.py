"""Looking at one model of a manifest: where it is, whether its weights fit, how long its samples are."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hpcgeom.catalog.families import ModelFacts
from hpcgeom.catalog.sites import TOKENS_POOLING, is_module_glob, layers_of_site
from hpcgeom.data.samples import Samples
from hpcgeom.errors import InputError
from hpcgeom.manifest import resolve_path
from hpcgeom.manifest.sections import ArraysModel, CatalogModel, Manifest, Model, ModuleModel
from hpcgeom.plan.assemble import ModelDraft
from hpcgeom.plan.batches import largest_batch
from hpcgeom.plan.details import catalog_sites, plan_details, probed_sites
from hpcgeom.plan.drafts import Origin, draft_arrays, draft_catalog
from hpcgeom.plan.layout import choose_layers, sites_by_head
from hpcgeom.plan.plan import DetailPlan, SourceFile
from hpcgeom.plan.sequences import Sequences
from hpcgeom.stages.contents import Contents
from hpcgeom.stages.counting import count_tokens
from hpcgeom.stages.requests import catalog_request, module_request, settings_of
from hpcgeom.stages.sources import fetched, fetched_tokenizer, origin_of

if TYPE_CHECKING:
    from hpcgeom.models import ModelRequest, Reading
    from hpcgeom.models.replicate import ReplicatedModel

Drafted = tuple[ModelDraft, Sequences]

_VALUES_PER_FEATURE = 16
"""Numbers that a block of a module is taken to hold of each feature of a token; known families hold less."""


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
    draft = replace(draft, unused_keys=unused, details=details)
    return _with_price(draft, facts, sequences, manifest.extract.tokens_per_batch), sequences


def _with_price(
    draft: ModelDraft, facts: ModelFacts, sequences: Sequences, tokens_per_batch: int
) -> ModelDraft:
    n_rows, n_tokens = largest_batch(sequences.n_tokens, tokens_per_batch)
    longest = int(sequences.n_tokens.max())
    lengths, counts = np.unique(sequences.n_tokens, return_counts=True)
    return replace(
        draft,
        n_tokens=int(sequences.n_tokens.sum()),
        flops=sum(
            facts.forward_flops(int(length * count), int(length))
            for length, count in zip(lengths, counts, strict=True)
        ),
        values_per_token=facts.values_per_token(longest, keeps_scores=draft.family == "igpt"),
        n_batch_rows=n_rows,
        n_batch_tokens=n_tokens,
    )


def _draft_module(section: ModuleModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import Replicate, n_blocks_of

    where = None if section.source is None else fetched(section.source, None, folder, needs_config=False)[0]
    if section.tokenizer is not None:
        fetched_tokenizer(section.tokenizer, folder)  # downloads what the request then finds in the cache
    asked = manifest.representations
    kept = asked.details.sites if asked.details else ()
    request = replace(module_request(section, folder, where, ()), details=kept)
    sites = sites_by_head(asked, lambda site: section.heads_of(site) or 1)
    request = replace(request, readings=_module_readings(manifest, sites, n_blocks_of(request)))
    sequences = _measure(request, manifest, folder, samples)
    n_rows, n_batch_tokens = largest_batch(sequences.n_tokens, manifest.extract.tokens_per_batch)
    model = Replicate().open_model(request)
    shapes = model.describe()
    details = _probe_details(model, section, manifest, folder, samples, sequences) if kept else None
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
        values_per_token=_VALUES_PER_FEATURE * (shapes.width or 1),
        n_batch_rows=n_rows,
        n_batch_tokens=n_batch_tokens,
        step=-1 if section.step is None else section.step,
        details=details,
        equal_lengths="attention_mask" not in model.skeleton.inputs,
        identity={**settings, "factory_source": _source_digest(section.factory)},
    )
    return draft, sequences


def _probe_details(
    model: ReplicatedModel,
    section: ModuleModel,
    manifest: Manifest,
    folder: Path,
    samples: Samples,
    sequences: Sequences,
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
    sites = probed_sites(manifest, name, n_layers, section.heads_of, shapes)
    return plan_details(manifest, name, samples.ids, sequences, sites)


def _readings(manifest: Manifest, sites: Sequence[str]) -> tuple[Reading, ...]:
    from hpcgeom.models import Reading

    return tuple(Reading(site, tuple(manifest.representations.pooling)) for site in sites)


def _module_readings(manifest: Manifest, sites: Sequence[str], n_blocks: int | None) -> tuple[Reading, ...]:
    """Readings at the layers that are asked for: a module may lack the norm of the last one."""
    asked, readings = manifest.representations.layers, _readings(manifest, sites)
    if asked == "all" or n_blocks is None:
        return readings
    found = []
    for reading in readings:
        available = () if is_module_glob(reading.site) else layers_of_site(reading.site, n_blocks)
        layers = tuple(layer for layer in available if layer in asked)
        found.append(replace(reading, layers=layers or None))
    return tuple(found)


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
    """Count the tokens of all samples."""
    from hpcgeom.models import encoder_of

    encoder = encoder_of(request, settings_of(manifest))
    contents = Contents(manifest, folder, samples)
    are_points = TOKENS_POOLING in manifest.representations.pooling
    return count_tokens(encoder, contents, samples, tokens_are_points=are_points)


def _source_digest(factory: str) -> str:
    """SHA-256 of the file that holds a factory: other code is another model."""
    module = factory.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module that is made at run time
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(
            f"factory '{factory}': the source of '{module}' is not a file, so it has no identity: put the "
            "factory into a .py file"
        )
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
