"""Jobs of a cluster that are requeued, preempted, cancelled, cut off and lost: every run ends the same."""

from __future__ import annotations

import re

import lab_jobs
import pytest
from arrays_run import write_clouds, write_manifest
from faulty_runs import FaultyRun, use

from hpcgeom.api.running import run_manifest

pytestmark = pytest.mark.slurm

FIRST, SECOND = "unit-begins.extract.0", "unit-begins.extract.1"
"""The units of the first model, both done by the only element of its array."""


@pytest.fixture
def run(lab, monkeypatch, finished, tmp_path):
    """A run that was not begun."""
    use(lab, monkeypatch)
    return FaultyRun(lab, tmp_path, finished.manifest, finished.root)


def test_an_element_that_is_requeued_goes_on_and_the_others_are_left_alone(run):
    run.faults.hold(FIRST)
    run.submit()
    run.faults.wait_for(FIRST)
    element, other = run.id_of("extract", "wide"), run.id_of("extract", "deep")
    run.wait_until_over(other)
    kept = run.record("extract", 2)
    run.lab.run("scontrol", "requeue", element)
    log = run.wait_for_log(element, "SIGTERM: the job ends (requeued)", 20)
    run.faults.release(FIRST)
    assert run.state(run.id_of("search"))["JobState"] == "PENDING"
    assert "Dependency" in run.status()
    run.wait_until_complete()
    assert run.attempts("extract") == [1, 1, 0, 0]
    assert run.record("extract", 2) == kept
    assert run.log(element).startswith(log[: log.index("SIGTERM")])
    assert int(run.state(element)["Restarts"]) == 1
    assert [attempt for _, attempt in run.faults.came(FIRST)] == [0, 1]
    assert len(run.jobs("search")) == 1


def test_an_element_that_is_cancelled_ends_and_is_not_put_back(run):
    run.faults.hold(FIRST)
    run.submit()
    run.faults.wait_for(FIRST)
    element = run.id_of("extract", "wide")
    run.lab.run("scancel", element)
    log = run.wait_for_log(element, "the job ends (cancelled)")
    state = run.wait_until_over(element)
    assert (state["JobState"], state["Restarts"]) == ("CANCELLED", "0")
    assert "in the queue again" not in log
    run.drop_jobs()
    run.finish_here()


def preempt(run: FaultyRun) -> str:
    """Submit a job for which all of n1 is wanted."""
    everything = ("-p", "high", "-w", "n1", f"-c{run.lab.options.cpus}", "--mem=1", "-t", "1")
    return lab_jobs.submit(run.lab, *everything, "--wrap", "true")


ON_N1 = {"slurm": "{partition: low, exclude: n2}"}


@pytest.mark.parametrize(
    ("sends_signal", "word"),
    [
        pytest.param(False, "SIGTERM", id="told by SIGTERM"),
        pytest.param(True, "SIGUSR2", id="told by the signal it asked for", marks=pytest.mark.slow),
    ],
)
def test_an_element_in_its_grace_finishes_its_unit_begins_no_other_and_comes_back(run, sends_signal, word):
    run.faults.hold(FIRST)
    with run.lab.reconfigured(grace_time_s=25, preempt_send_user_signal=sends_signal):
        run.submit(**ON_N1)
        run.faults.wait_for(FIRST)
        element, other = run.id_of("extract", "wide"), run.id_of("extract", "deep")
        run.wait_until_over(other)
        high = preempt(run)
        log = run.wait_for_log(element, f"{word}: no other unit is begun; the one in flight has ", 20)
        left = float(log.partition("in flight has ")[2].partition(" s (preempted)")[0])
        assert 8 <= left <= 15
        run.faults.release(FIRST)
        run.wait_for_log(element, "the job is in the queue again and goes on later", 15)
        assert run.record("extract", 0).made_by["attempt"] == 0
        assert run.record("extract", 1) is None
        assert run.wait_until_over(high)["JobState"] == "COMPLETED"
        assert run.state(element)["JobState"] == "PENDING"
        run.wait_until_over(element)
    assert run.attempts("extract") == [0, 1, 0, 0]
    assert run.state(element)["Restarts"] == "1"
    run.drop_jobs()
    run.finish_here()


@pytest.mark.parametrize(
    "sends_signal",
    [
        pytest.param(False, id="told by SIGTERM", marks=pytest.mark.slow),
        pytest.param(True, id="told by both signals at once"),
    ],
)
def test_without_grace_what_is_worked_out_is_still_written(run, sends_signal):
    run.faults.hold("unit-computed.extract.0")
    # Ten seconds from the signal to the kill: enough for the release below on a busy machine.
    with run.lab.reconfigured(grace_time_s=0, kill_wait_s=10, preempt_send_user_signal=sends_signal):
        run.submit(**ON_N1)
        run.faults.wait_for("unit-computed.extract.0")
        element = run.id_of("extract", "wide")
        run.wait_until_over(run.id_of("extract", "deep"))
        preempt(run)
        run.wait_for_log(element, "SIGTERM: the job ends (requeued)", 20)
        run.faults.release("unit-computed.extract.0")
        run.wait_until_over(element)
    assert run.attempts("extract") == [0, 1, 0, 0]
    assert "in the queue again" not in run.log(element)  # SLURM has put it back
    run.drop_jobs()
    run.finish_here()


def test_an_element_whose_node_is_lost_goes_on_on_another(run):
    run.faults.hold(FIRST)
    run.submit()
    pid, _ = run.faults.wait_for(FIRST)
    element = run.id_of("extract", "wide")
    run.wait_until_over(run.id_of("extract", "deep"))
    node = run.state(element)["NodeList"]
    run.lab.kill_node(node)
    (lease,) = (run.root / "records").rglob("*.lease")
    assert f'"pid": {pid},' in lease.read_text()
    run.lab.node_down(node)
    run.faults.release(FIRST)
    state = run.wait_until_over(element)
    assert (state["JobState"], state["NodeList"]) == ("COMPLETED", {"n1": "n2", "n2": "n1"}[node])
    assert run.attempts("extract") == [1, 1, 0, 0]
    run.lab.start_node(node)
    run.lab.node_resume(node)
    run.drop_jobs()
    run.finish_here()


@pytest.mark.slow
def test_while_the_lost_node_still_works_on_a_unit_the_next_attempt_waits_for_it(run):
    run.faults.hold(FIRST)
    run.submit()
    pid, _ = run.faults.wait_for(FIRST)
    element = run.id_of("extract", "wide")
    node = run.state(element)["NodeList"]
    run.lab.kill_node(node, steps=False)
    log = run.wait_for_log(element, "1 units are being done by others: ")
    assert f"is being done by process {pid} on " in log
    assert run.state(element)["Restarts"] == "1"
    run.faults.release(FIRST)
    assert run.wait_until_over(element)["JobState"] == "COMPLETED"
    assert run.record("extract", 0).made_by["pid"] == pid
    assert run.attempts("extract")[0] == 0
    run.wait_until_complete()


ONE_MINUTE = {
    "slurm": "{partition: main, signal_before_end_s: 5}",
    "extract": '{walltime: "00:01:00", jobs: 1}',
}


@pytest.mark.slow
def test_many_units_of_twenty_seconds_come_to_their_end_in_jobs_of_one_minute(run, tmp_path):
    write_clouds(tmp_path / "many", 1200)
    manifest = write_manifest(tmp_path / "many")
    run = FaultyRun(
        run.lab, tmp_path / "own", manifest, run_manifest(manifest, tmp_path / "reference", workers=1)
    )
    run.submit(seconds=20.0, **ONE_MINUTE)
    run.wait_until_complete(600)
    attempts = run.attempts("extract")
    assert attempts == sorted(attempts[:5]) + sorted(attempts[5:])
    assert 2 <= len(set(attempts[:5])) <= 5
    assert run.log(run.id_of("extract", "wide")).count("the job is in the queue again and goes on later") >= 1


@pytest.mark.slow
def test_a_unit_longer_than_the_walltime_is_an_error_with_both_numbers(run):
    run.faults.hold(FIRST)
    run.submit(**ONE_MINUTE)
    element = run.id_of("extract", "wide")
    state = run.wait_until_over(element, 150)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("FAILED", "4:0", "0")
    log = run.log(element)
    found = re.search(
        r"no unit was finished in the (\d+) s that this job had before its walltime of 60 s", log
    )
    assert found, log
    assert 20 <= int(found[1]) <= 60
    assert "ended: raise the walltime, or make units smaller (extract.unit_rows of the manifest)" in log
    assert run.attempts("extract") == [-1, -1, 0, 0]
    run.faults.release(FIRST)
    run.wait_until_over(run.id_of("collect"))
    assert f"extract job {element} ended without units 0-1 (failed, exit code 4:0)" in run.status()
    run.finish_here()
