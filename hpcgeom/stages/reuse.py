"""Taking over finished units of another run, where what was asked for is equal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hpcgeom.errors import InputError
from hpcgeom.plan import paths
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.run import Run
from hpcgeom.store import files
from hpcgeom.store.leases import lease
from hpcgeom.store.records import Record, Records, read_record
from hpcgeom.types import Unit


def take_over(run: Run, other: Path) -> list[str]:
    """Take over (hard links, else copies) every unit of `other` with an equal digest and key.

    Returns
    -------
    list of str
        What was taken over, and why the rest of a stage was not, one sentence a stage.

    Raises
    ------
    InputError
        `other` is not a run, or is this run.
    """
    if not (other / paths.PLAN).exists():
        raise InputError(
            f"--reuse {other} is not a prepared run (it has no {paths.PLAN}): name the directory of a run"
        )
    if other.resolve() == run.root.resolve():
        raise InputError(f"--reuse {other} is the run itself: leave --reuse out, what is done is kept")
    lines: dict[str, str] = {}
    # Where merged lists are taken over, the parts of their searches are not missing any more.
    for stage in sorted(STAGES, key=lambda stage: stage != "merge"):
        finished = _finished(other, stage)
        missing = run.missing(stage)
        taken = sum(_take(run, unit, other, finished.get((unit.key, unit.digest))) for unit in missing)
        same_name = {key for key, _ in finished}
        stale = sum((unit.key, unit.digest) not in finished and unit.key in same_name for unit in missing)
        if missing:
            lines[stage] = f"reuse: {stage}: {taken} of {len(missing)} units taken over" + _why(stale)
    return [lines[stage] for stage in STAGES if stage in lines]


def _why(stale: int) -> str:
    return f", {stale} were done there from other settings or inputs" if stale else ""


def _finished(other: Path, stage: str) -> dict[tuple[str, str], Record]:
    found = (read_record(path) for path in sorted(Records(other, stage).folder.glob("[0-9]*.json")))
    return {(record.key, record.digest): record for record in found if record is not None}


def _take(run: Run, unit: Unit, other: Path, record: Record | None) -> bool:
    """Link one unit's files; a file whose bytes are not those of its record is not taken over."""
    if record is None or unit.superseded_by:  # parts of a search are worth nothing without each other
        return False
    if any(entry.fault(other) for entry in record.files):
        return False
    records = run.records(unit.stage)
    with lease(records.path(unit).with_suffix(".lease")):
        records.remove(unit)
        files.remove(run.root, unit.owns)
        for entry in record.files:
            _link(other / entry.path, run.root / entry.path)
        records.write(unit, record.facts, record.made_by)
    return True


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
