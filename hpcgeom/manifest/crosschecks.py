"""Contradictions between the sections of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.sites import (
    EMBEDDING_SITES,
    HEAD_SITES,
    NO_POOLING,
    POINTS_SITE,
    is_module_glob,
    split_head,
)
from hpcgeom.manifest.catalog_section import CatalogModel
from hpcgeom.manifest.dataset_sections import ArraysDataset, TokensDataset, label_names
from hpcgeom.manifest.fields import SLUG, Key, Problem, key_text
from hpcgeom.manifest.model_sections import ArraysModel, ModuleModel


def cross_problems(sections: Mapping[str, Any], given: Set[Key]) -> Iterator[Problem]:
    """Find all contradictions between sections.

    Parameters
    ----------
    sections
        Validated sections by key. A check whose sections are not all there is skipped, so that one bad
        section does not hide the contradictions among the others.
    given
        Keys from the root that are written in the manifest, as opposed to filled in.

    Yields
    ------
    Problem
        With a key from the root of the manifest and a message that names both keys.
    """
    checks = (
        (("dataset",), _label_names_differ),
        (("models",), _model_names_differ),
        (("dataset", "models"), _arrays_go_with_arrays),
        (("dataset", "models"), _families_read_the_dataset),
        (("dataset", "models"), _modules_have_tokenizers),
        (("representations", "models"), _sites_have_blocks),
        (("geometry", "neighbors"), _overlaps_fit_in_k),
        (("geometry", "neighbors"), _gride_fits_in_k),
        (("geometry", "dataset"), _labels_exist),
    )
    for needed, check in checks:
        if all(key in sections for key in needed):
            yield from check(*(sections[key] for key in needed))
    if "models" in sections:
        yield from _points_are_not_extracted(sections["models"], given)


def expanded(models: Sequence[Any]) -> tuple[Any, ...]:
    """Models with every checkpoint as one of its own, in order."""
    return tuple(
        each
        for model in models
        for each in (model.expanded() if isinstance(model, CatalogModel) else (model,))
    )


def is_arrays_only(models: Sequence[Any]) -> bool:
    """Whether all models are points that exist already."""
    return all(isinstance(model, ArraysModel) for model in models)


def _overlaps_fit_in_k(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    largest = max(geometry.overlap_k)
    if largest > neighbors.k:
        yield Problem(
            ("geometry", "overlap_k"),
            f"expected at most neighbors.k = {neighbors.k}, found {largest}: "
            f"raise neighbors.k to {largest} or take {largest} out of geometry.overlap_k",
        )


def _gride_fits_in_k(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    largest = geometry.gride_range_max
    if "gride" in geometry.estimators and largest > neighbors.k:
        yield Problem(
            ("geometry", "gride_range_max"),
            f"expected at most neighbors.k = {neighbors.k}, found {largest}: raise neighbors.k to {largest}, "
            "lower geometry.gride_range_max, or take gride out of geometry.estimators",
        )


def _labels_exist(geometry: Any, dataset: Any) -> Iterator[Problem]:
    names = label_names(dataset)
    for position, name in enumerate(geometry.labels or ()):
        if name not in names:
            yield Problem(
                ("geometry", "labels", position),
                f"expected a name of dataset.labels ({', '.join(names) or 'it has none'}), found '{name}': "
                "add it to dataset.labels or take it out of geometry.labels",
            )


def _label_names_differ(dataset: Any) -> Iterator[Problem]:
    for _, name, first in _same_but_for_case(list(dataset.labels)):
        yield Problem(
            ("dataset", "labels", name),
            f"expected a name that differs from '{first}' by more than case, found '{name}': rename one",
        )


def _model_names_differ(models: Sequence[Any]) -> Iterator[Problem]:
    names = [model.name for model in models]
    for position, model in enumerate(models):
        for each in expanded([model]):
            if not SLUG.fullmatch(each.name):
                yield Problem(
                    ("models", position, "name"),
                    f"expected a name that leaves room for its steps, found '{each.name}' of "
                    f"{len(each.name)} characters: shorten it",
                )
    written = {name.casefold() for name in names}
    for position, model in enumerate(models):
        for each in expanded([model]):
            if each.name != model.name and each.name.casefold() in written:
                yield Problem(
                    ("models", position, "checkpoints"),
                    f"expected names of their own, found '{each.name}', which is a model too: rename one",
                )
    for position, name, first in _same_but_for_case(names):
        yield Problem(
            ("models", position, "name"),
            f"expected a name that differs from '{first}' of models[{names.index(first)}] by more than case, "
            f"found '{name}': rename one",
        )


def _same_but_for_case(names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    first: dict[str, str] = {}
    for position, name in enumerate(names):
        if name.casefold() in first:
            yield position, name, first[name.casefold()]
        first.setdefault(name.casefold(), name)


def _arrays_go_with_arrays(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    expected = "arrays" if isinstance(dataset, ArraysDataset) else "a family of models"
    for position, model in enumerate(models):
        if isinstance(dataset, ArraysDataset) != isinstance(model, ArraysModel):
            yield Problem(
                ("models", position, "family"),
                f"expected {expected}, because dataset.kind is {dataset.kind}, found {model.family}: "
                "arrays need no model and models need samples, so change dataset.kind or the family",
            )


def _families_read_the_dataset(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    if isinstance(dataset, ArraysDataset):
        return
    for position, model in enumerate(models):
        if isinstance(model, CatalogModel):
            kinds = FAMILIES[model.family].dataset_kinds
        elif isinstance(model, ModuleModel):
            kinds = ("text", "fasta", "tokens")
        else:
            continue
        if dataset.kind not in kinds:
            yield Problem(
                ("models", position, "family"),
                f"expected a family that reads {dataset.kind}, found {model.family}, which reads "
                f"{' and '.join(kinds)}: change dataset.kind or the family",
            )


def _modules_have_tokenizers(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    for position, model in enumerate(models):
        is_encoded = isinstance(dataset, ArraysDataset | TokensDataset)
        needs_tokens = not is_encoded and isinstance(model, ModuleModel)
        if needs_tokens and model.tokenizer is None:
            yield Problem(
                ("models", position),
                f"expected the key tokenizer, because dataset.kind is {dataset.kind} and a module brings "
                "no tokenizer, found none: give a folder, package:<import name>/<folder> or a hub id",
            )


def _sites_have_blocks(representations: Any, models: Sequence[Any]) -> Iterator[Problem]:
    modules = [(number, model) for number, model in enumerate(models) if isinstance(model, ModuleModel)]
    for position, site in enumerate(representations.sites):
        key: Key = ("representations", "sites", position)
        base, head = split_head(site)
        by_head = head is not None or representations.heads == "separate"
        for number, model in modules:
            at = f"models[{number}] ({model.name})"
            if model.blocks is None and not is_module_glob(site):
                yield Problem(
                    key,
                    f"expected module:<glob>, because {at} has no key blocks, "
                    f"found '{site}': add models[{number}].blocks or change the site",
                )
            elif base in EMBEDDING_SITES and base not in model.embeddings:
                yield Problem(key, f"expected embeddings.{base} in {at}, found none: give its path")
            elif base in HEAD_SITES and by_head and model.n_heads is None:
                yield Problem(key, f"expected n_heads in {at} to tell the heads of '{site}' apart: add it")
    details = representations.details.sites if representations.details else ()
    for position, site in enumerate(details):
        for number, model in modules:
            needed = "attention" if site == "attention" else "head"
            if model.blocks is None or getattr(model, needed) is None:
                yield Problem(
                    ("representations", "details", "sites", position),
                    f"expected blocks and {needed} in models[{number}] ({model.name}), which '{site}' is "
                    "read from: give their paths",
                )


def _points_are_not_extracted(models: Sequence[Any], given: Set[Key]) -> Iterator[Problem]:
    for key in (("representations",), ("extract", "tokens_per_batch")):
        if is_arrays_only(models) and key in given:
            yield Problem(
                key,
                "expected no such key, because all models are arrays: their points exist already, at site "
                f"{POINTS_SITE} with pooling {NO_POOLING}: remove {key_text(key)}",
            )
