"""Leases whose holders are gone: they are not shown as at work, and nobody watches them for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpcgeom.cli import submission
from hpcgeom.stages.run import Run
from hpcgeom.stages.status import status_of
from hpcgeom.store import leases
from hpcgeom.store.leases import Pulse, is_dead, lease


@pytest.fixture
def left(tmp_path):
    """The lease of a process that was killed."""
    path = tmp_path / "000000.lease"
    holder = Path(__file__).with_name("lease_holder.py")
    process = subprocess.Popen(
        [sys.executable, str(holder), "hold", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    assert not is_dead(path)
    process.kill()
    process.communicate()
    return path


def elsewhere(path: Path, beat: int = 0) -> None:
    """A lease of a process of another machine."""
    path.write_text(json.dumps({"host": "n7", "processes": "boot-of-n7", "pid": os.getpid(), "beat": beat}))


@pytest.fixture
def unfinished(run_copy):
    """A run that lacks its last unit, and that unit's lease."""
    run = Run(run_copy)
    (unit,) = run.units("collect")
    records = run.records("collect")
    records.remove(unit)
    return run_copy, records.path(unit).with_suffix(".lease")


def test_the_holder_of_a_lease_is_known_to_be_dead_where_its_process_was_one_of_this_machine(left, tmp_path):
    assert is_dead(left)
    other = tmp_path / "000001.lease"
    with lease(other):
        assert not is_dead(other)
    elsewhere(other)
    assert not is_dead(other)
    assert not is_dead(tmp_path / "000002.lease")


def test_a_pulse_is_felt_while_a_counter_is_raised_and_for_a_while_after(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_S", 0.05)
    monkeypatch.setattr(leases, "PATIENCE_S", 0.4)
    pulse = Pulse(tmp_path)
    with lease(tmp_path / "records" / "000003.lease"):
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            assert pulse.is_felt()
            time.sleep(0.02)
        kept = (tmp_path / "records" / "000003.lease").read_bytes()
    (tmp_path / "records" / "000003.lease").write_bytes(kept)
    assert pulse.is_felt()
    time.sleep(0.5)
    assert not pulse.is_felt()


def test_who_was_killed_is_not_shown_to_be_at_work(unfinished, left):
    root, path = unfinished
    elsewhere(path)
    assert status_of(Run(root))[-1].running == (f"unit 0: process {os.getpid()} on n7",)
    assert "nobody works on it" not in submission.status(root, as_json=False)[0]
    left.replace(path)
    assert status_of(Run(root))[-1].running == ()
    text, code = submission.status(root, as_json=False)
    assert text.endswith(f"nobody works on it: hpcgeom resume {root}")
    assert code == 3


def test_a_holder_on_another_machine_is_watched_as_long_as_it_lives(unfinished, monkeypatch, capsys):
    root, path = unfinished
    monkeypatch.setattr(submission, "WATCH_EVERY_S", 0.05)
    monkeypatch.setattr(leases, "PATIENCE_S", 0.5)
    elsewhere(path)
    lives_until = time.monotonic() + 1.5

    def live() -> None:
        beat = 0
        while time.monotonic() < lives_until:
            beat += 1
            elsewhere(path, beat)
            time.sleep(0.1)

    threading.Thread(target=live, daemon=True).start()
    text, code = submission.watch(root)
    assert 0.3 < time.monotonic() - lives_until < 10.0
    assert code == 3
    assert "collect" in text
    assert capsys.readouterr().out.count("running: collect unit 0") > 5
