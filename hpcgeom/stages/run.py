"""A run directory, opened: its plan, its units and their records."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from hpcgeom.errors import DamagedError, InputError
from hpcgeom.plan import paths
from hpcgeom.plan.identity import digest
from hpcgeom.plan.plan import Plan, read_plan
from hpcgeom.plan.units import STAGES, units_of
from hpcgeom.store.records import FileEntry, Records, read_record
from hpcgeom.types import Means, Unit
from hpcgeom.version import __version__

LAID_OUT = ("extract", "search")
"""The stages that have stores of their own; `merge` writes into that of the search."""


class Run:
    """One plan being carried out in its directory.

    Attributes
    ----------
    root
        The run directory; it holds ``plan.json``.
    means
        How this process runs a model, by its name, where it was told; nothing that is computed depends on it.

    Raises
    ------
    InputError
        The directory was not prepared.
    DamagedError
        The plan is not the one that prepare wrote.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.means: dict[str, Means] = {}
        is_there = (root / paths.PLAN).exists()
        self.plan: Plan = read_plan(self.sound(paths.PLAN) if is_there else root / paths.PLAN)

    @property
    def folder(self) -> Path:
        """The manifest's folder, where relative paths start."""
        return Path(self.plan.manifest_folder)

    def records(self, stage: str) -> Records:
        """The records of `stage`."""
        return Records(self.root, stage)

    @functools.cache  # noqa: B019 - a run lives as long as its process
    def sound(self, name: str, stage: str = "prepare") -> Path:
        """The path of a file that `stage` wrote, whose bytes are still those: its reader might not notice.

        Raises
        ------
        DamagedError
            Its bytes are not those of its record, or it is in no record.
        """
        promised = self._promised(stage)
        fault = promised[name].fault(self.root) if name in promised else f"{name} is in no record of {stage}"
        if fault:
            raise DamagedError(
                f"{self.root}: {fault}: hpcgeom verify {self.root} names all that is damaged, "
                f"and hpcgeom resume {self.root} mends it"
            )
        return self.root / name

    @functools.cache  # noqa: B019 - a run lives as long as its process
    def _promised(self, stage: str) -> dict[str, FileEntry]:
        paths_of_records = sorted(self.records(stage).folder.glob("[0-9]*.json"))
        records = [record for path in paths_of_records if (record := read_record(path))]
        return {entry.path: entry for record in records for entry in record.files}

    @functools.cache  # noqa: B019 - a run lives as long as its process
    def units(self, stage: str) -> tuple[Unit, ...]:
        """All units of `stage`."""
        return units_of(self.plan, stage)

    def missing(self, stage: str) -> list[Unit]:
        """The units of `stage` that have still to be done."""
        return self.records(stage).missing(self.units(stage))

    def layout_unit(self, stage: str) -> Unit:
        """The unit that stands for a stage's metadata files: `init` of the stage does it."""
        return Unit(
            stage, -1, "init", digest("init", stage=stage, units=[u.digest for u in self.units(stage)]), ()
        )

    def layout_units(self) -> list[Unit]:
        """The layouts of all stages that have stores."""
        return [self.layout_unit(stage) for stage in LAID_OUT]

    def select(self, stage: str, indices: Sequence[int]) -> list[Unit]:
        """Units by number.

        Raises
        ------
        InputError
            The stage or a number does not exist.
        """
        if stage not in STAGES:
            raise InputError(
                f"unknown stage '{stage}': expected one of {', '.join(STAGES)}: choose one of them"
            )
        units = self.units(stage)
        wrong = [index for index in indices if not 0 <= index < len(units)]
        if wrong:
            there = f"units 0 to {len(units) - 1}" if units else "no units"
            raise InputError(
                f"stage '{stage}' has {there}, but {wrong[0]} was asked for: correct "
                "--indices, or leave it out"
            )
        return [units[index] for index in indices]

    def refuse_other_versions(self, stage: str, *, allow: bool) -> None:
        """Refuse to mix two versions of hpcgeom within one stage.

        Raises
        ------
        InputError
            A record of the stage was written by another version and `allow` is false.
        """
        for unit in self.units(stage):
            record = self.records(stage).load(unit)
            version = record.made_by.get("hpcgeom") if record else __version__
            if version != __version__ and not allow:
                raise InputError(
                    f"stage '{stage}' of {self.root} was begun with hpcgeom {version}, this is "
                    f"{__version__}: go on with that version, start another run, or say --allow-code-change"
                )
