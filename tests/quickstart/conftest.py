"""The quickstart's manifest, trained weights and kind of data; the whole of it in the slow tests."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
N_SAMPLES = 520
MAX_CHARACTERS = 300


def collect_docstrings(path: Path) -> list[dict[str, str]]:
    """The quickstart's samples, collected as `make data` does."""
    tool = ROOT / "tools" / "collect_docstrings.py"
    subprocess.run([sys.executable, str(tool), "--out", str(path)], check=True, capture_output=True)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def docstrings(tmp_path_factory) -> list[dict[str, str]]:
    return collect_docstrings(tmp_path_factory.mktemp("docstrings") / "docstrings.jsonl")


@pytest.fixture(scope="session")
def make_quickstart(docstrings, tmp_path_factory):
    """Makes a folder with the quickstart's manifest and some of its samples: all, or short ones."""

    def make(n_samples: int) -> Path:
        folder = tmp_path_factory.mktemp("quickstart")
        (folder / "data").mkdir()
        found = [
            row for row in docstrings if len(row["text"]) < MAX_CHARACTERS or n_samples == len(docstrings)
        ]
        rows = [found[i * len(found) // n_samples] for i in range(n_samples)]
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / "data" / "docstrings.jsonl").write_text("".join(lines), encoding="utf-8")
        text = (ROOT / "manifests" / "quickstart.yaml").read_text()
        (folder / "quickstart.yaml").write_text(text.replace("unit_rows: 512", "unit_rows: 256"))
        return folder / "quickstart.yaml"

    return make


@pytest.fixture(scope="session")
def manifest(make_quickstart) -> Path:
    return make_quickstart(N_SAMPLES)


@pytest.fixture(scope="session")
def run(manifest, tmp_path_factory) -> Path:
    from hpcgeom.api.running import run_manifest

    return run_manifest(manifest, tmp_path_factory.mktemp("run") / "one", workers=1)
