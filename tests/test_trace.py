"""Traces are what Chrome's format says, of every process and thread, and cost nothing when off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import timeit

import pytest

from hpcgeom import trace

WORK = """
import os, sys, threading, time
from hpcgeom import trace
{start}
def work():
    with trace.span("write", unit=7):
        time.sleep(0.02)
with trace.span("compute", unit=7, batch=1):
    thread = threading.Thread(target=work, name="writer")
    thread.start()
    with trace.span("wait"):
        time.sleep(0.01)
    thread.join()
{end}
"""


def run_python(code: str, **variables: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != trace.VARIABLE}
    subprocess.run([sys.executable, "-c", code], env=environment | variables, check=True, timeout=60)


def events_of(path) -> list[dict]:
    return json.loads(path.read_text())


@pytest.fixture
def tracing(tmp_path):
    trace.start(tmp_path / "spans")
    yield tmp_path / "spans"
    trace.stop()


def test_spans_are_complete_events_of_process_and_thread(tmp_path):
    run_python(WORK.format(start=f"trace.start({str(tmp_path / 'spans')!r})", end=""))
    (path,) = (tmp_path / "spans").iterdir()
    events = events_of(path)
    spans = {event["name"]: event for event in events if event["ph"] == "X"}
    assert spans.keys() == {"compute", "wait", "write"}
    assert spans["compute"]["args"] == {"unit": 7, "batch": 1}
    assert spans["wait"]["tid"] == spans["compute"]["tid"] != spans["write"]["tid"]
    assert {event["pid"] for event in events} == {spans["compute"]["pid"]}
    names = {event["name"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names["process_name"].endswith(f"process {spans['compute']['pid']}")
    assert "writer" in {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    outer, inner = spans["compute"], spans["wait"]
    assert inner["dur"] >= 10_000  # microseconds, of a sleep of 10 ms
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    assert abs(outer["ts"] / 1e6 - time.time()) < 60


def test_a_process_that_is_started_with_the_variable_writes_too(tmp_path):
    run_python(WORK.format(start="", end=""), **{trace.VARIABLE: str(tmp_path)})
    run_python(WORK.format(start="", end=""))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_forked_process_writes_a_file_of_its_own_and_no_line_twice(tmp_path):
    fork = "\nif (child := os.fork()) == 0:\n    with trace.span('read'):\n        pass\n    sys.exit()"
    end = f"{fork}\nassert os.waitpid(child, 0)[1] == 0"
    run_python(WORK.format(start="", end=end), **{trace.VARIABLE: str(tmp_path)})
    names = [[e["name"] for e in events_of(path) if e["ph"] == "X"] for path in tmp_path.iterdir()]
    assert sorted(map(sorted, names)) == [["compute", "wait", "write"], ["read"]]


def test_a_killed_process_leaves_what_it_did(tmp_path):
    kill = f"time.sleep(1.1)\nwith trace.span('read'):\n    pass\nos.kill(os.getpid(), {int(signal.SIGKILL)})"
    with pytest.raises(subprocess.CalledProcessError):
        run_python(WORK.format(start="", end=kill), **{trace.VARIABLE: str(tmp_path)})
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text() + "]")
    names = [event["name"] for event in found if event["ph"] == "X"]
    assert sorted(names[:2]) == ["wait", "write"]
    assert names[2:] == ["compute", "read"]


def test_a_span_is_written_where_its_body_fails(tracing):
    with pytest.raises(KeyError), trace.span("send", to=3):
        raise KeyError
    trace.stop()
    (path,) = tracing.iterdir()
    assert events_of(path)[-1]["args"] == {"to": 3}


def test_nothing_is_written_before_start_or_after_stop(tmp_path):
    with trace.span("compute"):
        pass
    trace.start(tmp_path / "spans")
    assert trace.VARIABLE in os.environ
    late = trace.span("compute")
    trace.stop()
    with late, trace.span("compute"):
        pass
    assert not (tmp_path / "spans").exists()
    assert trace.VARIABLE not in os.environ


def test_spans_cost_nothing_when_off():
    def use() -> None:
        with trace.span("compute", unit=1, batch=2):
            pass

    assert min(timeit.repeat(use, number=1000, repeat=5)) / 1000 < 5e-6
