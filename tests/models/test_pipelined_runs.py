"""Runs whose model is in several processes: the stores of one process, also after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_models_end_to_end import write_manifest, write_texts
from texts_for_tests import save_tokenizer, tiny_config
from transformers import BertModel

from hpcgeom.api.job import run_task
from hpcgeom.api.strategies import Resources
from hpcgeom.errors import IncompleteError, InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.footprints import Devices
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.strategies import choose
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

N = 700


def kill_once(moment, **about):
    """A hook: the leader dies when it has written the second unit."""
    if (moment, about.get("index")) == ("unit-recorded", 1):
        os.kill(os.getpid(), signal.SIGKILL)


def full_and_killed(moment, **about):
    """A hook: in the second process there is no memory for more than 24 rows; and the leader dies."""
    if moment == "pipeline-batch" and about["process"] == 1 and about["shape"][0] > 24:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")
    kill_once(moment, **about)


def wait_at_the_first(moment, **about):
    """A hook: the leader takes a while where the first unit is recorded."""
    if (moment, about.get("index")) == ("unit-recorded", 0):
        time.sleep(1.0)


def extracted(
    folder: Path, source: Path, strategy: str, splits_of: Path | None = None, **changes: str
) -> Path:
    """A run, whose batches are cut as those of another one."""
    model = f"{{name: tiny, family: bert, source: '{source}', strategy: {strategy}}}"
    manifest = write_manifest(folder, model, **changes)
    root = folder / strategy
    prepare(load_manifest(manifest), root)
    for path in splits_of.glob("records/extract/*.splits") if splits_of else ():
        (root / "records/extract").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "records/extract")
    run_task(root, "extract", resources=Resources(2 if strategy == "pipeline" else 1))
    return root


def in_groups(monkeypatch, hook: str) -> None:
    """The processes of groups call a function of this file."""
    monkeypatch.setenv("HPCGEOM_TEST_HOOK", f"test_pipelined_runs:{hook}")
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def record_of(root: Path, index: int) -> dict:
    return json.loads((root / f"records/extract/{index:06d}.json").read_text())


@pytest.fixture(scope="module")
def replicated(bert_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_texts(folder, N)
    return extracted(folder, bert_folder, "replicate")


@pytest.mark.slow
def test_a_killed_run_of_two_processes_goes_on_and_is_that_of_one(replicated, bert_folder, monkeypatch):
    folder = replicated.parent
    in_groups(monkeypatch, "kill_once")
    with pytest.raises(
        IncompleteError,
        match=r"1 of 3 units failed: process 0 of 2 \(blocks 0 to 1\) on .* was killed by signal 9 ",
    ):
        extracted(folder, bert_folder, "pipeline")
    monkeypatch.delenv("HPCGEOM_TEST_HOOK")
    root = folder / "pipeline"
    assert [unit.index for unit in Run(root).missing("extract")] == [2]
    run_task(root, "extract", resources=Resources(2))
    assert differences(replicated, root) == []
    assert verify(root).damaged == {}
    for index in range(3):
        own, other = (record_of(each, index) for each in (root, replicated))
        assert own["files"] == other["files"]
        assert [each["process"] for each in own["facts"]["processes"]] == [0, 1]
    assert not (root / "jobs/groups").exists()


@pytest.mark.slow
def test_batches_that_one_process_has_no_memory_for_are_cut_by_all_and_stay_so(
    bert_folder, monkeypatch, tmp_path
):
    """The run is killed, goes on where there is memory, and is that of one process with the same cuts."""
    write_texts(tmp_path, N)
    batches = "{tokens_per_batch: 512, unit_rows: 256}"
    in_groups(monkeypatch, "full_and_killed")
    with pytest.raises(
        IncompleteError, match=r"1 of 3 units failed: process 0 of 2 .* was killed by signal 9 "
    ):
        extracted(tmp_path, bert_folder, "pipeline", extract=batches)
    monkeypatch.delenv("HPCGEOM_TEST_HOOK")
    root = tmp_path / "pipeline"
    run_task(root, "extract", resources=Resources(2))
    cuts = [record_of(root, index)["facts"]["batch_splits"] for index in range(3)]
    assert all(n_pieces == 2 for of_unit in cuts[:2] for _, n_pieces in of_unit)
    assert cuts[0]
    assert cuts[1]
    one = extracted(tmp_path, bert_folder, "replicate", splits_of=root, extract=batches)
    assert [record_of(one, index)["facts"]["batch_splits"] for index in range(3)] == cuts
    assert differences(one, root) == []
    assert verify(root).damaged == {}


@pytest.mark.slow
@pytest.mark.parametrize(("block", "process"), [(0, 0), (3, 1)])
def test_a_sample_that_one_process_cannot_use_is_named(replicated, bert_folder, tmp_path, block, process):
    """Whichever process it is: not what the others say of its end."""
    write_texts(tmp_path, N)
    broken = tmp_path / "broken"
    shutil.copytree(bert_folder, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors[f"encoder.layer.{block}.output.dense.bias"][0] = float("nan")
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError,
        match=r"^stage 'extract': 3 of 3 units failed: model 'tiny', sample 't\d+': row \d+ of a batch "
        rf"has NaN or infinite activations at site '\w+', layer {block + 1}, .*: leave it out with dataset",
    ):
        extracted(tmp_path, broken, "pipeline")
    logs = [path.read_text() for path in (tmp_path / "pipeline" / "logs").iterdir()]
    assert len(logs) == 2
    assert all("leave it out with dataset.exclude" in log for log in logs)
    assert not any("Traceback" in log or "terminate" in log for log in logs)


@pytest.mark.slow
def test_a_run_that_is_told_to_end_ends_with_all_its_processes(replicated, bert_folder, tmp_path):
    write_texts(tmp_path, N)
    model = f"{{name: tiny, family: bert, source: '{bert_folder}', strategy: pipeline}}"
    manifest, root = write_manifest(tmp_path, model), tmp_path / "run"
    prepare(load_manifest(manifest), root)
    environment = {**os.environ, "HPCGEOM_TEST_HOOK": "test_pipelined_runs:wait_at_the_first"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    words = [
        sys.executable,
        "-m",
        "hpcgeom.cli.main",
        "run",
        "-m",
        manifest,
        "--run-dir",
        root,
        "--workers",
        "2",
    ]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    while len(Run(root).missing("extract")) == 3:
        time.sleep(0.1)
        assert process.poll() is None
    notes = [json.loads(path.read_text()) for path in (root / "jobs" / "groups").glob("*/process-*.json")]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert (process.returncode, len(notes)) == (143, 2)
    assert time.monotonic() - began < 20
    for note in notes:
        assert not Path(f"/proc/{note['pid']}").exists()
    assert not list((root / "records").rglob("*.lease"))
    run_task(root, "extract", resources=Resources(2))
    assert differences(replicated, root) == []


def step_of_two(root: Path, host_memory_gb: float) -> list[str]:
    """Two tasks of a step of SLURM by hand; what each printed."""
    words = ["task", root, "--stage", "extract", "--share", "slurm", "--host-memory-gb", host_memory_gb]
    of_step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2"}
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "hpcgeom.cli.main", *map(str, words)],
            env={**os.environ, **of_step, "SLURM_PROCID": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    said = [task.communicate(timeout=200)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    return said


@pytest.mark.slow
def test_tasks_of_a_step_choose_the_pipeline_where_a_whole_model_does_not_fit_into_each(tmp_path):
    BertModel(tiny_config(hidden_size=256, intermediate_size=1024)).save_pretrained(tmp_path / "bert")
    save_tokenizer(tmp_path / "bert")
    write_texts(tmp_path, N)
    few = {"representations": "{sites: [resid], pooling: [mean]}"}
    reference = extracted(tmp_path, tmp_path / "bert", "replicate", **few)
    manifest = write_manifest(tmp_path, f"{{name: tiny, family: bert, source: '{tmp_path / 'bert'}'}}", **few)
    run = prepare(load_manifest(manifest), tmp_path / "run")
    needs = needs_of(run.plan, run.plan.model("tiny"))
    whole, part = (choose("tiny", needs, how, Devices(2)).footprint for how in ("replicate", "pipeline"))
    first, second = step_of_two(run.root, 2 * (whole.host_bytes + part.host_bytes) / 2 / 2**30)
    assert "model 'tiny': pipeline over the 2 tasks of this step (replicate: needs " in first
    assert "pipeline" not in second
    assert {record_of(run.root, index)["facts"]["strategy"] for index in range(3)} == {"pipeline"}
    assert differences(reference, run.root) == []
    step_of_two(run.root, 64)  # nothing is left: nobody waits for the other
    other = prepare(load_manifest(manifest), tmp_path / "other")
    assert "pipeline" not in "".join(step_of_two(other.root, 64))
    made_by = [record_of(other.root, index)["made_by"]["pid"] for index in range(3)]
    assert (made_by[0] == made_by[2], made_by[0] == made_by[1]) == (True, False)
    for root in (run.root, other.root):
        assert not (root / "jobs" / "groups").exists()
