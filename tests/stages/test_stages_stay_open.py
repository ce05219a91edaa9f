"""What is costly to get ready, weights above all, is got ready once a process and model."""

from __future__ import annotations

import pytest

from hpcgeom.api.job import run_task
from hpcgeom.manifest import load_manifest
from hpcgeom.stages import task
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.task import STAGE_OF

MODELS = ["wide", "deep"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [("extract", MODELS), ("search", MODELS), ("geometry", [*MODELS, ""]), ("collect", [""])],
)
def test_a_stage_is_opened_once_for_all_units_of_a_model(finished, tmp_path, monkeypatch, stage, expected):
    run = prepare(load_manifest(finished.manifest), tmp_path / "run")
    stages = list(STAGE_OF)
    for earlier in stages[: stages.index(stage)]:
        run_task(run.root, earlier, range(len(run.units(earlier))))
    opened = []
    kind = type(STAGE_OF[stage])
    really = kind.open

    def counted(self, run, unit):
        opened.append(unit.model)
        return really(self, run, unit)

    monkeypatch.setattr(kind, "open", counted)
    run_task(run.root, stage, range(len(run.units(stage))))
    assert opened == expected
    assert task._opened._work is None, "nothing is held when the task is over"
