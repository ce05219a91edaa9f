"""Verify: read every byte of a run and hold it against the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcgeom.errors import InputError
from hpcgeom.manifest import load_manifest, manifest_digest
from hpcgeom.plan import paths
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.prepare import prepare_unit
from hpcgeom.stages.run import Run
from hpcgeom.store.records import Records
from hpcgeom.types import Unit


@dataclass(slots=True)
class Verdict:
    """What verify found.

    Attributes
    ----------
    damaged
        Unit to what is wrong with it; its record is now ``.bad``, so that it counts as missing.
    missing
        Units that have no valid record.
    n_units, n_files, n_bytes
        What was read.
    splits
        Units whose batches were halved after running out of memory.
    devices
        Kinds of devices that did the units; more than one may differ in the last bits.
    """

    damaged: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    n_units: int = 0
    n_files: int = 0
    n_bytes: int = 0
    splits: list[str] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged and nothing is missing."""
        return not self.damaged and not self.missing


def verify(root: Path, on_unit: Callable[[str], None] = lambda _: None) -> Verdict:
    """Check every unit of a run; bad units lose their record.

    Parameters
    ----------
    on_unit
        Called with the name of each unit that was read.
    """
    verdict = Verdict()
    _check(verdict, Records(root, "prepare"), _prepared(root), on_unit)
    if verdict.damaged or verdict.missing:
        return verdict  # nothing further can be known before the plan is sound
    run = Run(root)
    for unit in run.layout_units():
        _check(verdict, run.records(unit.stage), unit, on_unit)
    for stage in STAGES:
        for unit in run.units(stage):
            _check(verdict, run.records(stage), unit, on_unit)
    return verdict


def _prepared(root: Path) -> Unit:
    """The unit of prepare: of the manifest that the run keeps; where that is damaged, of its record."""
    unit = prepare_unit("")
    try:
        return prepare_unit(manifest_digest(load_manifest(root / paths.MANIFEST).manifest))
    except InputError:
        record = Records(root, "prepare").load(unit)
        return unit if record is None else replace(unit, digest=record.digest)


def _check(verdict: Verdict, records: Records, unit: Unit, on_unit: Callable[[str], None]) -> None:
    name = f"{unit.stage} {unit.index} ({unit.key})" if unit.index >= 0 else f"{unit.stage} {unit.key}"
    verdict.n_units += 1
    record = records.load(unit)
    if records.is_superseded(unit):  # its files may be gone, and nobody reads them
        on_unit(name)
        return
    if record is None:
        verdict.missing.append(name)
        return
    found = records.damage(unit)
    verdict.n_files += len(record.files)
    verdict.n_bytes += sum(entry.size for entry in record.files)
    verdict.devices.add(str(record.made_by.get("device", "")))
    if record.facts.get("batch_splits"):
        verdict.splits.append(name)
    if (record.key, record.digest) != (unit.key, unit.digest):
        found.append(f"{records.path(unit)} is the record of something else ({record.key})")
    if found:
        verdict.damaged[name] = found
        records.mark_bad(unit)
    on_unit(name)
