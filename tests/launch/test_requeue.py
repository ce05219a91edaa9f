"""What happens to the job that a process is in, from recorded answers of the controller."""

from __future__ import annotations

import time

import pytest
from fake_scheduler import BANNER, CONFIG, CONTROLLER_IS_DOWN, FakeScheduler, job_line

from hpcgeom.launch.slurm import requeue
from hpcgeom.launch.slurm.calling import SchedulerError
from hpcgeom.launch.slurm.requeue import Situation, situation

NOW = 1795606865
STARTED = NOW - 100


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    """A job of ours whose controller's clock is at `NOW`."""
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "31")
    found = FakeScheduler(tmp_path, monkeypatch)
    found.says("scontrol", CONFIG.replace("1795606750", str(NOW)), when="show config")
    return found


def running(**changed: object) -> str:
    usual = {"start": STARTED, "end": STARTED + 600, "run_time": "00:01:40", "preempt": "None"}
    return job_line("RUNNING", **{**usual, **changed})


def runs_as(word: str, **changed: object) -> str:
    """It runs, which another word says: SIGNALING while the controller still sends a signal."""
    return running(**changed).replace("JobState=RUNNING", f"JobState={word}")


@pytest.mark.parametrize(
    ("line", "own_restarts", "expected"),
    [
        (running(), "", Situation("running", 500.0)),
        (
            running(preempt=""),
            "",
            Situation("running", 500.0),
        ),  # where nothing preempts there is no such field
        (running(restarts=2), "2", Situation("running", 500.0)),
        (running(preempt=NOW, end=NOW + 12), "", Situation("preempted", 12.0)),
        (runs_as("SIGNALING", preempt=NOW, end=NOW + 12), "", Situation("preempted", 12.0)),
        (runs_as("RESIZING", preempt=NOW, end=NOW + 12), "", Situation("preempted", 12.0)),
        (runs_as("SIGNALING"), "", Situation("running", 500.0)),
        (running(preempt=NOW - 15, end=NOW - 3), "", Situation("preempted", 0.0)),  # the sweep comes later
        (job_line("COMPLETING", restarts=1, start=NOW, end=NOW + 600), "", Situation("requeued")),
        (job_line("COMPLETING", restarts=1, start="Unknown", end="Unknown"), "", Situation("requeued")),
        (job_line("COMPLETING", restarts=3, preempt=NOW, end=NOW), "2", Situation("requeued")),
        (job_line("PENDING", restarts=1, reason="BeginTime"), "", Situation("requeued")),
        (job_line("COMPLETING", exit_code="0:15", end=NOW), "", Situation("cancelled")),
        (job_line("COMPLETING", exit_code="0:15", end=NOW, restarts=1), "1", Situation("cancelled")),
        (job_line("COMPLETING", exit_code="0:15", end=NOW, preempt=NOW), "", Situation("preempted")),
        (job_line("COMPLETING", exit_code="0:15", end=NOW, preempt=NOW - 3), "", Situation("cancelled")),
        (job_line("COMPLETING", exit_code="0:15", reason="TimeLimit", end=NOW), "", Situation("time_limit")),
        (job_line("CANCELLED", exit_code="0:15", end=NOW), "", Situation("cancelled")),
        (job_line("TIMEOUT", reason="TimeLimit", end=NOW), "", Situation("time_limit")),
        (job_line("PREEMPTED", end=NOW), "", Situation("preempted")),
        (job_line("NODE_FAIL", end=NOW), "", Situation("unknown")),
        (BANNER + running(), "", Situation("running", 500.0)),
        (running(name="a JobState=COMPLETING"), "", Situation("running", 500.0)),
    ],
)
def test_the_controllers_words_say_what_happens(scheduler, monkeypatch, line, own_restarts, expected):
    if own_restarts:
        monkeypatch.setenv("SLURM_RESTART_COUNT", own_restarts)
    scheduler.says("scontrol", line, when="show job -o 31")
    assert situation() == expected


def test_a_process_whose_job_runs_again_elsewhere_belongs_to_the_past(scheduler):
    # Its node was lost for the controller, but not for the process.
    scheduler.says("scontrol", running(restarts=1), when="show job -o 31")
    assert situation().kind == "requeued"


@pytest.mark.parametrize(
    ("run_time", "left"), [("00:01:40", 500.0), ("00:05:00", 300.0), ("00:00:00", 500.0)]
)
def test_the_clock_that_leaves_less_time_counts(scheduler, run_time, left):
    # RunTime is counted by the node's clock: the three agree, it is ahead, it is behind.
    scheduler.says("scontrol", running(run_time=run_time), when="show job")
    assert situation() == Situation("running", left)


def test_without_the_controllers_clock_the_nodes_is_used(scheduler):
    scheduler.says("scontrol", stderr=CONTROLLER_IS_DOWN, code=1, when="show config")
    scheduler.says("scontrol", running(), when="show job")
    assert situation() == Situation("running", 500.0)


def test_no_limit_of_time_means_that_nobody_knows_how_much_is_left(scheduler):
    scheduler.says("scontrol", running(end="Unknown"), when="show job")
    assert situation() == Situation("running", None)


def test_times_are_asked_for_without_a_zone_and_from_outside_of_the_job(scheduler):
    scheduler.says("scontrol", running(), when="show job")
    situation()
    found = scheduler.environment("scontrol")
    assert found["SLURM_TIME_FORMAT"] == "%s"
    assert "SLURM_JOB_ID" not in found


def test_an_element_of_an_array_is_asked_for_by_its_number(scheduler, monkeypatch):
    # The last element to start has the number of the whole array as its own.
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "31")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    scheduler.says("scontrol", running(elements="5"), when="show job -o 31_5")
    assert requeue.job_id() == "31_5"
    assert situation() == Situation("running", 500.0)


def test_the_lines_of_several_elements_are_not_ours(scheduler):
    scheduler.says("scontrol", running(elements="5") + running(elements="6"), when="show job")
    assert situation() == Situation("unknown")


@pytest.mark.parametrize("trouble", ["failing", "absent", "empty", "not in a job"])
def test_where_the_controller_does_not_say_it_is_unknown(scheduler, monkeypatch, trouble):
    if trouble == "failing":
        scheduler.says("scontrol", stderr=CONTROLLER_IS_DOWN, code=1)
    elif trouble == "absent":
        (scheduler.folder / "scontrol").unlink()
    elif trouble == "empty":
        scheduler.says("scontrol", BANNER)
    else:
        monkeypatch.delenv("SLURM_JOB_ID")
        scheduler.says("scontrol", running())
    assert situation() == Situation("unknown")


def test_a_controller_that_hangs_does_not_cost_the_time_that_is_left(scheduler, monkeypatch):
    assert requeue.TIMEOUT_S == 5.0
    monkeypatch.setattr(requeue, "TIMEOUT_S", 0.3)
    scheduler.hangs("scontrol", when="show job")
    start = time.monotonic()
    assert situation() == Situation("unknown")
    assert time.monotonic() - start < 2.0


def test_a_job_is_requeued_by_its_id(scheduler, monkeypatch):
    scheduler.says("scontrol", when="requeue")
    requeue.requeue()
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "29")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    requeue.requeue()
    assert scheduler.calls("scontrol") == ["requeue 31", "requeue 29_0"]


def test_a_requeue_that_is_refused_is_an_error(scheduler, monkeypatch):
    scheduler.says("scontrol", stderr="Requested operation is presently disabled for job 31", code=1)
    with pytest.raises(
        SchedulerError, match=r"`scontrol requeue 31` failed with code 1 \(Requested operation is"
    ):
        requeue.requeue()
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(SchedulerError, match=r"no job to requeue: expected SLURM_JOB_ID .* found none"):
        requeue.requeue()


@pytest.mark.parametrize(("text", "count"), [(None, 0), ("", 0), ("3", 3), ("x", 0)])
def test_a_first_run_has_no_count_of_restarts(scheduler, monkeypatch, text, count):
    if text is not None:
        monkeypatch.setenv("SLURM_RESTART_COUNT", text)
    assert requeue.restarts() == count
