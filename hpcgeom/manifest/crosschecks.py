"""Contradictions between the sections of a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from hpcgeom.catalog.sites import NO_POOLING, POINTS_SITE, TOKENS_POOLING, token_position
from hpcgeom.manifest.catalog_section import CatalogModel
from hpcgeom.manifest.dataset_sections import TextDataset, label_names
from hpcgeom.manifest.family_checks import (
    arrays_go_with_arrays,
    details_exist,
    encoded_samples_need_no_encoder,
    families_read_the_dataset,
    intersected_samples_have_ids,
    modules_have_tokenizers,
    positions_differ,
    queries_of_arrays_have_points,
    sites_exist,
)
from hpcgeom.manifest.fields import SLUG, Key, Problem, key_text, list_text
from hpcgeom.manifest.model_sections import ArraysModel

MIN_CLUSTER_NEIGHBORS = 4
"""Of lists that a density is estimated from, as `density_peaks` has it."""


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
        (("dataset", "models"), arrays_go_with_arrays),
        (("dataset", "models"), queries_of_arrays_have_points),
        (("dataset", "models"), intersected_samples_have_ids),
        (("dataset", "models"), families_read_the_dataset),
        (("dataset", "models"), modules_have_tokenizers),
        (("dataset", "models"), encoded_samples_need_no_encoder),
        (("representations", "models"), sites_exist),
        (("representations", "models"), details_exist),
        (("representations", "dataset", "models"), positions_differ),
        (("representations", "dataset"), _poolings_suit_the_samples),
        (("neighbors", "representations", "models"), _standardized_sites_are_read),
        (("geometry", "neighbors"), _overlaps_fit_in_k),
        (("geometry", "neighbors"), _gride_fits_in_k),
        (("geometry", "neighbors"), _levina_bickel_fits_in_k),
        (("geometry", "neighbors"), _local_dimension_fits_in_k),
        (("geometry", "neighbors"), _clusters_have_neighbors),
        (("geometry", "representations"), _token_clouds_have_tokens),
        (("geometry", "dataset"), _labels_exist),
        (("geometry", "dataset"), _excluded_labels_exist),
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


def _poolings_suit_the_samples(representations: Any, dataset: Any) -> Iterator[Problem]:
    in_windows = getattr(dataset, "too_long", None) == "window"
    for number, pooling in enumerate(representations.pooling):
        key: Key = ("representations", "pooling", number)
        if pooling == "std" and in_windows:
            yield Problem(
                key,
                "expected another pooling, because dataset.too_long is window and the spread of windows "
                "cannot be put together, found 'std': cut with truncate, or read another pooling",
            )
        position = token_position(pooling)
        if position is None or not isinstance(dataset, TextDataset):
            continue  # residues are counted without special tokens, whose number the tokenizer knows
        needed = position + 1 if position >= 0 else -position
        if needed > dataset.max_length:
            yield Problem(
                key,
                f"expected a token of samples of at most dataset.max_length = {dataset.max_length}, found "
                f"'{pooling}', which needs {needed}: raise dataset.max_length, or read another token",
            )


def _standardized_sites_are_read(neighbors: Any, representations: Any, models: Any) -> Iterator[Problem]:
    if isinstance(neighbors.standardize, bool):
        return
    if is_arrays_only(models):
        yield Problem(
            ("neighbors", "standardize"),
            "expected true or false, because all models are arrays, which have no sites, found a list of "
            "sites: write true or false",
        )
        return
    for position, site in enumerate(neighbors.standardize):
        if site not in representations.sites:
            yield Problem(
                ("neighbors", "standardize", position),
                f"expected one of representations.sites ({', '.join(representations.sites)}), found "
                f"'{site}': add it there or take it out of neighbors.standardize",
            )


def _overlaps_fit_in_k(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    largest = 0 if geometry.overlap_k == "all" else max(geometry.overlap_k)
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


def _levina_bickel_fits_in_k(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    largest = max(geometry.levina_bickel_k)
    if "levina_bickel" in geometry.estimators and largest > neighbors.k:
        yield Problem(
            ("geometry", "levina_bickel_k"),
            f"expected at most neighbors.k = {neighbors.k}, found {largest}: raise neighbors.k to {largest}, "
            f"or take {largest} out of geometry.levina_bickel_k",
        )


def _local_dimension_fits_in_k(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    k = geometry.local_dimension_k
    if k is not None and k > neighbors.k:
        yield Problem(
            ("geometry", "local_dimension_k"),
            f"expected at most neighbors.k = {neighbors.k}, found {k}: raise neighbors.k to {k}, or lower it",
        )


def _clusters_have_neighbors(geometry: Any, neighbors: Any) -> Iterator[Problem]:
    if geometry.clusters is not None and neighbors.k < MIN_CLUSTER_NEIGHBORS:
        yield Problem(
            ("geometry", "clusters"),
            f"expected neighbors.k of {MIN_CLUSTER_NEIGHBORS} or more, which densities need, found "
            f"{neighbors.k}: raise neighbors.k, 64 is usual, or remove geometry.clusters",
        )


def _token_clouds_have_tokens(geometry: Any, representations: Any) -> Iterator[Problem]:
    if geometry.token_clouds is not None and TOKENS_POOLING not in representations.pooling:
        yield Problem(
            ("geometry", "token_clouds"),
            f"expected no such key without '{TOKENS_POOLING}' in representations.pooling, found "
            f"{list_text(representations.pooling)}: add it there, or remove geometry.token_clouds",
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


def _excluded_labels_exist(geometry: Any, dataset: Any) -> Iterator[Problem]:
    names = label_names(dataset)
    measured = names if geometry.labels is None else geometry.labels
    for label, family in geometry.exclude_same.items():
        key: Key = ("geometry", "exclude_same", label)
        if label not in measured:
            yield Problem(
                key,
                f"expected a label set whose overlap is measured ({', '.join(measured) or 'there is none'}), "
                f"found '{label}': add it to dataset.labels or geometry.labels, or take it out",
            )
        elif family not in names or family == label:
            others = [name for name in names if name != label]
            yield Problem(
                key,
                f"expected another name of dataset.labels ({', '.join(others) or 'it has none'}), found "
                f"'{family}': add it to dataset.labels, or name another one",
            )


def _label_names_differ(dataset: Any) -> Iterator[Problem]:
    for _, name, first in _same_but_for_case(list(dataset.labels)):
        yield Problem(
            ("dataset", "labels", name),
            f"expected a name that differs from '{first}' by more than case, found '{name}': rename one",
        )


def _model_names_differ(models: Sequence[Any]) -> Iterator[Problem]:
    names = [model.name for model in models]
    for position, name, first in _same_but_for_case(names):
        yield Problem(
            ("models", position, "name"),
            f"expected a name that differs from '{first}' of models[{names.index(first)}] by more than case, "
            f"found '{name}': rename one",
        )
    written = {name.casefold(): number for number, name in reversed([*enumerate(names)])}
    for position, model in enumerate(models):
        if not isinstance(model, CatalogModel) or not model.checkpoints:
            continue
        steps = [each.name for each in model.expanded()]
        if not SLUG.fullmatch(steps[-1]):
            yield Problem(
                ("models", position, "name"),
                f"expected a name that leaves room for the steps of its checkpoints, found '{steps[-1]}' of "
                f"{len(steps[-1])} characters, more than 100: shorten it",
            )
        for number, step in enumerate(steps):
            if step.casefold() in written:
                yield Problem(
                    ("models", position, "checkpoints", number),
                    f"expected a name that no other model has, found '{step}', which "
                    f"models[{written[step.casefold()]}] has too: rename one",
                )


def _same_but_for_case(names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    first: dict[str, str] = {}
    for position, name in enumerate(names):
        if name.casefold() in first:
            yield position, name, first[name.casefold()]
        first.setdefault(name.casefold(), name)


def _points_are_not_extracted(models: Sequence[Any], given: Set[Key]) -> Iterator[Problem]:
    for key in (("representations",), ("extract", "tokens_per_batch")):
        if is_arrays_only(models) and key in given:
            yield Problem(
                key,
                "expected no such key, because all models are arrays: their points exist already, at site "
                f"{POINTS_SITE} with pooling {NO_POOLING}: remove {key_text(key)}",
            )
