"""Putting a plan together: from a manifest, its samples and the shapes of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpcgeom.catalog.sites import TOKENS_POOLING
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import canonical, manifest_digest
from hpcgeom.manifest.identity import MEANS
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan import memory
from hpcgeom.plan.identity import digest
from hpcgeom.plan.plan import (
    DetailPlan,
    ModelPlan,
    Plan,
    Representation,
    SamplesPlan,
    SourceFile,
    TokenPoints,
)
from hpcgeom.plan.points import MAX_POINTS, are_tokens
from hpcgeom.plan.sequences import SampleTokens
from hpcgeom.plan.units import MIN_TOKEN_UNIT_ROWS, MIN_UNIT_ROWS, choose_unit_rows


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A model as far as it has been looked at.

    Attributes
    ----------
    equal_lengths
        Whether the model takes no mask, so that a batch must not be padded.
    identity
        Settings of this model alone that change its activations.
    tokens
        Of all samples; read where every token is a point.
    n_block_parameters, n_head_parameters, flops, values_per_token, n_batch_rows, n_batch_tokens
        What a pass over the data set costs; see `ModelPlan`.
    n_rows
        Rows of points that exist already.
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
    tokens: SampleTokens | None = None
    n_block_parameters: int = 0
    n_head_parameters: int = 0
    flops: float = 0.0
    values_per_token: int = 0
    n_rows: int = 0
    n_batch_rows: int = 0
    n_batch_tokens: int = 0

    @property
    def point_tokens(self) -> SampleTokens | None:
        """The tokens where some points of the model are tokens; else None."""
        return self.tokens if any(map(are_tokens, self.representations)) else None


def assemble(manifest: Manifest, folder: Path, samples: SamplesPlan, drafts: Sequence[ModelDraft]) -> Plan:
    """The plan of a manifest.

    Parameters
    ----------
    folder
        The manifest's folder.

    Raises
    ------
    ProblemsError
        There are too few points for the neighbors asked for, or more than can be numbered.
    """
    refuse_unsearchable(manifest, samples.n_base, drafts)
    asked = canonical(manifest)
    asked["geometry"]["labels"] = list(manifest.labels)
    rows = manifest.extract.unit_rows or _unit_rows(drafts, samples.n_base)
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
        search_work=manifest.neighbors.unit_work,
        kernel=manifest.neighbors.kernel,
    )


def refuse_unsearchable(manifest: Manifest, n_base: int, drafts: Sequence[ModelDraft] = ()) -> None:
    """Refuse neighborhoods larger than the set of points, and more points than can be numbered.

    Parameters
    ----------
    n_base
        Samples that may be neighbors.
    drafts
        Models, as far as they are known: their tokens may be points.

    Raises
    ------
    ProblemsError
        `neighbors.k` or the largest scale of GRIDE needs more points than there are, or there are more than
        2^31 - 1.
    """
    problems: list[str] = []
    if set(manifest.representations.pooling) != {TOKENS_POOLING}:
        problems += _too_few(manifest, n_base, "the data set", "sample")
    for draft in drafts:
        if draft.point_tokens is None:
            continue
        n_of_samples = draft.point_tokens.n_of_samples
        problems += _too_few(manifest, int(n_of_samples[:n_base].sum()), f"model '{draft.name}'", "token")
        n_tokens = int(n_of_samples.sum())
        if n_tokens > MAX_POINTS and draft.point_tokens.digest:  # else it is but an upper bound
            problems.append(
                f"model '{draft.name}' has {n_tokens} tokens, but at most {MAX_POINTS} points can be "
                f"numbered: leave samples out, or take '{TOKENS_POOLING}' out of representations.pooling"
            )
    if problems:
        raise ProblemsError(problems)


def _too_few(manifest: Manifest, n: int, whose: str, what: str) -> list[str]:
    problems: list[str] = []
    k = manifest.neighbors.k
    if k >= n:
        problems.append(
            f"neighbors.k is {k}, but {whose} has {n} {what}s and a {what} has {n - 1} others: "
            f"lower neighbors.k (and what depends on it) below {n}"
        )
    scale = manifest.geometry.gride_range_max
    if "gride" in manifest.geometry.estimators and scale >= n:
        problems.append(
            f"geometry.gride_range_max is {scale}, but {whose} has {n} {what}s: "
            "lower it, or leave gride out of geometry.estimators"
        )
    return problems


def _unit_rows(drafts: Sequence[ModelDraft], n_base: int) -> int:
    """Rows of a unit, from the bytes that a sample leaves in the largest model; queries change nothing."""
    each = [
        memory.bytes_per_sample(
            draft.representations,
            draft.store_dtype,
            1.0 if draft.point_tokens is None else float(draft.point_tokens.n_of_samples[:n_base].mean()),
        )
        for draft in drafts
    ]
    has_tokens = any(draft.point_tokens is not None for draft in drafts)
    return choose_unit_rows(max(each), MIN_TOKEN_UNIT_ROWS if has_tokens else MIN_UNIT_ROWS)


def _token_points(draft: ModelDraft, unit_rows: int, samples: SamplesPlan) -> TokenPoints | None:
    if draft.point_tokens is None:
        return None
    n_of_samples = draft.point_tokens.n_of_samples
    n_of_units = np.add.reduceat(n_of_samples, np.arange(0, len(n_of_samples), unit_rows))
    return TokenPoints(
        n_of_units=tuple(n_of_units.tolist()),
        digest=draft.point_tokens.digest,
        n_base=int(n_of_samples[: samples.n_base].sum()) if samples.n_queries else None,
    )


_INPUT_KEYS = ("kind", "max_length", "too_long", "transparent", "pad_id")


def input_settings(manifest: Manifest) -> dict[str, Any]:
    """What of the data set's section decides how a sample is turned into tokens."""
    found = manifest.dataset.model_dump(mode="json")
    return {key: found[key] for key in _INPUT_KEYS if key in found}


def _model(manifest: Manifest, samples: SamplesPlan, draft: ModelDraft, unit_rows: int) -> ModelPlan:
    if not draft.representations:
        raise InputError(f"model '{draft.name}' is read nowhere: give it a layer, a site and a pooling")
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
    asked = manifest.neighbors.model_dump(mode="json", exclude=set(MEANS))
    return ModelPlan(
        name=draft.name,
        family=draft.family,
        folder=str(draft.folder),
        revision=draft.revision,
        dtype=draft.dtype,
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
        n_rows=draft.n_rows,
        details=draft.details,
        details_digest=details if draft.details is not None else "",
        tokens=_token_points(draft, unit_rows, samples),
        n_block_parameters=draft.n_block_parameters,
        n_head_parameters=draft.n_head_parameters,
        flops=draft.flops,
        values_per_token=draft.values_per_token,
        n_batch_rows=draft.n_batch_rows,
        n_batch_tokens=draft.n_batch_tokens,
        extract_digest=extract,
        search_digest=digest("search", extract=extract, **asked),
    )
