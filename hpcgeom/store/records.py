"""Records: the small JSON files that say which units are done, of what, and with which bytes.

A record is never trusted without its bytes, and bytes without a record are never data.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hpcgeom.errors import DamagedError, IncompleteError, InputError
from hpcgeom.store import files
from hpcgeom.store.checksums import PIECE_BYTES, Checksum, checksum_of
from hpcgeom.types import Unit

SCHEMA = 3


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file that a unit wrote, relative to the run directory.

    Attributes
    ----------
    checksum, piece_bytes
        See `hpcgeom.store.checksums`; a short file has no pieces.
    """

    path: str
    size: int
    checksum: str
    piece_bytes: int | None

    @classmethod
    def of(cls, root: Path, name: str) -> FileEntry:
        """The entry of a file as it is now."""
        size = (root / name).stat().st_size
        piece_bytes = None if size <= PIECE_BYTES else PIECE_BYTES
        return cls(name, size, checksum_of(root / name, piece_bytes), piece_bytes)

    @classmethod
    def written(cls, name: str, checksum: Checksum) -> FileEntry:
        """The entry of a file whose bytes went into a checksum while they were written."""
        return cls(name, checksum.size, checksum.hexdigest(), checksum.piece_bytes)

    def fault(self, root: Path) -> str:
        """What is wrong with the file below `root`; empty where its bytes are those promised."""
        path = root / self.path
        if not path.exists():
            return f"{self.path} is missing"
        if path.stat().st_size != self.size:
            return f"{self.path} has {path.stat().st_size} bytes, its record says {self.size}"
        if checksum_of(path, self.piece_bytes) != self.checksum:
            return f"{self.path} has other bytes than its record says"
        return ""


@dataclass(frozen=True, slots=True)
class Record:
    """What a finished unit did.

    Attributes
    ----------
    facts
        What later stages or people need to know: rows, seconds, peak memory, counts.
    made_by
        Versions, host, process, job and attempt: for people, never compared.
    """

    stage: str
    index: int
    key: str
    digest: str
    files: tuple[FileEntry, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


class Records:
    """The records of one stage of one run.

    Parameters
    ----------
    run
        The run directory.
    stage
        Name of the stage.
    """

    def __init__(self, run: Path, stage: str) -> None:
        self.run = run
        self.stage = stage
        self.folder = run / "records" / stage

    def path(self, unit: Unit) -> Path:
        """Where the record of `unit` is."""
        return self.folder / (f"{unit.index:06d}.json" if unit.index >= 0 else f"{unit.key}.json")

    def load(self, unit: Unit) -> Record | None:
        """The record of `unit`, or None where there is none that can be read."""
        return read_record(self.path(unit))

    def is_done(self, unit: Unit) -> bool:
        """Whether `unit` is recorded, or superseded by others that are.

        Raises
        ------
        InputError
            As `is_recorded`.
        """
        # In this order: files go away after the record of what supersedes them is there.
        return self.is_recorded(unit) or self.is_superseded(unit)

    def is_superseded(self, unit: Unit) -> bool:
        """Whether other units hold all that came of `unit`, so that nobody needs its files."""
        return bool(unit.superseded_by) and all(
            Records(self.run, other.stage).is_done(other) for other in unit.superseded_by
        )

    def is_recorded(self, unit: Unit) -> bool:
        """Whether `unit` has a record of the same digest and key whose files exist with their sizes.

        Raises
        ------
        InputError
            The record is of another digest: the run directory belongs to something else.
        """
        record = self.load(unit)
        if record is None:
            return False
        if (record.key, record.digest) != (unit.key, unit.digest):
            raise InputError(
                f"{self.path(unit)} is about '{record.key}' with digest {record.digest[:12]}, but this plan "
                f"asks for '{unit.key}' with digest {unit.digest[:12]}: the run directory holds another run; "
                "choose another --run-dir"
            )
        return all(_has_size(self.run / entry.path, entry.size) for entry in record.files)

    def missing(self, units: Iterable[Unit]) -> list[Unit]:
        """The units that have still to be done."""
        superseding: set[tuple[Unit, ...]] = set()  # many units are superseded by the same ones
        missing: list[Unit] = []
        for unit in units:
            if self.is_recorded(unit) or unit.superseded_by in superseding:
                continue
            if self.is_superseded(unit):
                superseding.add(unit.superseded_by)
            else:
                missing.append(unit)
        return missing

    def _entries(self, names: Collection[str]) -> tuple[FileEntry, ...]:
        """Make files durable, and say what they are."""
        files.sync_files(self.run / name for name in names)
        return tuple(files.at_once(partial(FileEntry.of, self.run, name) for name in names))

    def write(
        self,
        unit: Unit,
        facts: Mapping[str, Any],
        made_by: Mapping[str, Any],
        durable: Sequence[FileEntry] = (),
    ) -> Record:
        """Make the unit's files durable, then say that it is done.

        Parameters
        ----------
        durable
            Files of the unit that are durable already; other processes, maybe on other machines, may have
            written them.
        """
        known = {entry.path for entry in durable}
        others = [name for name in files.files_below(self.run, unit.owns) if name not in known]
        entries = tuple(sorted((*self._entries(others), *durable), key=lambda entry: entry.path))
        record = Record(unit.stage, unit.index, unit.key, unit.digest, entries, facts, made_by)
        files.write_json(self.path(unit), asdict(record))
        return record

    def remove(self, unit: Unit) -> None:
        """Take the record away, durably, before its files are touched."""
        path = self.path(unit)
        if path.exists():
            path.unlink()
            files.sync_folder(path.parent)

    def mark_bad(self, unit: Unit) -> None:
        """Keep a record whose bytes are wrong as ``.bad``, so that the unit counts as missing."""
        path = self.path(unit)
        path.replace(path.with_suffix(".bad"))
        (self.folder / "done.json").unlink(missing_ok=True)

    def finalize(self, units: Sequence[Unit]) -> None:
        """Say that the whole stage is done.

        Raises
        ------
        IncompleteError
            Units are missing; the first few are named.
        """
        self.require(units)
        files.write_json(
            self.folder / "done.json",
            {"stage": self.stage, "n_units": len(units), "digests": sorted({unit.digest for unit in units})},
        )

    def require(self, units: Sequence[Unit]) -> None:
        """Refuse to go on where units of this stage are missing.

        Raises
        ------
        IncompleteError
            Units are missing; the first few are named.
        """
        missing = self.missing(units)
        if missing:
            shown = ", ".join(f"{unit.index} ({unit.key})" for unit in missing[:4])
            more = ", ..." if len(missing) > 4 else ""
            raise IncompleteError(
                f"stage '{self.stage}' of {self.run} is not finished: {len(missing)} of {len(units)} units "
                f"have no valid record ({shown}{more}): hpcgeom resume {self.run}"
            )

    def damage(self, unit: Unit) -> list[str]:
        """Read every byte of a finished unit and say what is wrong with which file."""
        record = self.load(unit)
        if record is None:
            return []
        faults = files.at_once(partial(entry.fault, self.run) for entry in record.files)
        found = [fault for fault in faults if fault]
        promised = {entry.path for entry in record.files}
        found += [
            f"{name} is not in the record of the unit that owns it"
            for name in files.files_below(self.run, unit.owns)
            if name not in promised
        ]
        return found


def read_record(path: Path) -> Record | None:
    """A record from its file, or None where there is none or it is not JSON of a record.

    Raises
    ------
    InputError
        A newer hpcgeom wrote it, or one whose records had other checksums.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        _refuse_others(path, data.get("schema"))
        entries = tuple(FileEntry(**entry) for entry in data.pop("files"))
        return Record(files=entries, **data)
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _refuse_others(path: Path, schema: Any) -> None:
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, but this hpcgeom reads up to {SCHEMA}: "
            "use the hpcgeom that made the run, or a newer one"
        )
    if isinstance(schema, int) and schema < SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, whose checksums this hpcgeom does not compute (it reads {SCHEMA}): "
            "use the hpcgeom that made the run, or start another run"
        )


def damaged_store(store: Path, what: str, error: Exception) -> DamagedError:
    """The error for bytes that a codec refused to read."""
    return DamagedError(
        f"{store} cannot be read at {what} ({type(error).__name__}: {error}): "
        "hpcgeom verify names the bad unit, and hpcgeom resume does it again"
    )


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
