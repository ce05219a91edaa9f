"""The sections as a whole: documented, immutable, light, and usable from Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from hpcgeom.catalog.families import FAMILIES
from hpcgeom.manifest import CatalogModel, Manifest, Neighbors, TextDataset
from hpcgeom.manifest.catalog_section import is_hub_id
from hpcgeom.manifest.fields import Section

HEAVY = {
    "numpy",
    "torch",
    "transformers",
    "xarray",
    "zarr",
    "dask",
    "scipy",
    "pandas",
    "matplotlib",
    "pyarrow",
}


def all_sections(root: type[Section] = Section) -> Iterator[type[Section]]:
    for section in root.__subclasses__():
        yield section
        yield from all_sections(section)


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        name="demo",
        dataset=TextDataset(kind="text", path="a.tsv"),
        models=(CatalogModel(name="m", family="bert", source="org/name"),),
    )


@pytest.mark.parametrize("section", list(all_sections()), ids=lambda section: section.__name__)
def test_every_section_and_key_says_what_it_is(section):
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_schema_for_editors_has_every_key():
    schema = Manifest.model_json_schema()
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Neighbors"]["properties"]["k"]["minimum"] == 2
    sections = schema["$defs"]
    assert sections["CatalogModel"]["properties"]["family"]["enum"] == list(FAMILIES)
    assert sections["Checkpoint"]["required"] == ["step", "source"]
    assert set(sections["Details"]["properties"]) == {"sites", "samples", "layers"}
    assert {"ImagesDataset", "TokensDataset", "ImagesLabel", "ModuleModel"} <= set(sections)


def test_a_manifest_cannot_be_changed(manifest):
    with pytest.raises(ValidationError, match="frozen"):
        manifest.name = "other"
    with pytest.raises(ValidationError, match="frozen"):
        manifest.neighbors.k = 3


def test_contradictions_are_found_from_python_too(manifest):
    with pytest.raises(
        ValidationError, match=r"geometry\.overlap_k: expected at most neighbors\.k = 3, found 50"
    ):
        Manifest(name="demo", dataset=manifest.dataset, models=manifest.models, neighbors=Neighbors(k=3))


@pytest.mark.parametrize("source", ["facebook/esm2_t6_8M_UR50D", "a.b/c-d"])
def test_an_owner_and_a_name_look_like_a_hub_id(source):
    assert is_hub_id(source)


@pytest.mark.parametrize(
    "source", ["folder", "./folder", "../folder", "/folder", "a/b/c", "package:a/b", "a/"]
)
def test_other_sources_do_not_look_like_a_hub_id(source):
    assert not is_hub_id(source)


def test_importing_the_manifest_is_quick_and_light():
    code = (
        "import sys, time; start = time.process_time(); import hpcgeom.manifest; "
        "print(time.process_time() - start, *{name.partition('.')[0] for name in sys.modules})"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    words = [run.stdout.split() for run in runs]
    assert not HEAVY & set(words[0])
    assert min(float(seconds) for seconds, *_ in words) < 0.35
