"""Where a strategy keeps what it has found of a set of units, until all of them are recorded."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hpcgeom.errors import InputError
from hpcgeom.plan.packing import pack, unpack
from hpcgeom.stages.run import Run
from hpcgeom.types import Unit

FOLDER = "scratch"


class ScratchFolders:
    """The folders of one model's sets of units, named after their numbers.

    A set is carried through all blocks before its first unit can be recorded. Where only some of its units
    were recorded before the process was killed, what is left of it is done as that set again, at no cost.
    """

    def __init__(self, run: Run, model: str) -> None:
        self._run, self._folder = run, run.root / FOLDER / model

    def of(self, units: Sequence[Unit]) -> tuple[Path, list[Unit]]:
        """The folder of a set that has all of `units`, and the units of that set."""
        asked = {unit.index for unit in units}
        for folder in sorted(self._folder.glob("*")):
            indices = _indices(folder)
            if asked <= set(indices):
                return folder, self._run.select("extract", indices)
        return self._folder / pack([unit.index for unit in units]), list(units)

    def forget_recorded(self) -> None:
        """Remove the folders of sets whose units are all recorded."""
        records = self._run.records("extract")
        for folder in sorted(self._folder.glob("*")):
            if not records.missing(self._run.select("extract", _indices(folder))):
                shutil.rmtree(folder, ignore_errors=True)


def forget_all(run: Run) -> None:
    """Remove whatever is kept: all units are recorded."""
    shutil.rmtree(run.root / FOLDER, ignore_errors=True)


def _indices(folder: Path) -> list[int]:
    try:
        return unpack(folder.name)
    except InputError:
        return []
