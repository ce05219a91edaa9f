"""Commands called as users call them, and one small finished run."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hpcgeom.api.drawing import draw
from hpcgeom.api.running import run_manifest

MANIFEST = """\
name: small
dataset:
  kind: arrays
  ids: ids.txt
  labels:
    group: {file: group.tsv}
models:
  - {name: first, family: arrays, source: "first{layer}.npy"}
  - {name: second, family: arrays, source: "second{layer}.npy"}
neighbors: {k: 16}
geometry: {gride_range_max: 16, overlap_k: [1, 5], data_fractions: [1.0, 0.5]}
"""
N_POINTS, WIDTH = 1000, 256


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def write_inputs(folder: Path, text: str = MANIFEST) -> Path:
    """Points of three layers of two models, with labels that are not ASCII, and their manifest."""
    rng = np.random.default_rng(0)
    for name in ("first0", "first1", "second0"):
        np.save(folder / f"{name}.npy", rng.standard_normal((N_POINTS, WIDTH)).astype(np.float32))
    ids = [f"größe-{row}" for row in range(N_POINTS)]
    (folder / "ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    rows = [f"{name}\t{'αβ'[row % 2]}" for row, name in enumerate(ids)]
    (folder / "group.tsv").write_text("\n".join(["id\tlabel", *rows]) + "\n", encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def manifest(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def run(manifest, tmp_path_factory) -> Path:
    """A finished run with its figures; nobody changes it."""
    root = tmp_path_factory.mktemp("runs") / "small"
    run_manifest(manifest, root, workers=1)
    draw(root)
    return root


@pytest.fixture
def hpcgeom(monkeypatch, capsys, tmp_path):
    """Call the command line in this process, in an empty folder."""
    from hpcgeom.cli.main import entry_point

    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hpcgeom", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            entry_point()
        shown = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Outcome(caught.value.code, shown.out, shown.err)

    yield call
    signal.signal(signal.SIGTERM, before)
