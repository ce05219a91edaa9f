"""Runs that are handed to a real cluster, in every way that users do: each ends as `hpcgeom run` does."""

from __future__ import annotations

import pytest
from lab_runs import LOCAL, LabRun, ids_as_names, scripts_shown, scripts_submitted

pytestmark = pytest.mark.slurm

MODES = {
    "allocation": {},
    "jobqueue": {"mode: allocation": "mode: jobqueue"},
}


@pytest.fixture
def run(lab, finished, tmp_path):
    """A run that was not begun, whose Dask stages are jobs of one process."""
    return LabRun(lab, tmp_path / "own", finished.manifest, finished.root)


def files_of(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


@pytest.mark.parametrize("mode", MODES)
def test_a_submitted_run_is_that_of_run_and_submitting_it_again_does_nothing(lab, finished, tmp_path, mode):
    run = LabRun(lab, tmp_path / "own", finished.manifest, finished.root, MODES[mode])
    before = files_of(run.folder)
    shown = scripts_shown(run.submit_dry())
    assert files_of(run.folder) == before
    assert run.queue() == set()
    run.submit()
    assert {name: ids_as_names(text, run.jobs()) for name, text in scripts_submitted(run.root).items()} == shown
    run.finish()
