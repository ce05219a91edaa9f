"""Workers in a job step: a stand-in for `srun` starts the processes, everything else is as in a SLURM job."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import launched_functions as functions
import psutil
import pytest
from distributed import Client

from hpcgeom.errors import InputError, ResourceError
from hpcgeom.launch import dask_allocation, dask_step
from hpcgeom.launch.dask_common import run

HERE = Path(__file__).parent


class Job:
    """The folders of a job, and what its `srun` was told."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.shared, self.logs, self.state = folder / "a run" / "jobs", folder / "logs", folder / "state"
        self.state.mkdir()
        self._timers: list[threading.Timer] = []
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._command("srun", f'exec {sys.executable} {HERE / "fake_srun.py"} {self.state} "$@"')
        names = f"sed -n 's/^--job-name=/77.0 /p' {self.state}/started-0"
        self._command("squeue", f"echo 77.batch batch; echo 77.7 other; {names}")
        self._command("scancel", f'echo "$@" >> {self.state}/cancelled')
        patch.setenv("PATH", f"{self._bin}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(HERE))
        patch.setenv("SLURM_JOB_ID", "77")
        patch.delenv("SLURM_JOB_NUM_NODES", raising=False)
        patch.setattr(dask_step, "PAUSE_S", 0.1)
        patch.setattr(dask_step, "PATIENCE_S", (4.0, 1.0, 4.0))

    def _command(self, name: str, line: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self._bin / name).chmod(0o755)

    def set_mode(self, *words: str) -> None:
        (self.state / "mode").write_text(" ".join(words))

    def cluster(self, n_workers=2, start_timeout_s=60, **options):
        return dask_allocation.cluster(n_workers, self.shared, start_timeout_s, logs=self.logs, **options)

    def starts(self) -> list[list[str]]:
        """Process id and arguments of every `srun`."""
        return [path.read_text().split("\n") for path in sorted(self.state.glob("started-*"))]

    def kill_step(self) -> None:
        os.kill(int(self.starts()[-1][0]), signal.SIGKILL)

    def kill_step_once(self) -> bool:
        """Never stops anything, but kills the step when half a second has gone."""
        if not self._timers:
            self._timers.append(threading.Timer(0.5, self.kill_step))
            self._timers[0].start()
        return False

    def log(self) -> str:
        return "".join(path.read_text() for path in self.logs.iterdir())

    def check_that_nothing_is_left(self) -> None:
        assert not list(self.shared.glob("*")), "keys were left behind"
        lines = [_line(process) for process in psutil.process_iter()]
        assert not [line for line in lines if str(self.shared) in line]


@pytest.fixture
def job(tmp_path, monkeypatch):
    found = Job(tmp_path, monkeypatch)
    yield found
    found.check_that_nothing_is_left()


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def on_lost_never(argument, error):
    raise AssertionError((argument, error))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One cluster for the tests that leave it as it is."""
    with pytest.MonkeyPatch.context() as patch:
        job = Job(tmp_path_factory.mktemp("job"), patch)
        with job.cluster(environment={"HPCGEOM_SEEN": "yes"}, start_timeout_s=20) as client:
            client.wait_for_workers(2, timeout=20)
            yield job, client
        job.check_that_nothing_is_left()


def test_workers_of_a_step_give_every_result(running):
    found = []
    run(running[1], functions.square, range(20), found.append, on_lost_never)
    assert sorted(found) == [number * number for number in range(20)]


def test_workers_of_a_step_have_names_of_their_own_and_one_thread(running):
    workers = running[1].scheduler_info()["workers"].values()
    assert sorted(worker["name"] for worker in workers) == ["77-0-0", "77-0-1"]
    assert {(worker["nthreads"], worker["memory_limit"]) for worker in workers} == {(1, 0)}


def test_workers_have_the_variables_of_the_job_and_leave_threads_and_memory_to_the_stages(running):
    for variables in running[1].run(functions.environment_of).values():
        assert variables["OMP_NUM_THREADS"] == variables["MKL_NUM_THREADS"] == "1"
        assert variables["HPCGEOM_SEEN"] == "yes"
        # Dask's own setting for it costs a third of the time of a forward pass.
        assert "MALLOC_TRIM_THRESHOLD_" not in variables


def test_the_keys_are_files_that_nobody_else_can_read_and_are_on_no_command_line(running):
    (folder,) = running[0].shared.iterdir()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    secret = (folder / "key.pem").read_text().splitlines()[1]
    seen = [f"{_line(child)} {child.environ()}" for child in psutil.Process().children(recursive=True)]
    assert modes == {folder.name: 0o700, "key.pem": 0o600, "certificate.pem": 0o600}
    assert len([text for text in seen if str(folder) in text]) >= 3
    assert not [text for text in seen if secret in text]


def test_all_connections_need_the_certificate(running):
    client = running[1]
    assert client.scheduler.address.startswith("tls://127.0.0.1:")
    for address in [client.scheduler.address, *client.scheduler_info()["workers"]]:
        with (
            pytest.raises(OSError, match=r"TLS|Timed out|[Cc]onnect|closed"),
            Client(address.replace("tls", "tcp"), timeout=0.5),
        ):
            pass


@pytest.mark.slow
def test_the_command_of_the_step_spreads_the_workers_and_outlives_those_that_die(job, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setattr(dask_allocation, "_nodes_left", lambda at_first: 2)
    with job.cluster(n_workers=3, cpus=2, srun_options=["--mem=0"], interface="lo") as client:
        client.wait_for_workers(3, timeout=30)
    assert "Traceback" not in job.log()
    (arguments,) = job.starts()
    assert {"--overlap", "--no-kill", "--kill-on-bad-exit=0", "--wait=0", "--mem=0"} < set(arguments)
    assert {"--nodes=2", "--ntasks=3", "--ntasks-per-node=2", "--cpus-per-task=2"} < set(arguments)
    assert arguments[arguments.index("--interface") + 1] == "lo"


@pytest.mark.slow
def test_killed_workers_and_a_killed_step_are_started_again_and_every_result_comes(job):
    with job.cluster() as client:
        found = []
        run(client, functions.die_once, [str(job.state / "died")], found.append, on_lost_never)
        assert found == ["lived"]
        assert len(job.starts()) == 1
        calls = [(0.2, number) for number in range(10)]
        run(client, functions.sleep_and_say, calls, found.append, on_lost_never, stop=job.kill_step_once)
    assert sorted(found[1:]) == list(range(10))
    assert len(job.starts()) == 2
    # Tasks may outlive their srun.
    assert (job.state / "cancelled").read_text().split()[0] == "77.0"


def test_workers_that_are_lost_for_good_end_the_run_with_what_srun_said(job):
    job.set_mode("refuses-later")
    message = (
        r"^all Dask workers were lost with [34] calls to go.*srun was started 5 times and ended last with "
        r"exit code 1; its log .*workers-77-\w+\.log says: .*Requested nodes are busy\. Submit it again"
    )
    calls = [(2.0, number) for number in range(4)]
    with pytest.raises(ResourceError, match=message), job.cluster() as client:
        run(client, functions.sleep_and_say, calls, lambda _: None, on_lost_never, stop=job.kill_step_once)


def test_a_step_that_is_refused_again_and_again_is_a_resource_error_before_the_time_is_over(job):
    job.set_mode("refuses")
    begun = time.monotonic()
    message = (
        r"^none of 2 Dask workers came to tls://127.0.0.1:\d+ any more: srun was started 5 times and ended "
        r"last with exit code 1; .*Unable to create step.*profile: dask: interface"
    )
    with pytest.raises(ResourceError, match=message), job.cluster():
        pass
    assert time.monotonic() - begun < 20
    assert len(job.starts()) == 5


def test_a_step_that_never_starts_is_a_resource_error_when_the_time_is_over(job):
    job.set_mode("hangs")
    message = r"came to \S+ within 1 s: srun was started 1 times and did not end; .*disabled, retry"
    with pytest.raises(ResourceError, match=message), job.cluster(start_timeout_s=1):
        pass


def test_a_machine_without_srun_is_a_resource_error_at_once(job, monkeypatch):
    monkeypatch.setenv("PATH", str(job.state))
    begun = time.monotonic()
    message = r"any more: srun was started 1 times and did not end; .*No such file or directory: 'srun'"
    with pytest.raises(ResourceError, match=message), job.cluster():
        pass
    assert time.monotonic() - begun < 20


def test_an_interface_that_the_node_does_not_have_is_refused(job):
    with (
        pytest.raises(InputError, match=r"dask: interface: 'ib7' is no network interface of .*'lo'"),
        job.cluster(interface="ib7"),
    ):
        pass


@pytest.mark.slow
def test_an_error_in_the_body_ends_the_workers_in_the_middle_of_their_tasks(job):
    begun = time.monotonic()

    def interrupted(client: Client) -> None:
        future = client.submit(time.sleep, 300, pure=False)
        time.sleep(0.5)
        assert future.status == "pending"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), job.cluster(n_workers=1) as client:
        interrupted(client)
    assert time.monotonic() - begun < 25
