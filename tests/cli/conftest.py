"""Commands called as users call them, and one small finished run."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_inputs import write_inputs

from hpcgeom.api.drawing import draw
from hpcgeom.api.running import run_manifest


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


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
