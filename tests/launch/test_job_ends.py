"""How a job ends: goes on later, for good, or with an error; and which units are an element's own."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from fake_scheduler import CONFIG, CONTROLLER_IS_DOWN, FakeScheduler, job_line

from hpcgeom.api import job as jobs
from hpcgeom.api.job import MAX_REQUEUES, heeding
from hpcgeom.api.steps import share_of_slurm
from hpcgeom.errors import HpcgeomError, IncompleteError, InputError, ResourceError
from hpcgeom.interrupts import Stopped
from hpcgeom.launch.slurm.calling import SchedulerError
from hpcgeom.launch.stopping import Stop
from hpcgeom.store.jobs import Job, write_job

NOW = 1795606865
RUNS = {"start": NOW - 100, "end": NOW + 500, "run_time": "00:01:40"}
RUNNING = job_line("RUNNING", **RUNS, preempt="None")
IN_GRACE = job_line("RUNNING", **{**RUNS, "end": NOW + 60}, preempt=NOW)
AGAIN = "hpcgeom: the job is in the queue again and goes on later\n"


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    """A job of ours that runs, and may be requeued."""
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "31")
    found = FakeScheduler(tmp_path, monkeypatch)
    found.says("scontrol", CONFIG.replace("1795606750", str(NOW)), when="show config")
    found.says("scontrol", RUNNING, when="show job")
    found.says("scontrol", when="requeue")
    return found


def end_of(body: Callable[[Stop], None], walltime_s: float = 600.0, **limits: int) -> BaseException | None:
    """What a job ends with whose body this is."""
    try:
        with heeding(walltime_s, **limits) as stop:
            body(stop)
    except (Stopped, HpcgeomError) as error:
        return error
    return None


def hears(number: signal.Signals, n_done: int = 1) -> Callable[[Stop], None]:
    """A body that does units, and is then sent a signal."""

    def body(stop: Stop) -> None:
        for _ in range(n_done):
            stop.finished(1.0)
        signal.raise_signal(number)

    return body


def requeues(scheduler: FakeScheduler) -> list[str]:
    return [call for call in scheduler.calls("scontrol") if call.startswith("requeue")]


def test_a_job_that_nobody_interrupts_ends_well_and_asks_nobody(scheduler):
    assert end_of(lambda stop: stop.finished(1.0)) is None
    assert scheduler.calls("scontrol") == []


def test_outside_of_jobs_signals_are_left_alone(scheduler, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID")
    before = signal.getsignal(signal.SIGTERM)
    with heeding(1.0) as stop:
        stop.finished(1000.0)
        assert signal.getsignal(signal.SIGTERM) == before
        assert not stop.is_wanted()
    assert scheduler.calls("scontrol") == []


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGUSR2, RUNNING), (signal.SIGUSR1, RUNNING), (signal.SIGTERM, IN_GRACE)]
)
def test_a_job_that_has_to_make_room_puts_itself_back(scheduler, capsys, number, line):
    scheduler.says("scontrol", line, when="show job")
    error = end_of(hears(number))
    assert isinstance(error, Stopped)
    assert error.code == 143
    assert requeues(scheduler) == ["requeue 31"]
    assert capsys.readouterr().err.endswith(AGAIN)


def test_a_preempted_job_that_has_done_no_unit_yet_puts_itself_back_too(scheduler):
    scheduler.says("scontrol", IN_GRACE, when="show job")
    assert isinstance(end_of(hears(signal.SIGTERM, n_done=0)), Stopped)
    assert requeues(scheduler) == ["requeue 31"]


def test_an_element_puts_itself_back_and_not_its_array(scheduler, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "29")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    assert isinstance(end_of(hears(signal.SIGUSR2)), Stopped)
    assert requeues(scheduler) == ["requeue 29_4"]


def test_units_that_would_not_fit_any_more_put_a_job_back(scheduler):
    def body(stop: Stop) -> None:
        stop.finished(500.0)
        assert stop.is_wanted()

    assert isinstance(end_of(body), Stopped)
    assert requeues(scheduler) == ["requeue 31"]


def test_a_walltime_that_is_over_puts_a_job_back(scheduler):
    scheduler.says("scontrol", job_line("COMPLETING", reason="TimeLimit", end=NOW), when="show job")
    assert isinstance(end_of(hears(signal.SIGTERM)), Stopped)
    assert requeues(scheduler) == ["requeue 31"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (job_line("COMPLETING", restarts=1, start=NOW, end=NOW + 600), signal.SIGTERM),
        (job_line("COMPLETING", exit_code="0:15", end=NOW), signal.SIGTERM),
        (job_line("COMPLETING", exit_code="0:15", end=NOW), signal.SIGUSR2),
        (RUNNING, signal.SIGTERM),
    ],
    ids=["requeued", "cancelled", "cancelled and warned", "terminated by hand"],
)
def test_a_job_that_is_put_back_already_or_unwanted_is_not_put_back(scheduler, capsys, line, number):
    scheduler.says("scontrol", line, when="show job")
    error = end_of(hears(number))
    assert isinstance(error, Stopped)
    assert error.code == 143
    assert requeues(scheduler) == []
    assert AGAIN not in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        job_line("COMPLETING", restarts=1, start=NOW, end=NOW + 600),
        job_line("COMPLETING", exit_code="0:15", end=NOW),
    ],
    ids=["requeued", "cancelled"],
)
def test_what_happens_while_a_job_ends_is_heeded(scheduler, line):
    def body(stop: Stop) -> None:
        hears(signal.SIGUSR2)(stop)
        assert stop.goes_on_later
        scheduler.says("scontrol", line, when="show job")

    assert isinstance(end_of(body), Stopped)
    assert requeues(scheduler) == []


@pytest.mark.parametrize(("walltime_s", "of"), [(60.0, " of 60 s"), (0.0, "")])
def test_a_walltime_without_a_unit_is_an_error_with_both_numbers(scheduler, walltime_s, of):
    def body(stop: Stop) -> None:
        stop.began -= 47.0
        signal.raise_signal(signal.SIGUSR2)

    error = end_of(body, walltime_s)
    assert isinstance(error, ResourceError)
    assert error.exit_code == 4
    assert str(error) == (
        f"no unit was finished in the 47 s that this job had before its walltime{of} ended: "
        "raise the walltime, or make units smaller (extract.unit_rows of the manifest)"
    )
    assert requeues(scheduler) == []


@pytest.mark.parametrize(("restarts", "most", "is_put_back"), [(2, 3, True), (3, 3, False), (0, 0, False)])
def test_a_job_is_put_back_so_many_times_at_most(scheduler, monkeypatch, restarts, most, is_put_back):
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    scheduler.says("scontrol", job_line("RUNNING", **RUNS, restarts=restarts), when="show job")
    error = end_of(hears(signal.SIGUSR2), max_requeues=most)
    assert isinstance(error, Stopped if is_put_back else IncompleteError)
    assert requeues(scheduler) == (["requeue 31"] if is_put_back else [])
    if not is_put_back:
        assert str(error) == (
            f"the job was put back into the queue {restarts} times, the most that is allowed "
            "(slurm.max_requeues of the profile): hpcgeom resume goes on"
        )


def test_a_job_that_was_submitted_by_hand_has_a_limit_too():
    assert MAX_REQUEUES == 20


def test_a_job_that_is_put_back_is_told_to_end_which_is_no_news(scheduler, monkeypatch, capsys):
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("it should not be heard"))
    monkeypatch.setattr(jobs.requeue, "requeue", lambda: signal.raise_signal(signal.SIGTERM))
    try:
        assert isinstance(end_of(hears(signal.SIGUSR2)), Stopped)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err.endswith(AGAIN)


def test_a_job_that_cannot_be_put_back_says_so(scheduler):
    scheduler.says("scontrol", stderr="Requested operation is presently disabled", code=1, when="requeue")
    error = end_of(hears(signal.SIGUSR2))
    assert isinstance(error, IncompleteError)
    assert error.exit_code == 3
    assert isinstance(error.__cause__, SchedulerError)
    text = str(error)
    assert text.startswith("the job ends and cannot be put back into the queue (`scontrol requeue 31` failed")
    assert "Requested operation is presently disabled" in text
    assert text.endswith("): hpcgeom resume goes on")


def test_a_controller_that_does_not_answer_is_asked_to_put_a_job_back_all_the_same(scheduler):
    scheduler.says("scontrol", stderr=CONTROLLER_IS_DOWN, code=1, when="show")
    assert isinstance(end_of(hears(signal.SIGUSR2)), Stopped)
    assert requeues(scheduler) == ["requeue 31"]


def test_an_end_that_nobody_announced_and_failures_of_units_are_as_they_were(scheduler):
    def stopped(stop: Stop) -> None:
        raise Stopped

    def failed(stop: Stop) -> None:
        hears(signal.SIGUSR2)(stop)
        raise IncompleteError("a unit failed")

    assert isinstance(end_of(stopped), Stopped)
    assert str(end_of(failed)) == "a unit failed"
    assert requeues(scheduler) == []


@pytest.mark.parametrize(
    ("variables", "share"),
    [
        ({}, "0/1"),
        ({"NTASKS": "3", "PROCID": "2"}, "2/3"),
        ({"ARRAY_TASK_ID": "5", "ARRAY_TASK_MIN": "4", "ARRAY_TASK_COUNT": "3"}, "1/3"),
        (
            {"ARRAY_TASK_ID": "2", "ARRAY_TASK_COUNT": "4", "NTASKS": "2", "PROCID": "1"},
            "5/8",
        ),
    ],
)
def test_the_share_of_a_task_is_one_of_all_tasks_of_all_elements(monkeypatch, variables, share):
    for name in ("NTASKS", "PROCID", "ARRAY_TASK_ID", "ARRAY_TASK_MIN", "ARRAY_TASK_COUNT"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert share_of_slurm() == share


def test_elements_with_gaps_between_them_have_no_share(monkeypatch):
    for name, value in {"ARRAY_TASK_ID": "6", "ARRAY_TASK_MIN": "2", "ARRAY_TASK_COUNT": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(
        InputError,
        match=r"element 6 of an array of 3 that begins at 2: number them without gaps, such as --array=0-2$",
    ):
        share_of_slurm()


@pytest.mark.parametrize("text", [None, "", "2", "-1", "x", "1.0"])
def test_an_element_that_its_array_does_not_have_is_refused(run_copy, monkeypatch, text):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    if text is not None:
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", text)
    write_job(run_copy, Job("hpcgeom-00-0000-extract-wide", "extract", "wide", ("0", "1")))
    with pytest.raises(
        InputError,
        match=r"^job 'hpcgeom-00-0000-extract-wide' is an array of 2, but SLURM_ARRAY_TASK_ID is "
        rf"'{text or ''}': expected 0 to 1, as its script sets it: submit that script as it is$",
    ):
        jobs.run_job(run_copy, "hpcgeom-00-0000-extract-wide")
