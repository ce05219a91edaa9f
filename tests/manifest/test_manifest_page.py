"""The page of the manifest names everything that a manifest may hold, and its examples are valid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from manifest_examples import TEXT, catalog

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.catalog.sites import DETAIL_SITES, POOLINGS, SITES, layers_of_site
from hpcgeom.manifest import Manifest
from hpcgeom.manifest.dataset_sections import TooLong
from hpcgeom.manifest.sections import (
    ArraysModel,
    ArraysQuery,
    CatalogModel,
    Details,
    Extract,
    Geometry,
    ImagesDataset,
    ModuleModel,
    Neighbors,
    Representations,
    TextDataset,
    TextQuery,
    TokensDataset,
    TokensQuery,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "manifest.md").read_text(encoding="utf-8")
ROWS = {line.partition(" | ")[0].strip("| "): line for line in PAGE.split("\n") if line.startswith("| `")}
CODE = {word for span in re.findall(r"`([^`\n]+)`", PAGE) for word in re.findall(r"[\w.]+", span)}
CODE |= {
    key for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for key in re.findall(r"\w+", block)
}


@pytest.mark.parametrize(
    "section",
    [
        ArraysModel,
        ArraysQuery,
        CatalogModel,
        Details,
        Extract,
        Geometry,
        ImagesDataset,
        ModuleModel,
        Neighbors,
        Representations,
        TextDataset,
        TextQuery,
        TokensDataset,
        TokensQuery,
    ],
    ids=lambda section: section.__name__,
)
def test_every_key_is_on_the_page(section):
    shown = {word.removeprefix(".").rpartition(".")[2] for word in CODE}
    assert set(section.model_fields) <= shown


def test_every_word_of_a_manifest_is_on_the_page():
    words = {*SITES, *DETAIL_SITES, *POOLINGS, *get_args(TooLong), *FAMILIES, "module", "arrays"}
    assert words <= CODE


@pytest.mark.parametrize("name", FAMILIES)
def test_families_read_and_lack_what_the_page_says(name):
    row = next(line for head, line in ROWS.items() if head.startswith(f"`{name}`") and "norm" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    family = FAMILIES[name]
    assert re.findall(r"[a-z]+", re.sub(r"\(.*?\)", "", cells[1])) == list(family.dataset_kinds)
    lacks = {word for word in re.findall(r"`(\w+)`", cells[3]) if (name, word) != ("igpt", "pos_embed")}
    assert lacks == set(family.absent_sites)
    assert ("causal" in cells[2]) is family.is_causal
    assert ("post-norm" in cells[2]) is ("ln_1" in family.absent_sites)


def test_layers_of_sites_are_those_of_the_page():
    layers = {"0": (0,), "0..L": (0, 1, 2), "1..L": (1, 2)}
    seen = set()
    for head, row in ROWS.items():
        sites = [site for site in re.findall(r"`(\w+)`", head) if site in SITES]
        if sites and row.split("|")[2].strip() in layers:
            seen |= set(sites)
            assert {layers_of_site(site, 2) for site in sites} == {layers[row.split("|")[2].strip()]}
    assert seen == set(SITES)


def test_the_examples_are_valid(load):
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    manifest = load(TEXT + block)
    assert [model.name for model in manifest.all_models] == [
        "training.step1000",
        "training.step2000",
        "untrained",
    ]
    assert isinstance(manifest, Manifest)


def test_the_example_of_other_samples_is_valid(load):
    (block,) = re.findall(r"```yaml intersect\n(.*?)```", PAGE, re.DOTALL)
    assert [model.ids for model in load(f"name: demo\n{block}").models] == ["ours/ids.txt", "theirs/ids.txt"]


def test_the_example_of_queries_is_valid(load):
    (block,) = re.findall(r"```yaml query\n(.*?)```", PAGE, re.DOTALL)
    manifest = load(f"name: demo\n{block}{catalog('esm2')}")
    assert manifest.dataset.query.path == "unknown.fa"
