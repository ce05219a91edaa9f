"""What a manifest would cost, worked out without torch and without touching weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcgeom.catalog.families import ModelFacts
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import LoadedManifest, load_manifest
from hpcgeom.manifest.sections import (
    ArraysModel,
    CatalogModel,
    FastaDataset,
    ImagesDataset,
    Manifest,
    Model,
)
from hpcgeom.plan.assemble import ModelDraft, assemble
from hpcgeom.plan.batches import largest_batch
from hpcgeom.plan.costs import StageCost, costs_of
from hpcgeom.plan.dataset import dataset_files, read_dataset
from hpcgeom.plan.details import catalog_sites
from hpcgeom.plan.drafts import draft_arrays, draft_catalog, offline_origin
from hpcgeom.plan.footprints import Devices
from hpcgeom.plan.hours import Hours, Rates, hours_of
from hpcgeom.plan.installed import refuse_missing_dadapy
from hpcgeom.plan.plan import DetailPlan, Plan, SamplesPlan
from hpcgeom.plan.sequences import SampleTokens
from hpcgeom.plan.strategies import Choice, choose_all, wishes_of

_ENDS = 2
"""Special tokens of a protein: its start and its end."""


@dataclass(frozen=True, slots=True)
class Price:
    """A plan that was only looked at, and what each stage of it costs.

    Attributes
    ----------
    choices
        The strategy of each model that is run, by its name.
    hours
        By stage, where it is known how fast processes are.
    """

    plan: Plan
    stages: tuple[StageCost, ...]
    notices: tuple[str, ...]
    choices: Mapping[str, Choice]
    hours: Mapping[str, Hours]

    @property
    def refusals(self) -> tuple[str, ...]:
        """A sentence for each model that cannot be run on its devices."""
        return tuple(choice.refusal for choice in self.choices.values() if choice.refusal)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.plan.name,
            "manifest_digest": self.plan.manifest_digest,
            "n_samples": self.plan.samples.n,
            "unit_rows": self.plan.unit_rows,
            "tile_rows": self.plan.tile_rows,
            "models": [
                {
                    "name": model.name,
                    "family": model.family,
                    "n_layers": model.n_layers,
                    "width": model.width,
                    "n_parameters": model.n_parameters,
                    "representations": [item.model_dump(mode="json") for item in model.representations],
                }
                for model in self.plan.models
            ],
            "strategies": {name: choice.as_dict() for name, choice in self.choices.items()},
            "stages": [stage.as_dict() for stage in self.stages],
            "hours": {stage: hours.as_dict() for stage, hours in self.hours.items()},
            "notices": list(self.notices),
        }


def price(
    manifest: Path,
    n_samples: int | None = None,
    length: int | None = None,
    devices: Devices | None = None,
    rates: Rates | None = None,
) -> Price:
    """Work out units, bytes, files, memory and operations of a manifest.

    Parameters
    ----------
    n_samples
        Price the manifest as if its data set had that many samples; nothing of the data set is read then.
    length
        Tokens of a sample, special ones included. By default every sample is as long as is allowed:
        `dataset.max_length`, or as many tokens as the model has positions for.
    devices
        What the models would run on; by default one process that has as much memory as it needs.
    rates
        How fast processes are, as `hpcgeom.api.rates.rates_for` finds it; without it no hours are said.

    Raises
    ------
    InputError
        The manifest, its data or its models are wrong; a model can only be looked at by prepare; or
        `n_samples` or `length` do not suit the manifest.
    """
    loaded = load_manifest(manifest)
    refuse_missing_dadapy(loaded.manifest.geometry.clusters)
    _check_assumptions(loaded.manifest, n_samples, length)
    samples = _samples(loaded) if n_samples is None else _assumed(loaded.manifest, n_samples)
    drafts = [_look_at(section, loaded, samples.n, length) for section in loaded.manifest.all_models]
    plan = assemble(loaded.manifest, loaded.folder, samples, drafts)
    return price_of(plan, wishes_of(loaded.manifest), devices, rates)


def price_of(
    plan: Plan, wishes: Mapping[str, str], devices: Devices | None = None, rates: Rates | None = None
) -> Price:
    """The price of a plan that was made.

    Parameters
    ----------
    wishes
        The strategy that is asked for, by model.
    devices, rates
        As for `price`.
    """
    choices = choose_all(plan, wishes, devices or Devices())
    taken = {name: choice.footprint for name, choice in choices.items() if choice.strategy}
    has_gpus = {name: choice.devices.has_gpus for name, choice in choices.items()}
    hours = hours_of(plan, rates or {}, has_gpus)
    return Price(plan, tuple(costs_of(plan, taken)), plan.samples.notices, choices, hours)


def _check_assumptions(manifest: Manifest, n_samples: int | None, length: int | None) -> None:
    problems = [
        f"{name} is {value}: expected 1 or more"
        for name, value in (("samples", n_samples), ("length", length))
        if value is not None and value < 1
    ]
    if n_samples is not None and manifest.is_arrays:
        problems.append(
            f"samples is {n_samples}, but all models are arrays, whose sizes only their files tell: "
            "leave samples out"
        )
    if length is not None and (manifest.is_arrays or isinstance(manifest.dataset, ImagesDataset)):
        whose = "points that exist already have none" if manifest.is_arrays else "images all have the same"
        problems.append(
            f"length is {length}, but it is the number of tokens of a sample, and {whose}: leave length out"
        )
    if problems:
        raise ProblemsError(problems)


def _samples(loaded: LoadedManifest) -> SamplesPlan:
    """What the plan keeps of samples that are here."""
    try:
        samples = read_dataset(loaded.manifest, loaded.folder, with_digests=False)
    except InputError as error:
        if loaded.manifest.is_arrays or all(
            path.exists() for path in dataset_files(loaded.manifest, loaded.folder)
        ):
            raise
        raise InputError(
            f"{error}; if the data are on another machine, hpcgeom plan --samples N says what they would "
            "cost if there were N samples"
        ) from error
    return SamplesPlan(
        n=len(samples),
        n_base=samples.n_base,
        digest=samples.digest,
        label_digests={name: samples.label_digest(name) for name in samples.labels},
        files=(),
        notices=samples.notices,
    )


def _assumed(manifest: Manifest, n: int) -> SamplesPlan:
    """Samples of which nothing is known but their number."""
    return SamplesPlan(
        n=n,
        digest="",
        label_digests=dict.fromkeys([*manifest.labels, *manifest.geometry.exclude_same.values()], ""),
        files=(),
        notices=(f"the data set was not read: this is the price of {n:,} samples",),
    )


def _look_at(section: Model, loaded: LoadedManifest, n: int, length: int | None) -> ModelDraft:
    if isinstance(section, ArraysModel):
        return draft_arrays(section, loaded.folder, with_digests=False)
    if isinstance(section, CatalogModel):
        draft, facts = draft_catalog(section, loaded.manifest, offline_origin(section, loaded.folder))
        longest = facts.n_image_tokens or _longest(loaded.manifest, facts.max_positions)
        if length is not None and length > longest and not _has_windows(loaded.manifest):
            raise InputError(
                f"length is {length}, but a sample of model '{section.name}' has at most {longest} tokens: "
                f"lower it to {longest} at most"
            )
        each = length or longest
        of_pass = min(each, longest)
        n_rows, n_tokens = largest_batch(np.full(n, of_pass), loaded.manifest.extract.tokens_per_batch)
        return replace(
            draft,
            tokens=SampleTokens(np.full(n, each, dtype=np.int64)),
            details=_details(loaded.manifest, section, facts, of_pass),
            n_tokens=n * each,
            n_batch_rows=n_rows,
            n_batch_tokens=n_tokens,
            flops=facts.forward_flops(n * each, of_pass),
            values_per_token=facts.values_per_token(of_pass, keeps_scores=section.family == "igpt"),
        )
    raise InputError(
        f"model '{section.name}' is a module, whose shape is known only to its own code: "
        "hpcgeom prepare builds it and writes the plan"
    )


def _details(
    manifest: Manifest, section: CatalogModel, facts: ModelFacts, n_tokens: int
) -> DetailPlan | None:
    """What is kept whole, as if the chosen samples were the first ones."""
    asked = manifest.representations.details
    if asked is None:
        return None
    sites = tuple(catalog_sites(manifest, section.name, section.family, facts))
    count = len(asked.samples)
    return DetailPlan(sites=sites, rows=tuple(range(count)), n_tokens=(n_tokens,) * count)


def _longest(manifest: Manifest, max_positions: int) -> int:
    """Most tokens of a forward pass; residues are counted without the special tokens at both ends."""
    limit = int(getattr(manifest.dataset, "max_length", max_positions))
    return min(limit + (_ENDS if isinstance(manifest.dataset, FastaDataset) else 0), max_positions)


def _has_windows(manifest: Manifest) -> bool:
    return getattr(manifest.dataset, "too_long", None) == "window"
