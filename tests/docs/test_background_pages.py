"""Every page that shows how to repeat one of the background documents is run as it stands."""

from __future__ import annotations

import sys

import pytest
from pages import ROOT, commands, parts, run_page

from hpcgeom.manifest import load_manifest

PAGES = ("paper", "lab", "lecture", "gpt2", "small_transformer")


@pytest.fixture(params=PAGES)
def page(request):
    return ROOT / "docs" / f"{request.param}.md"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder to run in; Python blocks import the examples as the commands do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HPCGEOM_CACHE", str(tmp_path / "cache"))
    before = set(sys.modules)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in {path.stem for path in (ROOT / "docs" / "examples").glob("*.py")}:
            del sys.modules[name]


def test_a_page_does_what_it_says(page, checkout):
    run_page(page, checkout)
