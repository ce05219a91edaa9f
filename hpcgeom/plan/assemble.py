"""Putting a plan together: from a manifest, its samples and the shapes of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import canonical, manifest_digest
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan import memory
from hpcgeom.plan.identity import digest
from hpcgeom.plan.plan import DetailPlan, ModelPlan, Plan, Representation, SamplesPlan, SourceFile
from hpcgeom.plan.units import choose_unit_rows


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A model as far as it has been looked at.

    Attributes
    ----------
    equal_lengths
        Whether the model takes no mask, so that a batch must not be padded.
    identity
        Settings of this model alone that change its activations.
    """

    name: str
    family: str
    folder: Path | str
    representations: tuple[Representation, ...]
    n_layers: int
    width: int
    n_parameters: int = 0
    revision: str = ""
    dtype: str = "float32"
    store_dtype: str = "float32"
    files: tuple[SourceFile, ...] = ()
    unused_keys: tuple[str, ...] = ()
    n_tokens: int = 0
    step: int = -1
    config: Mapping[str, Any] | None = None
    tokenizer: str = ""
    details: DetailPlan | None = None
    equal_lengths: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)


def assemble(manifest: Manifest, folder: Path, samples: SamplesPlan, drafts: Sequence[ModelDraft]) -> Plan:
    """The plan of a manifest.

    Parameters
    ----------
    folder
        The manifest's folder.

    Raises
    ------
    ProblemsError
        There are too few samples for the neighbors asked for.
    """
    refuse_too_few_samples(manifest, samples.n)
    asked = canonical(manifest)
    asked["geometry"]["labels"] = list(manifest.labels)
    rows = manifest.extract.unit_rows or choose_unit_rows(
        max(memory.bytes_per_sample(draft.representations, draft.store_dtype) for draft in drafts)
    )
    widest = max(item.width for draft in drafts for item in draft.representations)
    return Plan(
        name=manifest.name,
        manifest_digest=manifest_digest(manifest),
        manifest=asked,
        manifest_folder=str(folder),
        samples=samples,
        models=tuple(_model(manifest, samples, draft, rows) for draft in drafts),
        unit_rows=rows,
        tile_rows=memory.choose_tile_rows(widest, manifest.neighbors.k),
    )


def refuse_too_few_samples(manifest: Manifest, n: int) -> None:
    """Refuse neighborhoods larger than the data set.

    Raises
    ------
    ProblemsError
        `neighbors.k` or the largest scale of GRIDE needs more samples than there are.
    """
    problems: list[str] = []
    k = manifest.neighbors.k
    if k >= n:
        problems.append(
            f"neighbors.k is {k}, but the data set has {n} samples and a sample has {n - 1} others: "
            f"lower neighbors.k (and what depends on it) below {n}"
        )
    scale = manifest.geometry.gride_range_max
    if "gride" in manifest.geometry.estimators and scale >= n:
        problems.append(
            f"geometry.gride_range_max is {scale}, but the data set has {n} samples: "
            "lower it, or leave gride out of geometry.estimators"
        )
    if problems:
        raise ProblemsError(problems)


_INPUT_KEYS = ("kind", "max_length", "too_long", "transparent", "pad_id")


def input_settings(manifest: Manifest) -> dict[str, Any]:
    """What of the data set's section decides how a sample is turned into tokens."""
    found = manifest.dataset.model_dump(mode="json")
    return {key: found[key] for key in _INPUT_KEYS if key in found}


def _model(manifest: Manifest, samples: SamplesPlan, draft: ModelDraft, unit_rows: int) -> ModelPlan:
    if not draft.representations:
        raise InputError(f"model '{draft.name}' is read nowhere")
    points = draft.family == "arrays"
    weights = [[Path(file.path).name, file.sha256] for file in draft.files]  # in order: names may repeat
    read_as = None if points else input_settings(manifest)
    extract = digest(
        "extract",
        samples=samples.digest,
        weights=weights,
        model=dict(draft.identity),
        representations=[item.model_dump(mode="json") for item in draft.representations],
        store_dtype=draft.store_dtype,
        unit_rows=unit_rows,
        tokens_per_batch=None if points else manifest.extract.tokens_per_batch,
        inputs=read_as,
    )
    details = digest(
        "details",
        samples=samples.digest,
        weights=weights,
        model=dict(draft.identity),
        details=None if draft.details is None else draft.details.model_dump(mode="json"),
        inputs=read_as,
    )
    return ModelPlan(
        name=draft.name,
        family=draft.family,
        folder=str(draft.folder),
        revision=draft.revision,
        dtype=draft.dtype,
        strategy="none" if points else "replicate",
        n_layers=draft.n_layers,
        width=draft.width,
        n_parameters=draft.n_parameters,
        files=draft.files,
        unused_keys=draft.unused_keys,
        store_dtype=draft.store_dtype,
        representations=draft.representations,
        n_tokens=draft.n_tokens,
        step=draft.step,
        config=None if draft.config is None else dict(draft.config),
        tokenizer=draft.tokenizer,
        details=draft.details,
        details_digest=details if draft.details is not None else "",
        extract_digest=extract,
        search_digest=digest("search", extract=extract, **manifest.neighbors.model_dump(mode="json")),
    )
