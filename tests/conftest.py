"""Runs that several tests read; whoever changes one changes a copy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest


class Finished(NamedTuple):
    """A manifest and its finished run."""

    manifest: Path
    root: Path


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Finished:
    """The run of `arrays_run.MANIFEST`, done in one process; read only."""
    import arrays_run  # here, so that tests that do not run anything start fast

    folder = tmp_path_factory.mktemp("clouds")
    arrays_run.write_clouds(folder)
    manifest = arrays_run.write_manifest(folder)
    return Finished(manifest, arrays_run.run_manifest(manifest, folder / "run", workers=1))


@pytest.fixture
def run_copy(finished, tmp_path) -> Path:
    """A copy of the finished run, to be changed."""
    import arrays_run

    return arrays_run.copy_run(finished.root, tmp_path / "copy")
