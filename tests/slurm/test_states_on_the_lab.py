"""States of jobs, and what happens to one, as a real scheduler tells them; with and without accounting."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from lab_jobs import submit, wait_for, wait_for_state, wait_until_over

from hpcgeom.launch.slurm import commands
from hpcgeom.launch.slurm.calling import SchedulerError
from hpcgeom.launch.slurm.states import JobState, alive_by_name, states_of

pytestmark = pytest.mark.slurm

SMALL = ("-n1", "--mem=50")


@pytest.fixture(params=["lab", "lab_without_accounting"])
def cluster(request, monkeypatch):
    """Each of the two clusters, made ours."""
    found = request.getfixturevalue(request.param)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def accounted(lab, monkeypatch):
    """The cluster with accounting, made ours."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    return lab


def words(found) -> dict[str, str]:
    return {job: state.state for job, state in found.items()}


def test_facts_of_the_cluster(cluster):
    assert commands.controller_answers()
    assert commands.max_array_size() == cluster.options.max_array_size
    found = commands.partitions()
    assert {name: part.default for name, part in found.items()} == {"main": True, "low": False, "high": False}
    cluster.node_down("n2")
    cluster.partition_down("low")
    one, two = commands.nodes()
    assert (one.name, one.cpus, one.gres_gpus, one.is_usable) == ("n1", cluster.options.cpus, 2, True)
    assert (two.name, two.memory_mb, two.is_usable) == ("n2", cluster.options.memory_mb, False)
    assert commands.partitions()["low"].state == "DOWN"


def test_jobs_of_every_kind_are_told_apart(cluster):
    running = submit(cluster, *SMALL, "--wrap", "sleep 100")
    held = submit(cluster, *SMALL, "-H", "--wrap", "true")
    waiting = submit(cluster, *SMALL, f"--dependency=afterok:{running}", "--wrap", "true")
    done = submit(cluster, *SMALL, "--wrap", "true")
    failed = submit(cluster, *SMALL, "--wrap", "exit 3")
    killed = submit(cluster, *SMALL, "--wrap", "kill -9 $$")
    # A shell whose child is signaled first may end with 143 by itself, so there is no child.
    cancelled = submit(cluster, *SMALL, "--wrap", "exec sleep 100")
    wait_for_state(cluster, cancelled, "RUNNING")
    commands.cancel([cancelled, "999999"])
    for job in (done, failed, killed, cancelled):
        wait_until_over(cluster, job)
    wait_for_state(cluster, running, "RUNNING")
    found = states_of([running, held, waiting, done, failed, killed, cancelled, "999999"])
    assert found == {
        running: JobState(running, "running", "", "0:0", 0, "squeue"),
        held: JobState(held, "pending", "JobHeldUser", "0:0", 0, "squeue"),
        waiting: JobState(waiting, "pending", "Dependency", "0:0", 0, "squeue"),
        done: JobState(done, "completed", "", "0:0", 0, "squeue"),
        failed: JobState(failed, "failed", "NonZeroExitCode", "3:0", 0, "squeue"),
        killed: JobState(killed, "failed", found[killed].reason, "0:9", 0, "squeue"),
        cancelled: JobState(cancelled, "cancelled", "", found[cancelled].exit_code, 0, "squeue"),
        "999999": JobState("999999", "unknown", "neither squeue nor sacct knows it"),
    }
    assert found[held].is_held
    assert found[cancelled].exit_code in ("0:15", "0:9")


def test_an_array_is_told_element_by_element(cluster):
    array = submit(
        cluster, *SMALL, "--array=0-3%2", "--wrap", "[ $SLURM_ARRAY_TASK_ID != 1 ] && sleep 100; exit 4"
    )
    wait_for(cluster, f"{array}_1", lambda record: record["JobState"] == "FAILED")
    wait_for_state(cluster, f"{array}_2", "RUNNING")
    commands.cancel([f"{array}_0"])
    wait_until_over(cluster, f"{array}_0")
    wait_for_state(cluster, f"{array}_3", "RUNNING")
    assert words(states_of([array])) == {
        f"{array}_0": "cancelled",
        f"{array}_1": "failed",
        f"{array}_2": "running",
        f"{array}_3": "running",
    }
    assert list(states_of([f"{array}_2"])) == [f"{array}_2"]


@pytest.mark.parametrize("elements", ["0-18:2", "1,3,5", "0-2,4,7-8,10,13-14,16,19%2"])
def test_no_element_that_waits_is_left_out(cluster, elements):
    # squeue -r leaves out 18 of 0-18:2.
    array = submit(cluster, *SMALL, "-H", f"--array={elements}", "-J", "stepped", "--wrap", "true")
    expected = {
        "0-18:2": range(0, 19, 2),
        "1,3,5": (1, 3, 5),
        "0-2,4,7-8,10,13-14,16,19%2": (0, 1, 2, 4, 7, 8, 10, 13, 14, 16, 19),
    }[elements]
    ids = [f"{array}_{index}" for index in expected]
    assert words(states_of([array])) == dict.fromkeys(ids, "pending")
    assert alive_by_name(["stepped", "other"]) == {"stepped": ids, "other": []}
    commands.cancel([array])
    wait_until_over(cluster, array)
    assert words(states_of([array])) == dict.fromkeys(ids, "cancelled")
    assert alive_by_name(["stepped"]) == {"stepped": []}


def test_a_requeued_job_waits_with_its_count_of_restarts(cluster):
    job = submit(cluster, *SMALL, "--requeue", "--wrap", "sleep 100")
    wait_for_state(cluster, job, "RUNNING")
    cluster.run("scontrol", "requeue", job)
    wait_for_state(cluster, job, "PENDING")
    assert states_of([job])[job] == JobState(job, "pending", "BeginTime", "0:0", 1, "squeue")
    cluster.run("scontrol", "hold", job)
    assert states_of([job])[job].is_held


@pytest.mark.slow
def test_without_the_controller_the_accounting_tells_what_it_knows(accounted):
    array = submit(accounted, *SMALL, "--array=0-1", "--wrap", "exit $SLURM_ARRAY_TASK_ID")
    running = submit(accounted, *SMALL, "--requeue", "--wrap", "sleep 100")
    wait_until_over(accounted, array)
    wait_for_state(accounted, running, "RUNNING")
    accounted.run("scontrol", "requeue", running)
    wait_for_state(accounted, running, "PENDING")
    time.sleep(3)  # the accounting lags behind
    accounted.stop_controller()
    found = states_of([array, running, "999999"], since=time.strftime("%Y-%m-%dT%H:%M:%S"))
    assert {job: (state.state, state.exit_code, state.source) for job, state in found.items()} == {
        f"{array}_0": ("completed", "0:0", "sacct"),
        f"{array}_1": ("failed", "1:0", "sacct"),
        running: ("pending", "0:0", "sacct"),
        "999999": ("unknown", "", ""),
    }
    assert found[running].restarts == 1
    assert "squeue does not answer" in found["999999"].reason
    assert not commands.controller_answers()
    with pytest.raises(SchedulerError, match=r"`squeue .* failed with code 1 .*try again in a few minutes"):
        alive_by_name(["any"])


def test_a_stopped_accounting_is_no_obstacle(accounted):
    job = submit(accounted, *SMALL, "--wrap", "exit 3")
    wait_until_over(accounted, job)
    accounted.stop_accounting()
    found = states_of([job, "999999"])
    assert (found[job].state, found[job].source) == ("failed", "squeue")
    assert found["999999"].state == "unknown"


_HANDLER = """
import os, signal, sys, time
from hpcgeom.launch.slurm import requeue
def write(word, found):
    line = f"{word} {requeue.restarts()} {found.kind} {found.seconds_left}\\n"
    os.write(notes, line.encode())
def on_signal(number, _):
    write(signal.Signals(number).name, requeue.situation())
    if "again" in sys.argv and requeue.restarts() == 0:
        sys.argv.remove("again")
        requeue.requeue()
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, on_signal)
write("started", requeue.situation())
deadline = time.monotonic() + 100
while time.monotonic() < deadline:
    time.sleep(0.1)
"""


def noting(cluster, notes: Path, *arguments: str, words: str = "") -> str:
    """Submit a job whose process notes what happens whenever it is told to end."""
    script = notes.with_suffix(".py")
    script.write_text(_HANDLER)
    command = f"srun {sys.executable} {script} {notes} {words}"
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    job = submit(cluster, *SMALL, "-t", "10", *arguments, "--wrap", command, environment=path)
    assert noted(notes, "started", 1) == [["0", "running", noted(notes, "started", 1)[0][2]]]
    assert 590 <= float(noted(notes, "started", 1)[0][2]) <= 600
    return job


def noted(notes: Path, word: str, n_lines: int) -> list[list[str]]:
    """The lines that begin with a word, when there are so many."""
    for _ in range(400):
        lines = notes.read_text().splitlines() if notes.exists() else []
        found = [line.split()[1:] for line in lines if line.startswith(word)]
        if len(found) >= n_lines:
            return found
        time.sleep(0.1)
    raise AssertionError(f"fewer than {n_lines} lines '{word}' in {lines}")


def test_a_cancelled_job_knows_that_it_is(cluster, tmp_path):
    job = noting(cluster, tmp_path / "notes")
    commands.cancel([job])
    assert noted(tmp_path / "notes", "SIGTERM", 1)[0] == ["0", "cancelled", "None"]


def test_an_element_of_an_array_knows_that_it_alone_is_requeued(cluster, tmp_path):
    job = noting(cluster, tmp_path / "notes", "--array=5", "--requeue")
    cluster.run("scontrol", "requeue", f"{job}_5")
    assert noted(tmp_path / "notes", "SIGTERM", 1)[0] == ["0", "requeued", "None"]


def test_a_warning_ahead_of_the_end_finds_a_running_job(cluster, tmp_path):
    job = noting(cluster, tmp_path / "notes")
    cluster.run("scancel", "--signal=USR1", job)
    restarts, kind, left = noted(tmp_path / "notes", "SIGUSR1", 1)[0]
    assert (restarts, kind) == ("0", "running")
    assert 580 <= float(left) <= 600


@pytest.mark.slow
def test_a_preempted_job_knows_how_long_its_grace_is_and_can_requeue_itself(cluster, tmp_path):
    notes = tmp_path / "notes"
    cpus = str(cluster.options.cpus)
    job = noting(cluster, notes, "-p", "low", "-c", cpus, "-w", "n1", "--requeue", words="again")
    submit(cluster, "-p", "high", "-w", "n1", "--mem=50", "-n1", "-c", cpus, "-t", "1", "--wrap", "true")
    (_, kind, left), *later = noted(notes, "SIGTERM", 2)
    assert kind == "preempted"
    assert cluster.options.grace_time_s - 3 <= float(left) <= cluster.options.grace_time_s
    assert later[0] == ["0", "requeued", "None"]
    assert noted(notes, "started", 2)[1][:2] == ["1", "running"]
    assert states_of([job])[job].restarts == 1


@pytest.mark.slow
def test_a_job_that_is_cancelled_in_its_grace_is_cancelled(cluster, tmp_path):
    notes = tmp_path / "notes"
    cpus = str(cluster.options.cpus)
    with cluster.reconfigured(grace_time_s=30):
        job = noting(cluster, notes, "-p", "low", "-c", cpus, "-w", "n1", "--requeue")
        submit(cluster, "-p", "high", "-w", "n1", "--mem=50", "-n1", "-c", cpus, "-t", "1", "--wrap", "true")
        assert noted(notes, "SIGTERM", 1)[0][1] == "preempted"
        time.sleep(3)
        commands.cancel([job])
        assert noted(notes, "SIGTERM", 2)[1] == ["0", "cancelled", "None"]
        wait_until_over(cluster, job)


@pytest.mark.slow
def test_a_job_that_may_not_be_requeued_is_preempted_for_good(cluster, tmp_path):
    notes = tmp_path / "notes"
    cpus = str(cluster.options.cpus)
    with cluster.reconfigured(grace_time_s=0):
        job = noting(cluster, notes, "-p", "low", "-c", cpus, "-w", "n1", "--no-requeue")
        submit(cluster, "-p", "high", "-w", "n1", "--mem=50", "-n1", "-c", cpus, "-t", "1", "--wrap", "true")
        assert noted(notes, "SIGTERM", 1)[0] == ["0", "preempted", "None"]
        wait_until_over(cluster, job)
        assert states_of([job])[job].state == "preempted"


def test_this_process_is_in_no_job():
    assert "SLURM_JOB_ID" not in os.environ
