"""What families of models cannot do: data sets that they do not read, sites that they do not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.sites import EMBEDDING_SITES, HEAD_SITES, SITES, is_module_glob, split_head
from hpcgeom.manifest.catalog_section import CatalogModel
from hpcgeom.manifest.dataset_sections import ArraysDataset, ImagesDataset, TokensDataset
from hpcgeom.manifest.fields import Key, Problem
from hpcgeom.manifest.model_sections import CHAIN_SITES, ArraysModel, ModuleModel

MODULE_KINDS = ("text", "fasta", "tokens")
"""Kinds of data sets that a module of the user's reads."""


def arrays_go_with_arrays(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Arrays need no model, and models need samples."""
    needs_arrays = isinstance(dataset, ArraysDataset)
    expected = "arrays" if needs_arrays else f"one of {', '.join(_readers(dataset.kind))}"
    for position, model in enumerate(models):
        if needs_arrays != isinstance(model, ArraysModel):
            yield Problem(
                ("models", position, "family"),
                f"expected {expected}, because dataset.kind is {dataset.kind}, found {model.family}: "
                "arrays need no model and models need samples, so change dataset.kind or the family",
            )


def queries_of_arrays_have_points(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Queries among points that exist already exist in every model, or in none."""
    if not isinstance(dataset, ArraysDataset):
        return
    for position, model in enumerate(models):
        if not isinstance(model, ArraysModel):
            continue
        if dataset.query is not None and model.query_source is None:
            yield Problem(
                ("models", position),
                "expected the key query_source, because there is dataset.query, found none: give the path "
                "of the arrays of the queries, with {layer} for the layer",
            )
        if dataset.query is None and model.query_source is not None:
            yield Problem(
                ("models", position, "query_source"),
                "expected the key dataset.query beside query_source, found none: write query: {} into "
                "dataset, or remove query_source",
            )


def intersected_samples_have_ids(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Rows are matched by ids: without any there is nothing to intersect."""
    if not isinstance(dataset, ArraysDataset) or dataset.samples == "all":
        return
    if not any(isinstance(model, ArraysModel) and model.ids is not None for model in models):
        yield Problem(
            ("dataset", "samples"),
            "expected all, because no model has ids, found intersect: give each model a file with the ids of "
            "its rows, as ids",
        )


def families_read_the_dataset(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Every model reads what the samples are."""
    readers = _readers(dataset.kind)
    for position, model in enumerate(models):
        if isinstance(dataset, ArraysDataset) or isinstance(model, ArraysModel) or model.family in readers:
            continue
        kinds = FAMILIES[model.family].dataset_kinds if model.family in FAMILIES else MODULE_KINDS
        yield Problem(
            ("models", position, "family"),
            f"expected a family that reads {dataset.kind} ({', '.join(readers)}), found {model.family}, "
            f"which reads {', '.join(kinds)}: change dataset.kind or the family",
        )


def modules_have_tokenizers(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """A module brings no tokenizer."""
    if isinstance(dataset, ArraysDataset | ImagesDataset | TokensDataset):
        return
    for position, model in enumerate(models):
        if isinstance(model, ModuleModel) and model.tokenizer is None:
            yield Problem(
                ("models", position),
                f"expected the key tokenizer, because dataset.kind is {dataset.kind} and a module brings "
                "no tokenizer, found none: give a folder, package:<import name>/<folder> or a hub id",
            )


def encoded_samples_need_no_encoder(dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Samples that are token ids already are not encoded again."""
    if not isinstance(dataset, TokensDataset):
        return
    for position, model in enumerate(models):
        for key in ("tokenizer", "clusters"):
            if getattr(model, key, None) is not None:
                yield Problem(
                    ("models", position, key),
                    f"expected no {key}, because dataset.kind is tokens, whose samples are encoded already: "
                    f"remove {key}",
                )


def sites_exist(representations: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Every model has every site, as far as its family or its section says."""
    for position, site in enumerate(representations.sites):
        key: Key = ("representations", "sites", position)
        for number, known in _one_a_family(models):
            if message := _catalog_site(site, number, known):
                yield Problem(key, message)
        for number, module in _modules(models):
            if message := _module_site(site, number, module, representations):
                yield Problem(key, message)


def details_exist(representations: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Every model has what is to be kept whole."""
    for position, site in enumerate(representations.details.sites if representations.details else ()):
        key: Key = ("representations", "details", "sites", position)
        for number, known in _one_a_family(models):
            family = FAMILIES[known.family]
            if message := _absent(site, (*family.detail_sites, *family.sites), number, known):
                yield Problem(key, message)
        for number, module in _modules(models):
            if message := _module_detail(site, number, module, representations.details.layers):
                yield Problem(key, message)


def positions_differ(representations: Any, dataset: Any, models: Sequence[Any]) -> Iterator[Problem]:
    """Images of one model have the same positions, so that their embedding says nothing of them."""
    igpt = [number for number, model in enumerate(models) if model.family == "igpt"]
    if not isinstance(dataset, ImagesDataset) or not igpt:
        return
    for position, site in enumerate(representations.sites):
        if site == "pos_embed":
            yield Problem(
                ("representations", "sites", position),
                "expected a site that differs between images, because dataset.kind is images and "
                f"models[{igpt[0]}] '{models[igpt[0]].name}' has as many pixels in each: their positions are "
                "the same for every image, found 'pos_embed': take it out",
            )


def _readers(kind: str) -> tuple[str, ...]:
    """Families that read a kind of data set."""
    known = tuple(name for name, family in FAMILIES.items() if kind in family.dataset_kinds)
    return (*known, "module") if kind in MODULE_KINDS else known


def _one_a_family(models: Sequence[Any]) -> list[tuple[int, CatalogModel]]:
    """The first model of each family of the catalog: what one lacks, all lack."""
    first: dict[str, tuple[int, CatalogModel]] = {}
    for number, model in enumerate(models):
        if isinstance(model, CatalogModel):
            first.setdefault(model.family, (number, model))
    return list(first.values())


def _modules(models: Sequence[Any]) -> list[tuple[int, ModuleModel]]:
    return [(number, model) for number, model in enumerate(models) if isinstance(model, ModuleModel)]


def _catalog_site(site: str, number: int, model: CatalogModel) -> str:
    """What is wrong with a site of a model of the catalog; empty if nothing is."""
    family = FAMILIES[model.family]
    if is_module_glob(site):
        return (
            "expected a place in a block, because module globs are read by family 'module' and "
            f"models[{number}] '{model.name}' is of family '{model.family}', found '{site}': choose from "
            f"{', '.join(family.sites)}, or run the model as family 'module'"
        )
    return _absent(split_head(site)[0], family.sites, number, model)


def _absent(site: str, known: Sequence[str], number: int, model: CatalogModel) -> str:
    """Why a family lacks a site; empty if it is `known`."""
    if site in known:
        return ""
    return (
        f"expected what every model has, but models[{number}] '{model.name}' of family '{model.family}' has "
        f"no site '{site}' ({FAMILIES[model.family].absent_sites[site]}): choose from {', '.join(known)}"
    )


def _module_site(site: str, number: int, model: ModuleModel, asked: Any) -> str:
    """What is wrong with a site of a module; empty if nothing is, as far as its section says."""
    at = f"models[{number}] ({model.name})"
    base, head = split_head(site)
    if is_module_glob(site):
        return ""
    if model.blocks is None:
        return (
            f"expected module:<glob>, because {at} has no key blocks, found '{site}': add "
            f"models[{number}].blocks or change the site"
        )
    if message := _missing_place(base, at, model, asked.layers):
        return message
    if (
        base in HEAD_SITES
        and model.heads_of(base) is None
        and (head is not None or asked.heads == "separate")
    ):
        return f"expected n_heads in {at} to tell the heads of '{site}' apart, found none: add it"
    return ""


def _module_detail(site: str, number: int, model: ModuleModel, layers: Any) -> str:
    """What is wrong with a detail of a module; empty if nothing is, as far as its section says."""
    at = f"models[{number}] ({model.name})"
    if model.blocks is None:
        return f"expected blocks in {at}, which '{site}' is read from, found none: give its path"
    if site in SITES:
        return _missing_place(site, at, model, layers)
    needed = "attention" if site == "attention" else "head"
    return "" if getattr(model, needed) else _missing_path(needed, at, site)


def _missing_place(site: str, at: str, model: ModuleModel, layers: Any) -> str:
    """What a module with blocks does not say of a place in them; empty if it says all."""
    if site in EMBEDDING_SITES:
        return "" if site in model.embeddings else _missing_path(f"embeddings.{site}", at, site)
    if site not in (*CHAIN_SITES, *model.block_sites):
        return _missing_path(f"block_sites.{site}", at, site)
    if site in ("hidden_states", "ln_1") and model.final_norm is None and layers == "all":
        return _missing_path("final_norm", at, site)
    return ""


def _missing_path(key: str, at: str, site: str) -> str:
    return f"expected {key} in {at}, which '{site}' is read from, found none: give its path"
