"""Leases: living holders are respected, dead ones are not waited for."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from hpcgeom.store import leases
from hpcgeom.store.leases import LeaseHeld, lease

HOLDER = Path(__file__).parent / "lease_holder.py"


def holder_process(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(HOLDER), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def held(tmp_path):
    """A lease that another process holds, and that process."""
    path = tmp_path / "000003.lease"
    process = holder_process("hold", str(path))
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.communicate()


def content(**changes) -> dict:
    me = {
        "token": "t",
        "host": socket.gethostname(),
        "processes": leases._process_table(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }
    return {**me, "job": "", "attempt": 0, "beat": 0, **changes}


def test_a_lease_is_a_file_that_names_its_holder_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    path = tmp_path / "folder" / "a.lease"
    with lease(path, attempt=2):
        found = json.loads(path.read_text())
        assert (found["host"], found["pid"]) == (socket.gethostname(), os.getpid())
        assert (found["job"], found["attempt"]) == ("4711", 2)
    assert list(path.parent.iterdir()) == []


def test_a_lease_is_given_back_when_the_work_fails(tmp_path):
    def fail():
        with lease(tmp_path / "a.lease"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_lease_of_a_living_process_is_refused_with_process_and_host(held):
    path, process = held
    says = (
        rf"000003 is being done by process {process.pid} on {socket.gethostname()} \(job none\): wait for it"
    )
    with pytest.raises(LeaseHeld, match=says), lease(path):
        pass
    assert json.loads(path.read_text())["pid"] == process.pid


def test_a_lease_of_a_killed_process_is_taken_over(held):
    path, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    with lease(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_a_lease_of_a_zombie_is_taken_over(held):
    path, process = held
    process.send_signal(signal.SIGKILL)
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:  # it is not waited for
        time.sleep(0.005)
    with lease(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_process_that_only_has_the_number_of_a_dead_one_does_not_hold_its_lease(tmp_path):
    path = tmp_path / "a.lease"
    path.write_text(json.dumps(content(started=psutil.Process().create_time() - 100.0)))
    with lease(path):
        assert json.loads(path.read_text())["token"] != "t"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 3}', json.dumps({"host": socket.gethostname()})])
def test_a_lease_that_says_nothing_is_taken_over(tmp_path, monkeypatch, text):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.1)
    path = tmp_path / "a.lease"
    path.write_text(text)
    with lease(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_lease_of_another_host_whose_counter_stands_still_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.2)
    path = tmp_path / "a.lease"
    path.write_text(json.dumps(content(host="another-host", processes="its own", beat=5)))
    began = time.monotonic()
    with lease(path):
        assert time.monotonic() - began >= 0.2
        assert json.loads(path.read_text())["host"] == socket.gethostname()


def test_a_process_of_another_container_of_the_same_host_name_is_not_looked_for_here(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE_S", 0.1)
    path = tmp_path / "a.lease"
    path.write_text(json.dumps(content(processes="those of another container")))
    began = time.monotonic()
    with lease(path):  # its number is that of a living process here, but its counter stands still
        assert time.monotonic() - began >= 0.1


def test_a_lease_is_waited_for_as_long_as_is_asked(held):
    path, process = held
    began = time.monotonic()
    with pytest.raises(LeaseHeld), lease(path, wait_s=1.5):
        pass
    assert time.monotonic() - began >= 1.5
    process.kill()
    with lease(path, wait_s=60.0):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_lease_of_another_host_whose_counter_moves_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "PATIENCE_S", 5.0)
    path = tmp_path / "a.lease"
    path.write_text(json.dumps(content(host="another-host", processes="its own", pid=99, job="12")))

    def beat():
        beside = tmp_path / "beside"
        beside.write_text(
            json.dumps(content(host="another-host", processes="its own", pid=99, job="12", beat=1))
        )
        beside.replace(path)

    timer = threading.Timer(0.1, beat)
    timer.start()
    with pytest.raises(LeaseHeld, match=r"process 99 on another-host \(job 12\)"), lease(path):
        pass
    timer.join()


def test_a_holder_raises_its_counter(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    path = tmp_path / "a.lease"
    with lease(path):
        first = json.loads(path.read_text())["beat"]
        deadline = time.monotonic() + 5.0
        while json.loads(path.read_text())["beat"] < first + 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert list(tmp_path.iterdir()) == []


def test_a_lease_that_was_taken_over_is_not_removed_by_its_first_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    path = tmp_path / "a.lease"
    with lease(path):
        path.unlink()
        path.write_text(json.dumps(content(token="somebody else's")))
        time.sleep(0.1)  # some beats
    assert json.loads(path.read_text())["token"] == "somebody else's"


@pytest.mark.parametrize("stale", [False, True])
def test_processes_that_race_for_a_lease_never_work_at_the_same_time(tmp_path, stale):
    path, work = tmp_path / "a.lease", tmp_path / "work"
    if stale:
        path.write_text(json.dumps(content(started=0.0)))
    racers = [holder_process("race", str(path), str(work)) for _ in range(3)]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
    starts_at = str(time.time() + 0.1)
    for racer in racers:
        racer.stdin.write(f"{starts_at}\n")
        racer.stdin.flush()
    said = sorted(racer.communicate()[0].strip() for racer in racers)
    assert {racer.returncode for racer in racers} == {0}
    assert "done" in said
    assert set(said) <= {"done", "held by the other"}
    assert work.read_text() == "begin\nend\n" * said.count("done")
    assert {entry.name for entry in tmp_path.iterdir()} == {"work"}
