"""Nothing is downloaded, and what is converted on the way stays in the folders of the tests."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="module")
def caches(tmp_path_factory):
    """Empty ones: a model that somebody has downloaded is not taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPCGEOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HPCGEOM_MIRROR"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The folder of the manifests."""
    return Path(__file__).resolve().parents[2] / "manifests"
