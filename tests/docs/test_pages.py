"""Pages that would go stale silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcgeom.manifest import load_manifest
from hpcgeom.store.variables import ACTIVATIONS, DETAILS, NEIGHBORS, RESULTS, TOKEN_COORDINATES
from hpcgeom.types import Status

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_results_names_every_variable_with_its_dimensions_and_meaning():
    page = (ROOT / "docs" / "results.md").read_text()
    registries = (DETAILS, ACTIVATIONS, TOKEN_COORDINATES, NEIGHBORS, RESULTS)
    for name, variable in (entry for registry in registries for entry in registry.items()):
        assert f"| `{name}` | {', '.join(variable.dims)} | {variable.dtype} | {variable.long_name}" in page
    for status in Status:
        assert f"{int(status)} {status.name.lower()}" in page


@pytest.mark.parametrize("path", sorted((ROOT / "manifests").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_manifest_is_valid(path):
    assert load_manifest(path).manifest.name == path.stem


def test_the_manifest_in_the_readme_is_valid(tmp_path):
    text = (ROOT / "README.md").read_text()
    block = next(part for part in text.split("```yaml\n")[1:] if part.startswith("name:"))
    path = tmp_path / "readme.yaml"
    path.write_text(block.split("```")[0])
    assert load_manifest(path).manifest.models[0].family == "bert"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
