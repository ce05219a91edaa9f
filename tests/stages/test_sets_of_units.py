"""Several units that one process does together: while one is written, the next one is worked out."""

from __future__ import annotations

import threading

import pytest

from hpcgeom import faults, interrupts
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.packing import sets
from hpcgeom.stages import base, task
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.task import Task
from hpcgeom.stages.writer import Writer
from hpcgeom.store.leases import lease
from hpcgeom.types import Unit


@pytest.fixture
def run(finished, tmp_path):
    """Prepared, with two units of extract a model."""
    yield prepare(load_manifest(finished.manifest), tmp_path / "run")
    task.close()


def do(run, *indices):
    return task.do(Task(str(run.root), "extract", indices))


def test_a_set_gives_the_files_of_units_done_alone(run, finished):
    receipts = do(run, 0, 1)
    assert [(receipt.index, receipt.did, receipt.failure) for receipt in receipts] == [
        (0, True, ""),
        (1, True, ""),
    ]
    for unit in run.units("extract")[:2]:
        assert run.records("extract").load(unit).files
        for name in unit.owns:
            assert (run.root / name).read_bytes() == (finished.root / name).read_bytes()
    assert not any(receipt.did for receipt in do(run, 0, 1)), "what is recorded is not done again"


def test_what_was_written_before_a_failure_stays_and_the_rest_is_told(run, monkeypatch):
    def fail(moment, **about):
        if (moment, about.get("index")) == ("unit-computed", 1):
            raise OSError("the test breaks it")

    monkeypatch.setattr(faults, "reached", fail)
    first, second = do(run, 0, 1)
    assert first.did
    assert second.failure == "OSError: the test breaks it"
    records, units = run.records("extract"), run.units("extract")[:2]
    assert records.missing(units) == [units[1]]
    assert list(records.folder.glob("*.lease")) == []
    monkeypatch.undo()
    assert [receipt.did for receipt in do(run, 0, 1)] == [False, True]


def test_a_unit_that_another_process_does_is_left_to_it(run):
    records, unit = run.records("extract"), run.units("extract")[0]
    with lease(records.path(unit).with_suffix(".lease")):
        first, second = do(run, 0, 1)
    assert first.is_held
    assert "is being done by process" in first.failure
    assert second.did


def test_the_next_unit_is_worked_out_while_one_is_written(run):
    units, is_worked_out = run.units("extract")[:2], threading.Event()

    def work(todo):
        yield todo[0], lambda: {"waited": is_worked_out.wait(20.0)}
        is_worked_out.set()
        yield todo[1], dict

    assert base.do_units(run, units, work).did == set(units)
    assert run.records("extract").load(units[0]).facts["waited"]


def test_one_is_written_while_another_becomes_durable_and_no_third_is_held():
    second_begins, first_may_end, events = threading.Event(), threading.Event(), []

    def first():
        assert first_may_end.wait(20.0)
        events.append("first is durable")

    def second():
        second_begins.set()

    def end_the_first():
        assert second_begins.wait(20.0)
        events.append("second begins")
        first_may_end.set()

    ending = threading.Thread(target=end_the_first)
    ending.start()
    with Writer() as writer:
        writer.put(first)
        writer.put(second)
        events.append("a third is worked out")
    ending.join()
    assert events == ["second begins", "first is durable", "a third is worked out"]


def test_what_fails_is_told_by_the_next_one_which_is_written_nonetheless():
    written = []

    def fail():
        raise OSError("the test breaks it")

    def hand_over():
        with Writer() as writer:
            writer.put(fail)
            writer.put(lambda: written.append(1))
            written.append("a third, although one failed")

    with pytest.raises(OSError, match="the test breaks it"):
        hand_over()
    assert written == [1]


def test_an_interruption_waits_for_what_is_being_written():
    written, begun = [], threading.Event()

    def write():
        begun.set()
        threading.Event().wait(0.05)
        written.append(1)

    def interrupted():
        with interrupts.unit(), Writer() as writer:
            writer.put(write)
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert written == [1]


def test_sets_are_neighbors_of_one_model():
    units = [Unit("extract", i, str(i), "", (), model) for i, model in enumerate("aaabb")]
    assert [[unit.index for unit in each] for each in sets(units, 2)] == [[0, 1], [2], [3, 4]]
    assert [len(each) for each in sets(units)] == [1] * 5
