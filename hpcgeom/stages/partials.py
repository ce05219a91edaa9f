"""What the parts of a split search find: files that are there until the lists are merged from them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from hpcgeom.errors import DamagedError
from hpcgeom.plan import paths
from hpcgeom.stages.run import Run
from hpcgeom.store import npz
from hpcgeom.store.checksums import PIECE_BYTES, checksum_of
from hpcgeom.store.records import Record
from hpcgeom.types import Unit

_SCAN = "scan"
"""Among the facts of a part: which scan it is, or was found from."""


def write_scan(run: Run, unit: Unit, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Write what a scan found; pairs that were found from another one are to be found again.

    Returns
    -------
    dict
        Facts for its record.
    """
    path = run.root / unit.owns[0]
    npz.save(path, arrays)
    mark = checksum_of(path, PIECE_BYTES)
    records = run.records(unit.stage)
    for pair in run.units(unit.stage):
        if unit.index in pair.needs and (record := records.load(pair)) and record.facts.get(_SCAN) != mark:
            records.remove(pair)
    return {_SCAN: mark}


def read_scan(run: Run, unit: Unit) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """What a scan found, and what tells it from every other one.

    Raises
    ------
    DamagedError
        The bytes are not those of its record, or it has none.
    """
    record = _sound(run, unit)
    return npz.load(run.root / unit.owns[0]), str(record.facts[_SCAN])


def write_pair(run: Run, unit: Unit, arrays: Mapping[str, npt.NDArray[Any]], mark: str) -> dict[str, Any]:
    """Write what a pair of blocks found, from the scan with this mark; gives facts for its record."""
    npz.save(run.root / unit.owns[0], arrays)
    return {_SCAN: mark}


def pair_file(run: Run, unit: Unit, mark: str) -> Path:
    """The file of a pair of blocks, found from the scan with this mark.

    Raises
    ------
    DamagedError
        As `read_scan`, or it was found from another scan; then it loses its record.
    """
    record = _sound(run, unit)
    if record.facts.get(_SCAN) != mark:
        run.records(unit.stage).remove(unit)
        raise DamagedError(
            f"{run.root}: {unit.owns[0]} was found from another scan of the points: "
            f"hpcgeom resume {run.root} finds it again"
        )
    return run.root / unit.owns[0]


def _sound(run: Run, unit: Unit) -> Record:
    """The record of a part whose bytes are those that it promises."""
    record, (name,) = run.records(unit.stage).load(unit), unit.owns
    faults = [fault for entry in record.files if (fault := entry.fault(run.root))] if record else []
    if record is None or faults:
        fault = faults[0] if faults else f"{name} is in no record of {unit.stage}"
        raise DamagedError(
            f"{run.root}: {fault}: hpcgeom verify {run.root} names all that is damaged, "
            f"and hpcgeom resume {run.root} mends it"
        )
    return record


def remove_merged(run: Run, merge: Unit | None = None) -> None:
    """Remove what the parts of searches found whose lists are all merged; idempotent.

    Parameters
    ----------
    merge
        Look at the search that this unit merges alone; by default at all.
    """
    top, records = run.root / paths.PARTIAL_NEIGHBORS, run.records("search")
    if not top.exists():
        return
    scans = [unit for unit in run.units("search") if unit.n_blocks > 1 and unit.blocks is None]
    if merge is not None:
        scans = [unit for unit in scans if merge in unit.superseded_by]
    merged = [unit for unit in scans if records.is_superseded(unit)]
    is_all = merge is None and len(merged) == len(scans)
    for folder in [top] if is_all else [(run.root / unit.owns[0]).parent for unit in merged]:
        shutil.rmtree(folder, ignore_errors=True)  # another process may do the same at this moment
