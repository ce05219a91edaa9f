"""Dask workers in one job, and workers that are jobs, on a real SLURM cluster."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import lab_jobs
import psutil
import pytest
from lab_processes import wait_until

pytestmark = pytest.mark.slurm

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT_S = 120.0


class Driver:
    """A job that gives calls to Dask workers (`dask_driver`)."""

    def __init__(self, lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.job_id = ""

    def submit(self, kind, function, arguments, *options, **settings):
        command = [
            *(sys.executable, HERE / "dask_driver.py", kind, self.folder, function),
            *(json.dumps(arguments), json.dumps({"start_timeout_s": 60, **settings})),
        ]
        script = "\n".join(
            [
                "#!/bin/bash",
                f"export PYTHONPATH={ROOT}:{HERE.parent / 'launch'} OMP_NUM_THREADS=1",
                f"exec {shlex.join(map(str, command))}",
            ]
        )
        self.job_id = lab_jobs.submit(self.lab, f"--output={self.folder}/out", *options, script=script)
        return self

    def wait_until_up(self) -> None:
        wait_until((self.folder / "up").exists, self._complaint, TIMEOUT_S, 0.1)

    def report(self) -> dict:
        path = self.folder / "report.json"
        wait_until(path.exists, self._complaint, TIMEOUT_S, 0.1)
        found = json.loads(path.read_text())
        seconds = {
            key: round(found[key] - found["begun"], 1) for key in ("up", "done", "closed") if key in found
        }
        sys.stderr.write(f"{seconds}\n")
        return found

    def log(self) -> str:
        return "\n".join(path.read_text() for path in (self.folder / "logs").iterdir())

    def processes(self, word: str) -> list[psutil.Process]:
        """Of our own workers and steps."""
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if line and word in line[0:4] and str(self.folder) in " ".join(line):
                found.append(process)
        return found

    def check_that_nothing_is_left(self) -> None:
        lab_jobs.wait_until_over(self.lab, self.job_id, TIMEOUT_S)
        wait_until(lambda: not self.queue(), lambda: f"jobs are left: {self.queue()}", 30, 0.2)
        assert not list((self.folder / "jobs").iterdir()), "keys are left"
        assert not self.processes("hpcgeom.launch.dask_worker")

    def queue(self, *options: str) -> list[str]:
        return self.lab.run("squeue", "-h", "-o", "%i", *options).stdout.split()

    def _complaint(self) -> str:
        out = self.folder / "out"
        return f"no report of job {self.job_id}: {out.read_text() if out.exists() else 'it has said nothing'}"


@pytest.fixture
def driver(lab, tmp_path):
    found = Driver(lab, tmp_path)
    yield found
    found.check_that_nothing_is_left()


TWO_NODES = ("--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--mem=1000")


def test_an_allocation_has_workers_on_all_its_nodes(driver):
    calls = [[0.3, number] for number in range(8)]
    report = driver.submit("allocation", "sleep_and_say", calls, *TWO_NODES, n_workers=4).report()
    assert report["error"] == ""
    assert sorted(report["results"]) == list(range(8))
    steps = {f"{driver.job_id}-0-{rank}" for rank in range(4)}
    assert set(report["hosts"]) <= steps
    assert report["closed"] - report["done"] < 20


def test_a_step_that_is_killed_in_the_middle_is_started_again(driver):
    calls = [[3, number] for number in range(6)]
    driver.submit("allocation", "sleep_and_say", calls, *TWO_NODES, n_workers=4).wait_until_up()
    time.sleep(1.5)
    for srun in driver.processes("srun"):
        srun.send_signal(signal.SIGKILL)
    report = driver.report()
    assert (report["error"], report["lost"]) == ("", [])
    assert sorted(report["results"]) == list(range(6))
    assert all(name.startswith(f"{driver.job_id}-1-") for name in report["hosts"])


def test_a_call_that_always_kills_its_worker_is_given_up_and_the_others_are_done(driver):
    report = driver.submit(
        "allocation",
        "die_on_seven",
        list(range(10)),
        "--ntasks=2",
        "--mem=800",
        n_workers=2,
        allowed_failures=1,
    ).report()
    assert sorted(report["results"]) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    ((argument, error),) = report["lost"]
    assert argument == 7
    assert "KilledWorker" in error


@pytest.mark.slow
def test_when_a_node_is_lost_the_others_go_on(driver, lab):
    calls = [[4, number] for number in range(6)]
    driver.submit("allocation", "sleep_and_say", calls, *TWO_NODES, "--no-kill", n_workers=4).wait_until_up()
    batch = lab.run("squeue", "-h", "-j", driver.job_id, "-o", "%B").stdout.strip()
    time.sleep(1.0)
    lab.kill_node({"n1": "n2", "n2": "n1"}[batch])
    report = driver.report()
    assert (report["error"], report["lost"]) == ("", [])
    assert sorted(report["results"]) == list(range(6))


def test_a_step_that_cannot_start_is_an_error_that_says_what_srun_says(driver):
    report = driver.submit(
        "allocation", "square", [1], "--mem=500", n_workers=1, start_timeout_s=40, srun_options=["--mem=900"]
    ).report()
    assert "ResourceError: none of 1 Dask workers came to tls://127.0.0.1:" in report["error"]
    assert "Memory required by task is not available" in report["error"]


JOBS = {
    "memory_gb": 0.5,
    "walltime_s": 600,
    "refill_every_s": 1,
    "setup": [f"export PYTHONPATH={ROOT}:{HERE.parent / 'launch'}"],
}


def test_workers_that_are_jobs_are_submitted_from_within_a_job_and_replaced(driver, lab):
    calls = [[3, number] for number in range(6)]
    driver.submit("jobqueue", "sleep_and_say", calls, "--mem=500", n_workers=2, allowed_failures=0, **JOBS)
    driver.wait_until_up()
    time.sleep(1.0)
    workers = [job for job in driver.queue("-t", "R") if job != driver.job_id]
    lab.run("scancel", *workers)
    report = driver.report()
    # Workers that are told to leave are not counted as failures of what they were doing.
    assert (report["error"], report["lost"]) == ("", [])
    assert sorted(report["results"]) == list(range(6))
    assert not set(driver.queue("-t", "R")) & set(workers)


@pytest.mark.slow
def test_preempted_workers_come_back_as_new_jobs(driver, lab):
    calls = [[16, number] for number in range(2)]  # longer than their grace
    where = {"placement": {"partition": "low", "exclude": "n1"}, "n_workers": 2, "allowed_failures": 0}
    driver.submit("jobqueue", "sleep_and_say", calls, "--mem=500", "--nodelist=n1", **where, **JOBS)
    driver.wait_until_up()
    time.sleep(1.0)
    lab_jobs.submit(
        lab, "-p", "high", "-w", "n2", f"-c{lab.options.cpus}", "--mem=1", "--time=1", script="sleep 1"
    )
    report = driver.report()
    assert (report["error"], report["lost"]) == ("", [])
    assert sorted(report["results"]) == [0, 1]
    assert all(int(name.rpartition("-")[2]) > 2 for name in report["hosts"])


@pytest.mark.slow
def test_workers_leave_before_their_walltime_and_others_take_over(driver):
    # Longer than one worker lives, each much shorter than that.
    calls = [[3, number] for number in range(6)]
    settings = {**JOBS, "lifetime": "8s", "n_workers": 1, "allowed_failures": 0}
    report = driver.submit("jobqueue", "sleep_and_say", calls, "--mem=500", **settings).report()
    assert (report["error"], report["lost"]) == ("", [])
    assert sorted(report["results"]) == list(range(6))
    assert "worker-lifetime-reached" in driver.log()


def test_workers_whose_partition_is_down_are_an_error_that_says_so(driver, lab):
    lab.partition_down("low")
    report = driver.submit(
        *("jobqueue", "square", [1], "--mem=500"),
        **{**JOBS, "start_timeout_s": 4, "n_workers": 2, "placement": {"partition": "low"}},
    ).report()
    assert "ResourceError: none of 2 Dask workers came to tls://" in report["error"]
    assert "is pending (PartitionDown)" in report["error"]


@pytest.mark.slow
def test_when_the_driver_is_killed_its_workers_end_by_themselves(driver, lab):
    driver.submit("jobqueue", "sleep_and_say", [[300, 1]], "--mem=500", n_workers=1, **JOBS).wait_until_up()
    (worker,) = [job for job in driver.queue() if job != driver.job_id]
    for process in driver.processes(str(HERE / "dask_driver.py")):
        os.kill(process.pid, signal.SIGKILL)
    lab_jobs.wait_until_over(lab, worker, TIMEOUT_S)
    for path in (driver.folder / "jobs").glob("tls-*/*"):
        path.unlink()  # nobody was left to do it
    for path in (driver.folder / "jobs").iterdir():
        path.rmdir()
