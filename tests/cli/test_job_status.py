"""`hpcgeom status` and `logs` of a submitted run: records are the truth, the scheduler gives hints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_cluster import PROFILE, FakeCluster
from fake_scheduler import CONTROLLER_IS_DOWN

from hpcgeom.api import job_status
from hpcgeom.api.job_status import RunReport, report_of, tail
from hpcgeom.api.running import resume
from hpcgeom.cli import submission
from hpcgeom.store.jobs import jobs_of
from hpcgeom.store.leases import lease


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> FakeCluster:
    return FakeCluster(tmp_path / "bin", monkeypatch)


@pytest.fixture
def root(hpcgeom, cluster, finished, tmp_path) -> Path:
    """The run of the clouds, submitted: 100 and 101 extract, 102 searches, 103 measures, 104 collects."""
    (tmp_path / "p.yaml").write_text(PROFILE)
    assert hpcgeom("submit", "-m", finished.manifest, "-p", "p.yaml", "--run-dir", tmp_path / "r").code == 0
    return tmp_path / "r"


def log_of(root: Path, number: int, element: int, text: str) -> Path:
    path = Path(jobs_of(root)[number].log_of(element))
    path.write_text(text)
    return path


def counts(report: RunReport) -> list[tuple[int, int, int, int]]:
    return [(stage.n_done, stage.n_running, stage.n_pending, stage.n_failed) for stage in report.stages]


WAITING = {"102": "PENDING|Dependency", "103": "PENDING|Dependency", "104": "PENDING|Dependency"}


def test_units_are_counted_by_what_their_jobs_do(cluster, root):
    cluster.knows(
        {"100_0": "RUNNING", "100_1": "PENDING|Resources", "101_[0-1]": "PENDING|Priority", **WAITING}
    )
    report = report_of(root)
    assert counts(report) == [(0, 1, 3, 0), (0, 0, 6, 0), (0, 0, 0, 0), (0, 0, 7, 0), (0, 0, 1, 0)]
    assert (report.is_complete, report.is_under_way, report.notices) == (False, True, [])
    first, second, *_ = report.jobs
    assert (first.states, first.reasons) == ({"running": 1, "pending": 1}, ["Resources"])
    assert (second.states, second.reasons, second.n_elements) == ({"pending": 2}, ["Priority"], 2)
    assert (report.jobs[2].states, report.jobs[2].reasons) == ({"pending": 1}, ["Dependency"])
    assert [job.failed for job in report.jobs] == [[]] * 5


@pytest.mark.parametrize("reason", ["JobHeldUser", "launch failed requeued held"])
def test_a_job_that_is_held_says_how_to_release_it(hpcgeom, cluster, root, reason):
    cluster.knows({"100_0": f"PENDING|{reason}", "100_1": "RUNNING", "101_[0-1]": "RUNNING", **WAITING})
    assert report_of(root).jobs[0].reasons == [f"{reason} (scontrol release 100_0)"]
    assert f"{reason} (scontrol release 100_0)" in hpcgeom("status", root).out


def test_an_element_that_ended_too_early_is_shown_with_the_end_of_its_log(hpcgeom, cluster, root):
    log = log_of(root, 0, 1, "".join(f"line {number}\n\n" for number in range(20)))
    cluster.says("sacct", "1|100_1|0:9|OUT_OF_MEMORY\n")
    cluster.knows({"100_0": "RUNNING", "101_[0-1]": "RUNNING", **WAITING})
    report = report_of(root)
    (failed,) = report.jobs[0].failed
    assert (failed.job_id, failed.state, failed.exit_code, failed.units) == (
        "100_1",
        "out_of_memory",
        "0:9",
        "1",
    )
    assert (failed.log, failed.last_lines) == (str(log), [f"line {number}" for number in range(15, 20)])
    assert counts(report)[0] == (0, 3, 0, 1)
    shown = hpcgeom("status", root)
    assert shown.code == 3
    assert (
        f"extract job 100_1 ended without units 1 (out_of_memory, exit code 0:9): {log}\n  | line 15\n"
        in shown.out
    )


def test_a_job_without_elements_that_ended_too_early_is_shown_too(hpcgeom, cluster, root):
    cluster.knows({"100_[0-1]": "RUNNING", "101_[0-1]": "RUNNING", "102": "FAILED|NonZeroExitCode"})
    report = report_of(root)
    (failed,) = report.jobs[2].failed
    assert (failed.job_id, failed.state, failed.units, failed.last_lines) == ("102", "failed", "", [])
    assert f"search job 102 ended (failed, exit code 0:0): {failed.log}\n" in hpcgeom("status", root).out


def test_a_job_of_which_nobody_knows_anything_is_unknown_and_what_it_lacks_has_failed(cluster, root):
    report = report_of(root)
    assert [job.states for job in report.jobs] == [{"unknown": job.n_elements} for job in report.jobs]
    assert counts(report) == [(0, 0, 0, 4), (0, 0, 0, 6), (0, 0, 0, 0), (0, 0, 0, 7), (0, 0, 0, 1)]
    assert not report.is_under_way
    assert [len(job.failed) for job in report.jobs] == [2, 2, 1, 1, 1]


def test_only_the_last_job_of_a_kind_is_shown_to_have_failed(hpcgeom, cluster, root):
    assert hpcgeom("resume", root).code == 0
    cluster.knows({"105_0": "RUNNING"})
    report = report_of(root)
    assert [len(job.failed) for job in report.jobs[:5]] == [0] * 5
    assert [len(job.failed) for job in report.jobs[5:]] == [1, 2, 1, 1, 1]
    assert counts(report)[0] == (0, 1, 0, 3)


def test_what_is_done_counts_whatever_the_scheduler_says(hpcgeom, cluster, root):
    assert hpcgeom("resume", root, "--workers", 1).code == 0
    cluster.knows({"100_0": "FAILED|NonZeroExitCode", "102": "RUNNING"})
    report = report_of(root)
    assert counts(report) == [(4, 0, 0, 0), (6, 0, 0, 0), (0, 0, 0, 0), (7, 0, 0, 0), (1, 0, 0, 0)]
    assert report.is_complete
    assert [job.failed for job in report.jobs] == [[]] * 5
    assert hpcgeom("status", root).code == 0


@pytest.fixture
def silence(cluster, root):
    for command in ("squeue", "sacct", "scontrol"):
        cluster.says(command, stderr=CONTROLLER_IS_DOWN, code=1)
    return f"what the scheduler says is not known: squeue does not answer ({CONTROLLER_IS_DOWN})"


def test_jobs_have_not_ended_because_the_scheduler_does_not_answer(hpcgeom, root, silence):
    report = report_of(root)
    assert counts(report) == [(0, 0, 0, 0)] * 5
    assert [job.failed for job in report.jobs] == [[]] * 5
    assert {state for job in report.jobs for state in job.states} == {"unknown"}
    assert report.notices == [silence]
    shown = hpcgeom("status", root)
    assert shown.out.endswith(f"note: {silence}\n")
    assert "ended" not in shown.out


def test_watching_outlasts_a_scheduler_that_does_not_answer_for_a_while(cluster, root, silence, monkeypatch):
    slept: list[float] = []

    def answer(seconds: float) -> None:
        slept.append(seconds)
        cluster.knows({})
        cluster.says("sacct")

    monkeypatch.setattr(submission, "time", SimpleNamespace(sleep=answer))
    text, code = submission.watch(root)
    assert (len(slept), code) == (1, 3)
    assert "nobody works on it" in text


def test_a_run_that_was_never_submitted_asks_no_scheduler(hpcgeom, cluster, finished):
    assert report_of(finished.root).jobs == []
    assert cluster.calls("squeue") == cluster.calls("sacct") == []


def test_json_is_what_its_schema_says(hpcgeom, cluster, root):
    cluster.knows({"100_0": "RUNNING", "100_1": "FAILED|x", **WAITING})
    shown = hpcgeom("status", root, "--json")
    assert (shown.code, shown.err) == (3, "")
    assert RunReport.model_validate_json(shown.out) == report_of(root)
    parsed = json.loads(shown.out)
    schema = json.loads(hpcgeom("schema", "status").out)
    for value, properties in (
        (parsed, schema["properties"]),
        (parsed["stages"][0], schema["$defs"]["StageReport"]["properties"]),
        (parsed["jobs"][0], schema["$defs"]["JobReport"]["properties"]),
        (parsed["jobs"][0]["failed"][0], schema["$defs"]["ElementReport"]["properties"]),
    ):
        assert value.keys() == properties.keys()
        types = {
            "string": str,
            "integer": int,
            "number": (int, float),
            "boolean": bool,
            "array": list,
            "object": dict,
        }
        assert all(isinstance(value[key], types[facts["type"]]) for key, facts in properties.items())
    assert (parsed["schema_version"], parsed["run"]) == (1, str(root))
    try:
        import jsonschema
    except ImportError:
        return
    jsonschema.validate(parsed, schema)


def test_watching_ends_when_nobody_works(hpcgeom, cluster, root):
    shown = hpcgeom("status", root, "--watch")
    assert shown.code == 3
    assert shown.out.endswith(f"nobody works on it: hpcgeom resume {root}\n")
    assert shown.out.count("stage     done") == 1


def test_watching_shows_each_state_until_all_is_done(hpcgeom, cluster, root, monkeypatch):
    cluster.knows({"100_0": "RUNNING"})
    slept: list[float] = []

    def finish(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            resume(root, workers=1)

    monkeypatch.setattr(submission, "time", SimpleNamespace(sleep=finish))
    text, code = submission.watch(root)
    assert slept == [submission.WATCH_EVERY_S] * 2
    assert code == 0
    assert "nobody works on it" not in text


def test_watching_goes_on_while_a_process_here_does_a_unit(cluster, root, monkeypatch):
    held = lease(root / "records" / "extract" / "00000.lease")
    held.__enter__()
    slept: list[float] = []

    def release(seconds: float) -> None:
        slept.append(seconds)
        held.__exit__(None, None, None)

    monkeypatch.setattr(submission, "time", SimpleNamespace(sleep=release))
    text, code = submission.watch(root)
    assert (len(slept), code) == (1, 3)
    assert "nobody works on it" in text


def test_logs_are_printed_by_job_and_only_of_the_stage_that_is_asked_for(hpcgeom, cluster, root):
    assert hpcgeom("logs", root).out == f"{root}: no job has written a log\n"
    first = log_of(root, 0, 1, "a\n\nb\nc\n")
    last = log_of(root, 4, 0, "the end\n")
    shown = hpcgeom("logs", root, "--lines", 2)
    assert shown.code == 0
    assert shown.out == (f"== extract wide job 100_1: {first}\nb\nc\n\n== collect job 104: {last}\nthe end\n")
    assert hpcgeom("logs", root, "--stage", "collect").out == f"== collect job 104: {last}\nthe end\n"
    assert hpcgeom("logs", root, "--stage", "search").out == (
        f"{root}: no job has written a log for stage 'search'\n"
    )
    refused = hpcgeom("logs", root, "--stage", "all")
    assert (refused.code, refused.err) == (
        2,
        (
            "hpcgeom: unknown stage 'all': expected one of extract, search, merge, geometry, collect: "
            "choose one of them\n"
        ),
    )


def test_the_end_of_a_long_log_is_read_without_the_rest_and_bytes_that_are_no_text_are_shown(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.seek(10**9)
        file.write(b"\nlast \xff line\n")
    assert tail(path, 1) == ["last \ufffd line"]
    assert tail(tmp_path / "nothing", 3) == []
    assert job_status.LAST_LINES == 5


def test_the_table_has_a_row_for_each_job(hpcgeom, cluster, root):
    cluster.knows({"100_0": "RUNNING", "100_1": "PENDING|Resources", "101_[0-1]": "COMPLETED", **WAITING})
    rows = [re.split(r"  +", line.strip()) for line in hpcgeom("status", root).out.splitlines()]
    assert ["100", "extract", "wide", "2", "1 pending, 1 running", "Resources"] in rows
    assert ["101", "extract", "deep", "2", "2 completed", "-"] in rows
    assert ["102", "search", "-", "1", "pending", "Dependency"] in rows
