"""Traces put together: every span once, and shares that are those of time by hand."""

from __future__ import annotations

import json

import pytest

from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError
from hpcgeom.report import traces
from hpcgeom.stages.run import Run


def span(name: str, ts: float, dur: float, tid: int = 1) -> dict:
    return {"ph": "X", "name": name, "pid": 9, "tid": tid, "ts": ts * 1e6, "dur": dur * 1e6, "args": {}}


PROCESS = {"ph": "M", "name": "process_name", "pid": 9, "args": {"name": "node1, process 9"}}


def test_a_span_inside_another_takes_its_time_from_it():
    spans = [span("compute", 0, 4), span("wait", 1, 1), span("read", 1.5, 0.25), span("compute", 6, 2),
             span("write", 3, 5, tid=2)]  # fmt: skip
    found = traces.time_of([PROCESS, *spans])
    assert found.name == "node1, process 9"
    assert found.seconds == pytest.approx(8)
    expected = {"compute": 5 / 8, "wait": 0.75 / 8, "read": 0.25 / 8, "write": 5 / 8}
    assert found.shares == pytest.approx(expected)
    assert traces.lines([found]) == ["node1, process 9: 8.0 s, compute 62%, read 3%, wait 9%, write 62%"]


def test_traces_of_several_processes_make_one_file(tmp_path):
    lines = [json.dumps(event) for event in (PROCESS, span("read", 0, 1), span("compute", 1, 1))]
    (tmp_path / "a.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    (tmp_path / "b.json").write_text("[\n" + ",\n".join(lines)[:-5])  # killed while it wrote a line
    times = traces.merge(tmp_path, tmp_path / "out" / "all.json")
    events = json.loads((tmp_path / "out/all.json").read_text())["traceEvents"]
    assert [(event["pid"], event["name"]) for event in events] == [
        (1, "process_name"), (1, "read"), (1, "compute"), (2, "process_name"), (2, "read"),
    ]  # fmt: skip
    assert [time.seconds for time in times] == pytest.approx([2, 1])


def test_a_folder_without_traces_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"holds no trace: expected .* --profile-trace writes there: name its"
    ):
        traces.merge(tmp_path, tmp_path / "all.json")


def test_a_run_is_traced_where_it_is_asked_for(finished, run_copy):
    said = []

    class Listener:
        def begin(self, stage, n_done, n_units): ...
        def advance(self, stage, key): ...
        def end(self, stage): ...
        def say(self, text):
            said.append(text)

    run = Run(run_copy)
    missing = [run.units("extract")[1], run.units("geometry")[0]]
    for unit in missing:
        run.records(unit.stage).remove(unit)
    run_manifest(finished.manifest, run_copy, workers=1, progress=Listener(), profile_trace=True)
    events = json.loads((run_copy / "logs/trace.json").read_text())["traceEvents"]
    for kind in ("compute", "write"):
        spans = [event["args"] for event in events if event["name"] == kind and "unit" in event["args"]]
        assert [(about["stage"], about["unit"]) for about in spans] == [(u.stage, u.key) for u in missing]
    assert [line for line in said if line.startswith("time of ")]
    assert f"trace: {run_copy / 'logs/trace.json'} (open it in Perfetto)" in said
    assert not (finished.root / "logs/trace.json").exists()
