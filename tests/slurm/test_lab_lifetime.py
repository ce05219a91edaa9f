"""Nothing of a lab outlives its stop, nothing else is ended by it, and what is wrong is said."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lab_daemons
import lab_processes
import pytest
from lab_cluster import Lab
from lab_jobs import submit, submit_and_wait, wait_for_state, wait_for_text
from lab_processes import LabError
from live_processes import is_alive, mentioning

pytestmark = pytest.mark.slurm

TOOL = Path(__file__).parents[2] / "tools" / "slurm_lab"


@pytest.fixture
def own_lab(lab_without_accounting, tmp_path) -> Iterator[Lab]:
    """A cluster that a test may break; the other one is asked for as it skips where SLURM is missing."""
    lab = Lab(tmp_path / "own", accounting=False)
    yield lab
    lab.stop()


def test_nothing_outlives_a_stop_and_nothing_else_is_ended(own_lab, tmp_path):
    lab = own_lab
    lab.start()
    with pytest.raises(LabError, match=r"the lab is running \(munged, slurmctld, n1, n2\): stop it first"):
        Lab(lab.folder).start()
    # A job that has left behind a process of another session, without SLURM's variables, and is over.
    left = "for name in ${!SLURM*}; do unset $name; done; setsid -f sh -c 'echo $$ > left; exec sleep 600'"
    assert submit_and_wait(lab, script=left)[0]["JobState"] == "COMPLETED"
    job = submit(lab, "-w", "n2", script="echo pid $$; exec sleep 600")
    said = wait_for_text(wait_for_state(lab, job, "RUNNING")[0], "pid")
    pids = [int(said.split()[1]), int((lab.work / "left").read_text())]
    pids += [process.pid for process in lab.running.values()]
    lab.kill_node("n1", steps=False)
    alive = {pid: is_alive(pid) for pid in pids}
    bystander = subprocess.Popen(["sleep", "600"], env={**os.environ, **lab.environment})
    try:
        lab.stop()
        assert bystander.poll() is None
        assert mentioning(lab.folder) == [bystander.pid]
    finally:
        bystander.kill()
        bystander.wait()
    assert sum(alive.values()) == len(pids) - 1  # only the killed slurmd was gone before
    assert not any(map(is_alive, pids))
    with pytest.raises(LabError, match="the lab is stopped: start it first"):
        lab.start_node("n1")


def test_processes_that_only_have_the_numbers_of_daemons_are_left_alone(own_lab):
    lab = own_lab
    lab.start()
    first = submit(lab, "--hold", script="true")
    lab.stop()
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        path = lab.folder / "lab.json"
        state = json.loads(path.read_text())
        for process in state["daemons"].values():
            process["pid"] = bystander.pid
        path.write_text(json.dumps(state))
        lab.start()
        assert int(submit(lab, "--hold", script="true")) > int(first)
        lab.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_lab_whose_daemons_were_killed_starts_again(own_lab):
    own_lab.start()
    lab_processes.kill(own_lab.running.values())
    own_lab.start()
    assert submit_and_wait(own_lab, script="true")[0]["JobState"] == "COMPLETED"


def test_a_daemon_that_does_not_come_up_shows_the_end_of_its_log(own_lab, tmp_path, monkeypatch):
    broken = tmp_path / "bin" / "slurmctld"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho no such plugin\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")
    with pytest.raises(LabError, match=r"(?s)^slurmctld ended\n.*slurmctld\.out:\nno such plugin$"):
        own_lab.start()
    assert mentioning(own_lab.folder) == []


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(lab_processes, "_SBIN", str(tmp_path))
    with pytest.raises(
        LabError, match="apt-get install mariadb-server munge slurm-client slurmctld slurmd slurm"
    ):
        Lab(tmp_path / "lab").start()
    assert "slurmdbd" not in lab_daemons.missing_packages(accounting=False)


def test_folders_that_cannot_be_a_lab_are_refused(lab_without_accounting, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(LabError, match="is not empty and no lab: choose another folder"):
        Lab(tmp_path, accounting=False).start()
    with pytest.raises(LabError, match="there is no lab"):
        Lab(tmp_path).stop()
    with pytest.raises(LabError, match="SLURM cannot work in a path with ' ': choose another folder"):
        Lab(tmp_path / "a b").start()
    with pytest.raises(LabError, match="characters, and at most 76 leave room for the names of sockets"):
        Lab(tmp_path / ("x" * 80)).start()
    with pytest.raises(LabError, match="cpus is 0: give at least 1"):
        Lab(tmp_path / "lab", cpus=0)


def test_the_command_starts_restarts_and_stops_a_lab(own_lab):
    def command(*arguments: str) -> str:
        call = [sys.executable, str(TOOL / "lab.py"), arguments[0], str(own_lab.folder), *arguments[1:]]
        return subprocess.run(call, check=True, capture_output=True, text=True, timeout=60).stdout

    exports = f"export SLURM_CONF={own_lab.folder}/slurm.conf\n"
    assert command("start", "--no-accounting", "--cpus", "8", "--preempt-send-user-signal") == exports
    assert (own_lab.options.cpus, own_lab.options.preempt_send_user_signal) == (8, True)
    before = own_lab.running["n2"]
    command("restart-node", "n2")
    assert own_lab.running["n2"] != before
    command("node-down", "n1")
    assert re.search(r"munged: running\n(.*\n)*node n1: DOWN", command("status"))
    command("stop")
    assert command("status") == "the lab is stopped\n"
    assert mentioning(own_lab.folder) == []


def test_a_user_without_rights_can_have_a_lab(lab):
    is_root = os.geteuid() == 0
    user = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    shutil.copytree(TOOL, folder / "tool")
    os.chown(folder, user.pw_uid, user.pw_gid)
    before = ["runuser", "-u", "nobody", "--"] if is_root else []
    script = f"""
    cd {folder}
    /usr/bin/python3 tool/lab.py start lab
    export SLURM_CONF={folder}/lab/slurm.conf
    srun --gres=gpu:1 sh -c 'id -un; echo gpu $CUDA_VISIBLE_DEVICES'
    """
    stop = ["/usr/bin/python3", f"{folder}/tool/lab.py", "stop", f"{folder}/lab"]
    try:
        shell = [*before, "sh", "-ec", script]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[1:] == [user.pw_name, "gpu 0"], done.stderr
    finally:
        subprocess.run([*before, *stop], check=True, timeout=60)
    assert mentioning(folder) == []
    shutil.rmtree(folder)
