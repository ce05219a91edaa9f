"""Runs whose model is in several processes: the stores of one process, also after a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from test_models_end_to_end import write_manifest, write_texts

from hpcgeom.api.job import run_task
from hpcgeom.errors import IncompleteError
from hpcgeom.manifest import load_manifest
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

N = 700


def kill_once(moment, **about):
    """A hook: the leader dies when it has written the second unit."""
    if (moment, about.get("index")) == ("unit-recorded", 1):
        os.kill(os.getpid(), signal.SIGKILL)


def extracted(folder: Path, source: Path, strategy: str, **changes: str) -> Path:
    model = f"{{name: tiny, family: bert, source: '{source}', strategy: {strategy}}}"
    manifest = write_manifest(folder, model, **changes)
    root = folder / strategy
    prepare(load_manifest(manifest), root)
    run_task(root, "extract", processes=2 if strategy == "pipeline" else 1)
    return root


def record_of(root: Path, index: int) -> dict:
    return json.loads((root / f"records/extract/{index:06d}.json").read_text())


@pytest.fixture(scope="module")
def replicated(bert_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_texts(folder, N)
    return extracted(folder, bert_folder, "replicate")


def test_a_killed_run_of_two_processes_goes_on_and_is_that_of_one(replicated, bert_folder, monkeypatch):
    folder = replicated.parent
    monkeypatch.setenv("HPCGEOM_TEST_HOOK", "test_pipelined_runs:kill_once")
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    with pytest.raises(
        IncompleteError,
        match=r"1 of 3 units failed: process 0 of 2 \(blocks 0 to 1\) on .* was killed by signal 9 ",
    ):
        extracted(folder, bert_folder, "pipeline")
    monkeypatch.delenv("HPCGEOM_TEST_HOOK")
    root = folder / "pipeline"
    assert [unit.index for unit in Run(root).missing("extract")] == [2]
    run_task(root, "extract", processes=2)
    assert differences(replicated, root) == []
    assert verify(root).damaged == {}
    for index in range(3):
        own, other = (record_of(each, index) for each in (root, replicated))
        assert own["files"] == other["files"]
        assert [each["process"] for each in own["facts"]["processes"]] == [0, 1]
    assert not (root / "jobs/groups").exists()
