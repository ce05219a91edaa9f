"""Batches that are cut because memory ran out on them, kept beside the records.

They are written before a batch is run again, so that every later attempt at its unit cuts it alike and gives
the same bits; the record of the unit names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.errors import DamagedError
from hpcgeom.stages.run import Run
from hpcgeom.store import files
from hpcgeom.types import Unit

if TYPE_CHECKING:
    from hpcgeom.models import Splits


def of_batches(run: Run, batches: Sequence[tuple[Unit, int]]) -> Splits:
    """How some batches are cut, each given by its unit and its number there; new cuts are kept.

    Raises
    ------
    DamagedError
        What is kept of them cannot be read.
    """
    from hpcgeom.models import Splits

    known = {unit: _read(_path(run, unit)) for unit in dict.fromkeys(unit for unit, _ in batches)}

    def keep(batch: int, n_pieces: int) -> None:
        unit, number = batches[batch]
        known[unit][number] = n_pieces
        files.write_json(_path(run, unit), known[unit])

    found = {batch: known[unit].get(number, 1) for batch, (unit, number) in enumerate(batches)}
    return Splits(
        {batch: n_pieces for batch, n_pieces in found.items() if n_pieces > 1},
        keep,
        lambda batch: f"batch {batches[batch][1]} of unit {batches[batch][0].key}",
    )


def of_unit(run: Run, unit: Unit) -> list[tuple[int, int]]:
    """Numbers of the batches of a unit that are cut, and into how many pieces.

    Raises
    ------
    DamagedError
        What is kept of them cannot be read.
    """
    return sorted(_read(_path(run, unit)).items())


def units_with(run: Run) -> list[str]:
    """Names of the units whose batches were cut."""
    records = run.records("extract")
    return [
        f"extract {unit.index} ({unit.key})"
        for unit in run.units("extract")
        if (record := records.load(unit)) is not None and record.facts.get("batch_splits")
    ]


def _path(run: Run, unit: Unit) -> Path:
    return run.records(unit.stage).path(unit).with_suffix(".splits")


def _read(path: Path) -> dict[int, int]:
    try:
        return {int(batch): int(n_pieces) for batch, n_pieces in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"{path} does not say which batches of its unit are cut ({error}): remove it, and the unit is "
            "run as if memory had never run out"
        ) from error
