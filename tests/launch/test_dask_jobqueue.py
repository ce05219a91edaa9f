"""Workers that are jobs: a stand-in for the scheduler runs the scripts, all else is as on a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import launched_functions as functions
import psutil
import pytest

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.launch import dask_jobqueue, dask_top_up, worker_jobs
from hpcgeom.launch.dask_common import run
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.states import JobState

HERE = Path(__file__).parent


class Scheduler:
    """Runs what is submitted, at once, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, subprocess.Popen] = {}
        self.waiting: set[str] = set()
        self.texts: list[str] = []
        self.mode = ""

    def call(self, command: str, *arguments: str, timeout_s: float) -> str:
        if command == "scancel":
            self.cancel(arguments)
            return ""
        assert (command, arguments[0]) == ("sbatch", "--parsable")
        if self.mode == "refuses":
            raise SchedulerError("`sbatch` failed with code 1 (Invalid account): use your own")
        self.texts.append(Path(arguments[1]).read_text())
        number = str(100 + len(self.texts))
        script = shutil.copy(arguments[1], self.folder / f"{number}.sh")
        log = next(line for line in self.texts[-1].splitlines() if "--output=" in line).split("=", 1)[1]
        path = log.replace("%x", self.names()[-1]).replace("%j", number)
        if self.mode == "waits":
            self.waiting.add(number)
        else:
            with open(path, "w") as file:
                self.jobs[number] = subprocess.Popen(
                    ["bash", script], stdout=file, stderr=file, start_new_session=True
                )
        if self.mode == "does not answer":
            raise SchedulerError("`sbatch` did not answer within 120 s")
        return f"Welcome, 7 nodes are up\n{number};blue\n"

    def names(self) -> list[str]:
        return [text.split("#SBATCH -J ")[1].split("\n")[0] for text in self.texts]

    def alive(self, names: list[str]) -> dict[str, list[str]]:
        assert not self.texts or set(names) == set(self.names())
        running = [job for job, process in self.jobs.items() if process.poll() is None]
        return {name: [*running, *sorted(self.waiting)] for name in names}

    def states(self, ids: list[str]) -> dict[str, JobState]:
        return {
            job: JobState(job, "pending", "Resources")
            if job in self.waiting
            else JobState(job, "failed", "NonZeroExitCode", "1:0")
            for job in ids
        }

    def cancel(self, ids) -> None:
        self.waiting -= set(ids)
        for job in ids:
            if job in self.jobs and self.jobs[job].poll() is None:
                os.killpg(self.jobs[job].pid, signal.SIGTERM)

    def kill(self, job: str) -> None:
        os.killpg(self.jobs[job].pid, signal.SIGKILL)

    def check_that_nothing_is_left(self, shared: Path) -> None:
        assert not self.waiting
        for process in self.jobs.values():
            process.wait(15)
        assert not list(shared.glob("*")), "keys were left behind"
        assert not [line for line in map(_line, psutil.process_iter()) if str(shared) in line]


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    found = Scheduler(tmp_path)
    monkeypatch.setattr(worker_jobs, "run", found.call)
    monkeypatch.setattr(dask_top_up, "alive_by_name", found.alive)
    monkeypatch.setattr(dask_top_up, "states_of", found.states)
    monkeypatch.setattr(dask_top_up, "cancel", found.cancel)
    monkeypatch.setenv("SLURM_JOB_NAME", "search-7")
    yield found
    found.check_that_nothing_is_left(tmp_path / "a run" / "jobs")


@pytest.fixture
def cluster(slurm, tmp_path):
    def make(n_workers=2, start_timeout_s=60, **options):
        settings = {
            "walltime_s": 3600,
            "refill_every_s": 0.3,
            "logs": tmp_path / "logs",
            "setup": [f"export PYTHONPATH={HERE}"],
            **options,
        }
        return dask_jobqueue.cluster(n_workers, tmp_path / "a run" / "jobs", start_timeout_s, **settings)

    return make


def on_lost_never(argument, error):
    raise AssertionError((argument, error))


def test_a_job_that_dies_is_replaced_and_every_result_comes(slurm, cluster):
    with cluster() as client:
        client.wait_for_workers(2, timeout=30)
        found = []
        run(client, functions.square, range(20), found.append, on_lost_never)
        assert sorted(found) == [number * number for number in range(20)]
        slurm.kill("101")
        slurm.kill("102")
        run(
            client,
            functions.sleep_and_say,
            [(0.1, number) for number in range(6)],
            found.append,
            on_lost_never,
        )
        assert sorted(found[20:]) == list(range(6))
        assert client.scheduler.address.startswith("tls://")
    assert 3 <= len(slurm.texts) <= 4
    (name,) = set(slurm.names())
    assert name.startswith("search-7-workers-")


def test_a_worker_that_is_told_to_leave_is_not_taken_for_one_that_its_task_has_killed(slurm, cluster):
    with cluster(n_workers=1) as client:
        client.cluster.scheduler.allowed_failures = 0
        found = []
        calls = [(str(slurm.folder), "101", slurm.jobs["101"].pid)]
        run(client, functions.end_the_session_once, calls, found.append, on_lost_never)
    assert found == ["done elsewhere"]
    assert len(slurm.texts) == 2


def test_the_script_asks_for_what_the_profile_says_and_holds_no_secret(slurm, cluster, tmp_path):
    slurm.mode = "waits"
    with (
        pytest.raises(ResourceError),
        cluster(
            n_workers=1,
            start_timeout_s=0.5,
            placement={"partition": "main,low", "qos": "long", "account": None, "constraint": "a100&ib"},
            memory_gb=1.5,
            cpus=3,
            gpus=2,
            gpu_type="a100",
            python=["apptainer", "exec", "/my images/x.sif", "python"],
            setup=["module load cuda", "umask 027"],
            interface="lo",
            name="mine",
        ),
    ):
        pass
    lines = slurm.texts[0].splitlines()
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    (name,) = slurm.names()
    assert asked == {
        f"-J {name}",
        *("-n 1", "--cpus-per-task=3", "--mem=1536M", "-t 60", "--partition=main,low", "--qos=long"),
        *("--constraint=a100&ib", "--gres=gpu:a100:2", "--no-requeue", "--open-mode=append"),
        f"--output={tmp_path}/logs/%x-%j.log",
    }
    assert name.startswith("mine-workers-")
    assert lines[-3:-1] == ["module load cuda", "umask 027"]
    command = lines[-1]
    begin = "exec apptainer exec '/my images/x.sif' python -P -m hpcgeom.launch.dask_worker tls://127.0.0.1:"
    assert command.startswith(begin)
    assert f"--tls-key '{tmp_path}/a run/jobs/tls-" in command
    assert "--interface lo" in command
    assert "PRIVATE" not in slurm.texts[0]


def test_without_memory_the_default_of_the_cluster_holds(slurm, cluster):
    slurm.mode = "waits"
    with pytest.raises(ResourceError), cluster(start_timeout_s=0.5, gpus=1):
        pass
    assert "#SBATCH --mem" not in slurm.texts[0]
    assert "#SBATCH --gpus-per-node=1" in slurm.texts[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": {"partition": "main\n#SBATCH --wrap=rm"}}, r"slurm.partition: expected a partition"),
        ({"placement": {"qos": "a b"}}, r"slurm.qos: expected a quality of service"),
        ({"name": "a;b"}, r"the name of the workers: expected the name of a job"),
        ({"logs": "/tmp/no such%j"}, r"the folder of the logs: expected a path"),
        ({"gpus": 1, "gpu_type": "a:b"}, r"gpu_type: expected a type of GPU"),
    ],
)
def test_what_may_not_be_in_a_script_is_refused(slurm, cluster, options, message):
    with pytest.raises(InputError, match=message), cluster(**options):
        pass
    assert not slurm.texts


def test_workers_leave_before_the_walltime_and_not_all_at_once():
    assert dask_jobqueue._lifetime(60) == ["--lifetime", "45s", "--lifetime-stagger", "7.5s"]
    assert dask_jobqueue._lifetime(3600) == ["--lifetime", "3420s", "--lifetime-stagger", "90s"]


def test_jobs_that_are_refused_are_an_error_that_says_why_and_are_not_submitted_for_ever(slurm, cluster):
    slurm.mode = "refuses"
    with (
        pytest.raises(
            ResourceError,
            match=r"^none of 2 Dask workers came to tls://\S+ any more: 0 jobs were accepted; 20 were "
            r"refused, last: `sbatch` failed with code 1 \(Invalid account\): use your own\. Look whether",
        ),
        cluster(refill_every_s=0.05),
    ):
        pass


def test_jobs_that_end_at_once_are_an_error_that_shows_their_logs(slurm, cluster):
    with (
        pytest.raises(
            ResourceError,
            match=r"any more: 10 jobs were accepted; job 107 is failed \(NonZeroExitCode 1:0\); job 108.*; "
            r"the log \S+/logs/search-7-workers-[\w-]+-110\.log says: [^|]*No such file or directory\. Look",
        ),
        cluster(n_workers=1, refill_every_s=0.05, python=["/no/such/python"]),
    ):
        pass


def test_jobs_that_only_wait_are_an_error_that_says_what_they_wait_for(slurm, cluster):
    slurm.mode = "waits"
    with (
        pytest.raises(
            ResourceError,
            match=r"within 1 s: 1 jobs were accepted; job 101 is pending \(Resources\)\. Look.*start_timeout",
        ),
        cluster(n_workers=1, start_timeout_s=1, refill_every_s=30),
    ):
        pass


def test_a_job_whose_id_never_came_is_cancelled_by_its_name(slurm, cluster):
    slurm.mode = "does not answer"
    begun = time.monotonic()
    with cluster(n_workers=1, refill_every_s=60) as client:
        assert len(client.scheduler_info()["workers"]) == 1
    assert slurm.jobs["101"].wait(15) is not None
    assert time.monotonic() - begun < 40


def test_an_error_in_the_body_cancels_the_jobs(slurm, cluster):
    with pytest.raises(ZeroDivisionError), cluster(n_workers=1):
        1 / 0  # noqa: B018
    assert slurm.jobs["101"].wait(15) is not None


def test_workers_that_came_make_room_for_others_and_jobs_in_vain_are_counted():
    found = worker_jobs.Submissions(most_in_vain=2, ids=["1", "2", "3"], seen={"a", "b"})
    assert not found.is_exhausted
    found.refusals.append("no")
    assert found.is_exhausted


@pytest.mark.parametrize(
    ("said", "job_id"), [("12\n", "12"), ("9 GPUs\n12;blue\n", "12"), ("Submitted batch job 12\n", None)]
)
def test_the_id_of_a_job_is_on_a_line_of_its_own(said, job_id):
    import re

    found = re.search(worker_jobs.WorkerJob.job_id_regexp, said)
    assert (found and found["job_id"]) == job_id


def test_importing_leaves_interrupts_as_they_are():
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT); import hpcgeom.launch.dask_jobqueue; "
        "assert signal.getsignal(signal.SIGINT) is before; import sys; assert 'dask_jobqueue' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
