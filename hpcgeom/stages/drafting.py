"""Looking at one model of a manifest: where it is, whether its weights fit, how long its samples are."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hpcgeom.catalog.sources import locate
from hpcgeom.data.samples import Samples
from hpcgeom.errors import InputError
from hpcgeom.manifest.sections import ArraysModel, BertModel, Manifest, Model, ModuleModel
from hpcgeom.plan.assemble import ModelDraft
from hpcgeom.plan.drafts import draft_arrays, draft_bert
from hpcgeom.plan.layout import choose_layers
from hpcgeom.plan.plan import SourceFile
from hpcgeom.stages.requests import encode, make_request, tokenizer_of

if TYPE_CHECKING:
    from hpcgeom.models import ModelRequest

Drafted = tuple[ModelDraft, npt.NDArray[np.int64]]
"""A draft, and the tokens of every sample."""


def draft_model(section: Model, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    """Resolve, check and measure one model.

    Raises
    ------
    InputError
        The model cannot be found, its weights do not fit, or a sample does not suit it.
    """
    if isinstance(section, ArraysModel):
        draft = draft_arrays(section, folder, with_digests=True)
        return draft, np.ones(len(samples), dtype=np.int64)
    if isinstance(section, BertModel):
        return _draft_bert(section, manifest, folder, samples)
    return _draft_module(section, manifest, folder, samples)


def _draft_bert(section: BertModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import Reading, Replicate

    where, revision = _resolve(section.source, section.revision, folder)
    draft, _ = draft_bert(section, manifest, where, revision, _digests)
    readings = [
        Reading(site, tuple(manifest.representations.pooling)) for site in manifest.representations.sites
    ]
    request = make_request(section, folder, where, readings)
    n_tokens = _count_tokens(request, manifest, samples)
    model = Replicate().open_model(request)
    unused = model.describe().unused_keys
    model.close()
    return replace(draft, n_tokens=int(n_tokens.sum()), unused_keys=unused), n_tokens


def _draft_module(section: ModuleModel, manifest: Manifest, folder: Path, samples: Samples) -> Drafted:
    from hpcgeom.models import Reading, Replicate

    where = None if section.source is None else _resolve(section.source, None, folder)[0]
    if section.tokenizer is not None:
        _resolve(section.tokenizer, None, folder)  # downloads what the request then finds in the cache
    readings = [
        Reading(site, tuple(manifest.representations.pooling)) for site in manifest.representations.sites
    ]
    request = make_request(section, folder, where, readings)
    n_tokens = _count_tokens(request, manifest, samples)
    model = Replicate().open_model(request)
    shapes = model.describe()
    model.close()
    chosen = choose_layers(section.name, manifest.representations, shapes.sites)
    deepest = max(max(shape.layers) for shape in shapes.sites.values())
    settings = section.model_dump(mode="json", exclude={"name", "source", "tokenizer", "strategy"})
    draft = ModelDraft(
        name=section.name,
        family=section.family,
        folder=where or "",
        representations=chosen,
        n_layers=shapes.n_layers if shapes.n_layers is not None else deepest,
        width=shapes.width or max(shape.width for shape in shapes.sites.values()),
        n_parameters=shapes.n_parameters,
        dtype=section.dtype,
        store_dtype=manifest.representations.store_dtype,
        files=(
            *(_digests(where) if where else ()),
            *(_digests(request.tokenizer) if request.tokenizer else ()),
        ),
        unused_keys=shapes.unused_keys,
        n_tokens=int(n_tokens.sum()),
        equal_lengths="attention_mask" not in model.skeleton.inputs,
        identity={**settings, "factory_source": _source_digest(section.factory)},
    )
    return draft, n_tokens


def _resolve(source: str, revision: str | None, folder: Path) -> tuple[Path, str]:
    from hpcgeom.models import fetch

    found = locate(source, folder)
    if found is not None:
        return found, ""
    return fetch(source, revision)


def _digests(folder: Path) -> tuple[SourceFile, ...]:
    from hpcgeom.models import weights_digest

    root = folder if folder.is_dir() else folder.parent
    return tuple(
        SourceFile(path=str(root / name), size=int(entry["size"]), sha256=str(entry["sha256"]))
        for name, entry in weights_digest(folder).items()
    )


def _count_tokens(request: ModelRequest, manifest: Manifest, samples: Samples) -> npt.NDArray[np.int64]:
    tokenizer = tokenizer_of(request)
    encodings = encode(tokenizer, manifest, request, samples.ids, samples.texts)
    return np.array([len(encoding.ids) for encoding in encodings], dtype=np.int64)


def _source_digest(factory: str) -> str:
    """SHA-256 of the file that holds a factory: other code is another model."""
    module = factory.partition(":")[0]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(
            f"factory '{factory}': the source of '{module}' is not a file, so it has no identity"
        )
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
