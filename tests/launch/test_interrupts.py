"""Interruptions that wait for the files of a unit, and the hook by which tests interfere."""

# ruff: noqa: PT012 (what is raised at the end of a block is what is tested)

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from hpcgeom import faults, interrupts
from hpcgeom.interrupts import TERMINATED, Stopped


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert not interrupts._Unit.is_held
    assert interrupts._Unit.pending is None


def test_stopping_ends_a_process_as_a_signal_does_and_is_no_failure_of_a_unit():
    stopped = Stopped()
    assert stopped.code == TERMINATED == 128 + signal.SIGTERM
    assert isinstance(stopped, SystemExit)
    assert not isinstance(stopped, Exception)


def test_outside_of_a_unit_an_interruption_comes_at_once():
    with pytest.raises(Stopped):
        interrupts.request(Stopped())


def test_while_a_unit_computes_an_interruption_comes_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.unit():
        interrupts.request(KeyboardInterrupt())
        done.append("computed")
    assert done == []


def test_while_the_files_of_a_unit_are_written_it_waits_for_them():
    done = []
    with pytest.raises(Stopped), interrupts.unit():
        interrupts.hold()
        interrupts.request(Stopped())
        done.append("written")
    assert done == ["written"]
    with interrupts.unit():
        done.append("the next unit")


def test_the_last_of_several_interruptions_is_raised():
    with pytest.raises(KeyboardInterrupt), interrupts.unit():
        interrupts.hold()
        interrupts.request(Stopped())
        interrupts.request(KeyboardInterrupt())


def test_an_interruption_is_not_lost_with_a_unit_that_fails_while_its_files_are_written():
    with pytest.raises(Stopped) as caught, interrupts.unit():
        interrupts.hold()
        interrupts.request(Stopped())
        raise ValueError("disk")
    assert isinstance(caught.value.__context__, ValueError)
    with interrupts.unit():
        pass


def test_a_unit_that_nobody_interrupts_is_done():
    with interrupts.unit():
        interrupts.hold()


def test_a_signal_that_comes_between_writing_and_the_record_ends_the_process_after_it(tmp_path):
    program = f"""
import os, signal
from hpcgeom import interrupts
signal.signal(signal.SIGTERM, lambda *_: interrupts.request(interrupts.Stopped()))
with interrupts.unit():
    interrupts.hold()
    os.kill(os.getpid(), signal.SIGTERM)
    open({str(tmp_path / "record")!r}, "w").write("done")
open({str(tmp_path / "next")!r}, "w").write("begun")
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == TERMINATED
    assert os.listdir(tmp_path) == ["record"]


def test_without_the_variable_moments_pass_by(monkeypatch):
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    faults.reached("unit-begins", stage="extract", index=0, key="k")


def test_with_the_variable_a_function_hears_of_every_moment(monkeypatch, tmp_path):
    (tmp_path / "hook_of_this_test.py").write_text(
        "heard = []\ndef hear(moment, **about):\n    heard.append((moment, about))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(faults.VARIABLE, "hook_of_this_test:hear")
    faults.reached("tile", start=5)
    faults.reached("unit-recorded", stage="search", index=1, key="k")
    from hook_of_this_test import heard

    assert heard == [("tile", {"start": 5}), ("unit-recorded", {"stage": "search", "index": 1, "key": "k"})]


def test_a_unit_tells_of_its_moments_in_order(monkeypatch, tmp_path, finished):
    import arrays_run

    (tmp_path / "hook_of_moments.py").write_text(
        "heard = []\ndef hear(moment, **about):\n    heard.append((moment, about.get('stage')))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(faults.VARIABLE, "hook_of_moments:hear")
    root = arrays_run.copy_run(finished.root, tmp_path / "run")
    for path in (root / "records" / "search").glob("*0.json"):
        path.unlink()
    arrays_run.run_again(finished.manifest, root)
    from hook_of_moments import heard

    of_search = [moment for moment, stage in heard if stage == "search"]
    assert of_search == ["unit-begins", "unit-computed", "unit-recorded"]
    assert ("tile", None) in heard
