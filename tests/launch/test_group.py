"""Groups of processes on this machine: one that fails ends all, and is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from hpcgeom.errors import IncompleteError
from hpcgeom.launch import group
from hpcgeom.this_group import FOLDER, OtherFailed, join_step, read_note, this_member, write_note

BEGIN = """
import json, os, signal, sys, time
from pathlib import Path
from hpcgeom.this_group import FAILURE, process_note, this_member, write_note
me = this_member(Path({folder!r}))
about = f"blocks {{me.index}}"
write_note(me.folder, process_note(me.index), {{"host": "here", "pid": os.getpid(), "about": about}})
others = [me.folder / f"{{process_note(i)}}.json" for i in range(me.n_processes)]
while not all(map(Path.exists, others)):
    time.sleep(0.01)
"""


@pytest.fixture
def run(tmp_path):
    """Run lines of Python in each process of a group; gives the seconds that it took."""

    def run(lines, n_processes=3, **options):
        code = BEGIN.format(folder=str(tmp_path)) + lines
        began = time.monotonic()
        try:
            group.run_group([sys.executable, "-c", code], n_processes, tmp_path, tmp_path / "logs", **options)
        finally:
            assert time.monotonic() - began < 20
            assert not (tmp_path / FOLDER).exists()
        return time.monotonic() - began

    return run


def logs_of(folder):
    return sorted(path.name.rpartition("-")[2] for path in (folder / "logs").iterdir())


def test_every_process_knows_which_it_is_and_leaves_nothing_behind(run, tmp_path):
    looks = []
    run(
        "Path(os.environ['OUT'] + str(me.index)).write_text(f'{me.index} of {me.n_processes}')",
        variables={"OUT": f"{tmp_path}/out-"},
        on_look=lambda: looks.append(1),
    )
    assert [(tmp_path / f"out-{index}").read_text() for index in range(3)] == [f"{i} of 3" for i in range(3)]
    assert looks
    assert logs_of(tmp_path) == []


def test_a_killed_process_is_named_and_the_others_are_ended(run, tmp_path, monkeypatch):
    monkeypatch.setattr(group, "HEAR_S", 0.5)
    lines = "os.kill(os.getpid(), signal.SIGKILL) if me.index == 1 else time.sleep(1000)"
    with pytest.raises(
        IncompleteError,
        match=r"^process 1 of 3 \(blocks 1\) on here was killed by signal 9 \(the machine does that where ",
    ):
        run(lines)


def test_what_others_say_of_a_killed_process_is_less_than_what_is_known_here(run):
    lines = """
if me.index == 1:
    os.kill(os.getpid(), signal.SIGSEGV)
time.sleep(0.5)
write_note(me.folder, FAILURE, {"index": 1, "sentence": "is gone", "exit_code": 3}, replace=False)
sys.exit(3)
"""
    with pytest.raises(
        IncompleteError, match=r"process 1 of 3 \(blocks 1\) on here was killed by signal 11: the"
    ):
        run(lines)


@pytest.mark.parametrize("code", [2, 4, 143])
def test_the_error_of_one_process_is_that_of_all_with_its_exit_code(run, code):
    lines = f"""
if me.index == 2:
    failure = {{"index": 2, "sentence": "sample 7 is odd", "exit_code": {code}, "details": "a traceback"}}
    write_note(me.folder, FAILURE, failure, replace=False)
time.sleep(0.3)
sys.exit({code})
"""
    with pytest.raises(OtherFailed, match=r"^sample 7 is odd") as caught:
        run(lines)
    assert caught.value.exit_code == code
    assert caught.value.__notes__ == ["a traceback"]


def test_a_process_that_ends_without_a_note_is_named_with_its_last_words(run, tmp_path):
    lines = "sys.exit('no such module' if me.index == 0 else 0)"
    with pytest.raises(
        IncompleteError,
        match=r"process 0 of 3 \(blocks 0\) on here ended with exit code 1: no such module: mend that",
    ):
        run(lines)
    assert logs_of(tmp_path) == ["0.log"]


def test_processes_that_cannot_even_start_are_named(tmp_path):
    with pytest.raises(IncompleteError, match=r"process \d of 2 ended with exit code 2: .*can't open file"):
        group.run_group([sys.executable, str(tmp_path / "none.py")], 2, tmp_path, tmp_path / "logs")


def test_they_end_with_whoever_started_them(tmp_path):
    code = BEGIN.format(folder=str(tmp_path)) + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    code += "Path(me.folder, f'up-{me.index}').touch()\n"
    code += "first = json.loads((me.folder / f'{process_note(0)}.json').read_text())['pid']\n"
    code += "while me.index == 0 or Path(f'/proc/{first}').exists():\n    time.sleep(0.1)\n"
    driver = (
        "import sys, signal\nfrom pathlib import Path\nfrom hpcgeom.launch.group import run_group\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"run_group([sys.executable, '-c', {code!r}], 2, folder, folder / 'logs')\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", driver], cwd=os.getcwd())
    while len(list(tmp_path.glob(f"{FOLDER}/*/up-*"))) < 2:
        time.sleep(0.05)
        assert parent.poll() is None
    notes = [read_note(path.parent, path.stem) for path in tmp_path.glob(f"{FOLDER}/*/process-*.json")]
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == 143
    for note in notes:
        with pytest.raises(ProcessLookupError):
            os.kill(note["pid"], 0)
    assert not (tmp_path / FOLDER).exists()


def test_a_process_of_no_group_is_no_member(tmp_path, monkeypatch):
    for name in ("HPCGEOM_GROUP", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    join_step()
    assert this_member(tmp_path) is None


def test_a_step_of_slurm_is_a_group_of_its_own_at_every_start(tmp_path, monkeypatch):
    variables = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
    }
    monkeypatch.setattr(os, "environ", {**variables})
    join_step()
    first = this_member(tmp_path)
    assert (first.index, first.n_processes, first.group, first.is_on_one_node) == (1, 2, "77-0-0", False)
    assert not first.is_orphan
    monkeypatch.setattr(os, "environ", {**variables, "SLURM_RESTART_COUNT": "3"})
    join_step()
    assert this_member(tmp_path).folder == tmp_path / FOLDER / "77-3-0"


def test_the_first_note_stays_where_it_is_not_to_be_replaced(tmp_path):
    assert write_note(tmp_path, "failure", {"a": 1}, replace=False)
    assert not write_note(tmp_path, "failure", {"a": 2}, replace=False)
    assert read_note(tmp_path, "failure") == {"a": 1}
    assert write_note(tmp_path, "failure", {"a": 3})
    assert read_note(tmp_path, "failure") == {"a": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failure.json"]
    assert (tmp_path / "failure.json").stat().st_mode & 0o077 == 0
