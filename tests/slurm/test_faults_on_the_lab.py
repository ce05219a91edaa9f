"""Jobs on a real cluster that are requeued, preempted, cancelled, cut off and lost; every run ends the same."""

from __future__ import annotations

import os
import signal
import time

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
    pid, _ = run.faults.wait_for(FIRST)
    element, other = run.id_of("extract", "wide"), run.id_of("extract", "deep")
    run.wait_until_over(other)
    kept = run.record("extract", 2)
    run.lab.run("scontrol", "requeue", element)
    run.faults.release(FIRST)
    log = run.wait_for_log(element, "SIGTERM: the job ends (requeued)")
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
