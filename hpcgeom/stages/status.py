"""Status: how far a run is, from its records alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hpcgeom.plan.packing import pack
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.run import Run
from hpcgeom.store.leases import is_dead, leases_of


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One stage.

    Attributes
    ----------
    n_done, n_units
        Units with a valid record, and all.
    missing
        Numbers of the units that lack one, such as ``0-3,7``.
    running
        Who holds the leases of unfinished units: host and process; not those known to have ended.
    bad
        Units whose record was set aside by verify.
    seconds
        Time spent in the finished units, added up over processes.
    """

    stage: str
    n_done: int
    n_units: int
    missing: str
    running: tuple[str, ...]
    bad: int
    seconds: float


def status_of(run: Run) -> list[StageStatus]:
    """The status of every stage."""
    return [_stage(run, stage) for stage in STAGES]


def _stage(run: Run, stage: str) -> StageStatus:
    records = run.records(stage)
    units = run.units(stage)
    missing = {unit.index for unit in records.missing(units)}
    held = leases_of(records.folder)
    facts = [record.facts for unit in units if unit.index not in missing and (record := records.load(unit))]
    return StageStatus(
        stage=stage,
        n_done=len(units) - len(missing),
        n_units=len(units),
        missing=pack(sorted(missing)),
        running=tuple(_holder(path) for path in held if not is_dead(path)),
        bad=sum(records.path(units[index]).with_suffix(".bad").exists() for index in missing),
        seconds=round(sum(float(fact.get("seconds", 0.0)) for fact in facts), 3),
    )


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"unit {int(path.stem)}: process {found['pid']} on {found['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"unit {path.stem}: unknown"
