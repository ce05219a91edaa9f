"""Dask stages of submitted runs on a cluster: workers and drivers that die, and workers that never come."""

from __future__ import annotations

import os
import signal
import time

import lab_jobs
import psutil
import pytest
from faulty_runs import FaultyRun, use
from lab_processes import wait_until

pytestmark = pytest.mark.slurm

DASK = {
    "allocation": "{mode: allocation, workers: 2, nodes: 2, start_timeout_s: %d}",
    "jobqueue": "{mode: jobqueue, workers: 2, start_timeout_s: %d, refill_every_s: 1}",
}
N_SEARCHED = 6


@pytest.fixture
def run(lab, monkeypatch, finished, tmp_path):
    """A run that was not begun."""
    use(lab, monkeypatch)
    return FaultyRun(lab, tmp_path, finished.manifest, finished.root)


def workers(mode: str, start_timeout_s: int = 60) -> dict[str, str]:
    """The section of a profile."""
    return {"dask": DASK[mode] % start_timeout_s}


def processes_of(run: FaultyRun, *words: str) -> list[psutil.Process]:
    """Those whose command line has all of these words and the run's directory."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if all(word in line for word in (str(run.root), "python", *words)):
            found.append(process)
    return found


def wait_until_nobody_is_left(run: FaultyRun) -> None:
    wait_until(
        lambda: not processes_of(run),
        lambda: f"there are still {[process.cmdline() for process in processes_of(run)]}",
        60,
        0.1,
    )


@pytest.mark.parametrize("mode", DASK)
def test_a_worker_that_is_killed_in_the_middle_of_a_tile_costs_nothing_but_time(run, mode):
    run.faults.kill("tile")
    run.submit_from_search(**workers(mode))
    search = run.id_of("search")
    assert run.wait_until_over(search)["JobState"] == "COMPLETED", run.log(search)
    came = {pid for pid, _ in run.faults.came("tile")}
    did = {run.record("search", index).made_by["pid"] for index in range(N_SEARCHED)}
    (killed,) = came - did
    assert not psutil.pid_exists(killed)
    run.drop_jobs()
    run.finish_here()


def status_when_nobody_works(run: FaultyRun) -> str:
    """The next stage may have begun before it was taken back, and takes a moment to end."""
    said = f"nobody works on it: hpcgeom resume {run.root}"
    wait_until(lambda: said in run.status(), run.status, 30, 0.2)
    return run.status()


def check_the_error(run: FaultyRun, began: float, start_timeout_s: int, *reasons: str) -> None:
    """Of a search whose workers never came."""
    search = run.id_of("search")
    state = run.wait_until_over(search)
    assert time.monotonic() - began < start_timeout_s + 60  # submission and the start of Python among them
    run.drop_jobs()
    log = run.log(search)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("FAILED", "4:0", "0"), log
    (error,) = [
        line for line in log.splitlines() if line.startswith("hpcgeom: none of 2 Dask workers came to")
    ]
    assert f" within {start_timeout_s} s: " in error
    assert all(reason in error for reason in reasons), error
    status = status_when_nobody_works(run)
    assert f"search job {search} ended (failed, exit code 4:0): {run.root}/logs/" in status
    assert f"  | {error}" in status
    wait_until_nobody_is_left(run)
    run.finish_here()


def test_an_allocation_whose_workers_never_start_is_an_error_that_says_why(run):
    broken = run.folder / "bin" / "srun"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho srun: this machine is out of order >&2\nexit 7\n")
    broken.chmod(0o755)
    began = time.monotonic()
    run.submit_from_search({"PATH": f"{broken.parent}:{os.environ['PATH']}"}, **workers("allocation", 5))
    check_the_error(
        run,
        began,
        5,
        "ended last with exit code 7",
        "says: srun: this machine is out of order",
        "Look whether Python starts on the nodes (profile: environment)",
    )


def test_jobs_of_workers_that_never_start_are_an_error_that_says_why(run):
    began = time.monotonic()
    run.submit_from_search(slurm="{partition: low}", **workers("jobqueue", 5))
    search = run.id_of("search")
    wait_until(lambda: run.state(search)["JobState"] == "RUNNING", "the driver did not start", 60, 0.05)
    run.lab.partition_down("low")
    check_the_error(run, began, 5, "is pending (PartitionDown)")
    assert run.lab.run("squeue", "-h").stdout == ""


@pytest.mark.parametrize("mode", ["allocation", pytest.param("jobqueue", marks=pytest.mark.slow)])
def test_after_the_driver_is_killed_resume_goes_on(run, mode):
    run.faults.hold("tile")
    run.submit_from_search(**workers(mode))
    search = run.id_of("search")
    run.faults.wait_for("tile", 2)
    (driver,) = processes_of(run, "hpcgeom.cli.main", run.jobs("search")[0].name)
    driver.send_signal(signal.SIGKILL)
    state = run.wait_until_over(search)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "0:9")
    run.faults.release("tile")
    wait_until_nobody_is_left(run)
    run.drop_jobs()
    assert f"search job {search} ended (failed, exit code 0:9)" in status_when_nobody_works(run)
    submitted = [job.stage for job in run.resubmit().submitted]
    assert submitted == ["search", "geometry", "collect"]
    again = run.id_of("search")
    assert run.wait_until_over(again)["JobState"] == "COMPLETED", run.log(again)
    run.drop_jobs()
    run.finish_here()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["allocation", "jobqueue"])
def test_a_driver_that_is_requeued_goes_on_by_itself(run, mode):
    run.faults.hold("tile")
    run.submit_from_search(**workers(mode))
    search = run.id_of("search")
    run.faults.wait_for("tile", 2)
    run.lab.run("scontrol", "requeue", search)
    run.wait_for_log(search, "SIGTERM: the job ends (requeued)", 20)
    run.faults.release("tile")
    state = run.wait_until_over(search)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), run.log(search)
    # Jobs of workers have attempts of their own.
    assert (1 in run.attempts("search")) == (mode == "allocation")
    run.drop_jobs()
    run.finish_here()


def preempt(run: FaultyRun) -> None:
    """Submit a job for which all of n1 is wanted."""
    everything = ("-p", "high", "-w", "n1", f"-c{run.lab.options.cpus}", "--mem=1", "-t", "1")
    lab_jobs.submit(run.lab, *everything, "--wrap", "true")


@pytest.mark.slow
@pytest.mark.parametrize("sends_signal", [False, True])
@pytest.mark.parametrize("grace_s", [0, 25])
def test_a_preempted_allocation_goes_on_by_itself(run, grace_s, sends_signal):
    run.faults.hold("tile")
    with run.lab.reconfigured(grace_time_s=grace_s, preempt_send_user_signal=sends_signal):
        run.submit_from_search(slurm="{partition: low}", **workers("allocation"))
        search = run.id_of("search")
        run.faults.wait_for("tile", 2)
        preempt(run)
        if grace_s and sends_signal:  # else the driver is told nothing in its grace
            run.wait_for_log(search, "SIGUSR2: no other unit is begun", 20)
        elif not grace_s:
            run.wait_for_log(search, "SIGTERM: the job ends (requeued)", 20)
        run.faults.release("tile")
        state = run.wait_until_over(search)
    # What ends well at the very end of its grace may be told to have run out of time.
    assert state["JobState"] == "COMPLETED" or (grace_s and not sends_signal), run.log(search)
    assert -1 not in run.attempts("search")
    run.drop_jobs()
    run.finish_here()


@pytest.mark.slow
@pytest.mark.parametrize("grace_s", [0, 25])
def test_a_preempted_element_of_several_processes_goes_on_by_itself(run, grace_s):
    places = [f"unit-begins.extract.{index}" for index in (0, 1)]
    for place in places:
        run.faults.hold(place)
    extract = '{walltime: "00:10:00", jobs: 1, processes: 2}'
    with run.lab.reconfigured(grace_time_s=grace_s):
        run.submit(slurm="{partition: low, exclude: n2}", extract=extract)
        for place in places:
            run.faults.wait_for(place)
        element = run.id_of("extract", "wide")
        run.wait_until_over(run.id_of("extract", "deep"))
        preempt(run)
        run.wait_for_log(element, "hpcgeom: SIGTERM: ", 20)
        for place in places:
            run.faults.release(place)
        state = run.wait_until_over(element)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), run.log(element)
    run.drop_jobs()
    run.finish_here()
