"""A model in two processes on two nodes of a cluster: the stores of one process, also after a requeue."""

from __future__ import annotations

import time

import lab_jobs
import numpy as np
import pytest
from faulty_runs import LOCAL, FaultyRun, use
from lab_runs import ROOT, user_of

from hpcgeom.api.running import run_manifest
from hpcgeom.stages.run import Run
from hpcgeom.store.compare import differences

pytestmark = pytest.mark.slurm

EXTRACT = '{walltime: "00:10:00", jobs: 1, nodes: 2, memory_gb: 1.5}'
FIRST = "unit-recorded.extract.0"
CONFIG = (
    "{vocab_size: 50, n_positions: 16, n_embd: 32, n_layer: 4, n_head: 4, bos_token_id: 0, eos_token_id: 0}"
)


def write(folder, strategy):
    """A manifest of 600 rows of tokens and a small untrained GPT-2."""
    np.save(folder / "rows.npy", np.random.default_rng(5).integers(0, 50, (600, 12)))
    path = folder / f"{strategy}.yaml"
    path.write_text(
        "name: tokens\n"
        "dataset: {kind: tokens, path: rows.npy}\n"
        "models: [{name: gpt, family: gpt2, source: openai-community/gpt2, weights: random, "
        f"config: {CONFIG}, strategy: {strategy}}}]\n"
        "representations: {sites: [resid, ln_1, mlp_out], pooling: [mean, last]}\n"
        "extract: {tokens_per_batch: 512, unit_rows: 256}\n"
        "neighbors: {k: 8}\n"
        "geometry: {estimators: [twonn], overlap_k: [1, 8]}\n"
    )
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("reference")
    return run_manifest(write(folder, "replicate"), folder / "run", workers=1)


@pytest.fixture
def run(lab, monkeypatch, reference, tmp_path):
    use(lab, monkeypatch)
    return FaultyRun(lab, tmp_path / "own", write(reference.parent, "pipeline"), reference)


def processes_of(root):
    """What the records say of the processes of each unit."""
    done = Run(root)
    return [done.records("extract").load(unit).facts["processes"] for unit in done.units("extract")]


def test_a_requeued_job_on_two_nodes_ends_as_one_process_does(run):
    run.faults.hold(FIRST)
    run.submit(extract=EXTRACT, dask=LOCAL)
    run.faults.wait_for(FIRST)
    job = run.id_of("extract")
    state = run.state(job)
    assert (state["NumNodes"], state["NumTasks"]) == ("2", "2")
    run.lab.run("scontrol", "requeue", job)
    run.wait_for_log(job, "SIGTERM: the job ends (requeued)", 20)
    run.faults.release(FIRST)
    run.wait_until_complete()
    assert run.state(job)["Restarts"] == "1"
    first, _, last = run.attempts("extract")
    assert (first, last) == (0, 1)  # the second is written beside the first, where it is worked out by then
    for processes in processes_of(run.root):
        assert [each["process"] for each in processes] == [0, 1]
        assert len({each["pid"] for each in processes}) == 2
    assert not (run.root / "jobs" / "groups").exists()


@pytest.mark.slow
def test_a_killed_process_of_a_job_is_named_and_the_job_submitted_again_goes_on(run):
    run.faults.kill("part-written.extract.1")
    run.submit(extract=EXTRACT, dask=LOCAL)
    run.faults.wait_for("part-written.extract.1")
    job, began = run.id_of("extract"), time.monotonic()
    assert run.wait_until_over(job, 90)["JobState"] == "FAILED"
    assert time.monotonic() - began < 30
    assert "process 1 of 2 (blocks 2 to 3) on " in run.log(job)
    assert "is gone (" in run.log(job)
    run.drop_jobs()
    run.resubmit()
    run.wait_until_complete()


@pytest.mark.slow
@pytest.mark.parametrize(("wish", "strategy"), [("pipeline", "pipeline"), ("auto", "replicate")])
def test_two_tasks_by_hand_run_a_model_together_or_share_its_units(lab, reference, tmp_path, wish, strategy):
    root, manifest = tmp_path / "run", write(reference.parent, wish)
    words = ("slurm/extract.sh", str(manifest), str(root))
    options = ("--mem-per-cpu=1500M", "--nodes=2", "--ntasks=2", f"--output={tmp_path}/%j.out")
    environment = {**user_of(lab), "PYTHONPATH": str(ROOT)}
    job = lab_jobs.submit(lab, *options, *words, cwd=ROOT, environment=environment)
    (record,) = lab_jobs.wait_until_over(lab, job, 120)
    assert record["JobState"] == "COMPLETED", lab_jobs.output(record)
    found = differences(reference, root)
    assert found
    assert not [line for line in found if "activations" in line]
    done = Run(root)
    records = [done.records("extract").load(unit) for unit in done.units("extract")]
    assert {record.facts["strategy"] for record in records} == {strategy}
    if strategy == "pipeline":
        assert [[each["process"] for each in processes] for processes in processes_of(root)] == [[0, 1]] * 3
    else:
        assert len({record.made_by["pid"] for record in records}) == 2
    assert not (root / "jobs" / "groups").exists()
