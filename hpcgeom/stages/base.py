"""What a stage is, and how a unit is done: lease, record away, files away, write, record last."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from hpcgeom import faults, interrupts, trace
from hpcgeom.errors import DamagedError, InputError
from hpcgeom.stages import partials
from hpcgeom.stages.run import Run
from hpcgeom.stages.scratch import forget_all
from hpcgeom.stages.writer import Writer
from hpcgeom.store import files
from hpcgeom.store.leases import LeaseHeld, lease, leases_of
from hpcgeom.this_job import job_id, restarts
from hpcgeom.types import Unit
from hpcgeom.version import __version__

Write = Callable[[], Mapping[str, Any]]
"""Writes the files of a unit that is worked out, and returns the facts for its record; under `DURABLE` the
entries of files that are durable already, which this process or others wrote."""
DURABLE = "durable"
Work = Callable[[Sequence[Unit]], Iterator[tuple[Unit, Write]]]
"""Works out units, and hands each over as soon as it can be written, in any order."""


def each(work: Callable[[Unit], Mapping[str, Any]]) -> Work:
    """Units that are worked out and written one after the other, by a function that returns their facts."""

    def works(units: Sequence[Unit]) -> Iterator[tuple[Unit, Write]]:
        for unit in units:
            with trace.span("compute", stage=unit.stage, unit=unit.key):
                facts = work(unit)
            yield unit, lambda facts=facts: facts  # type: ignore[misc]

    return works


class Stage(Protocol):
    """One step of a run.

    A stage is opened once a process for the units of one model (weights load once), and then does any of
    them, in any order.
    """

    @property
    def name(self) -> str:
        """Name of the stage."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the stages that it reads."""

    def open(self, run: Run, unit: Unit) -> AbstractContextManager[Work]:
        """Get ready to do `unit` and others of the same model."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of units that were to be done.

    Attributes
    ----------
    did
        Units that were done now.
    held
        Units that another living process does, and what it says of itself.
    """

    did: frozenset[Unit]
    held: Mapping[Unit, LeaseHeld]


def do_units(run: Run, units: Sequence[Unit], work: Work) -> Outcome:
    """Do some units of one stage, those that are not done; safe to kill at any moment and to repeat.

    While a unit is written, the next one is worked out. Where one fails, what is worked out is still written,
    and the others are left.
    """
    stage = units[0].stage
    records, did, held = run.records(stage), set[Unit](), dict[Unit, LeaseHeld]()
    with interrupts.unit(), ExitStack() as leases, Writer() as writer:
        todo: list[Unit] = []
        for unit in units:
            if records.is_done(unit):
                continue
            try:
                leases.enter_context(lease(records.path(unit).with_suffix(".lease"), restarts()))
            except LeaseHeld as error:
                held[unit] = error
                continue
            if not records.is_done(unit):
                todo.append(unit)
                _begin(run, unit)
        began = time.monotonic()
        with files.full_disk_is_a_resource_error(run.root):
            for unit, write in work(todo) if todo else ():
                writer.put(partial(_finish, run, unit, write, began))
                did.add(unit)
                began = time.monotonic()
            interrupts.hold()
            writer.wait()
    return Outcome(frozenset(did), held)


def _begin(run: Run, unit: Unit) -> None:
    run.records(unit.stage).remove(unit)
    files.remove(run.root, unit.owns)
    faults.reached("unit-begins", **_about(unit))


def _finish(run: Run, unit: Unit, write: Write, began: float) -> None:
    with trace.span("write", stage=unit.stage, unit=unit.key):
        facts = dict(write())
    durable = facts.pop(DURABLE, ())
    faults.reached("unit-computed", **_about(unit))
    facts = {"rows": [unit.start, unit.stop], "seconds": round(time.monotonic() - began, 3), **facts}
    with trace.span("write", stage=unit.stage, record=unit.key):
        run.records(unit.stage).write(unit, facts, made_by(), durable)
    faults.reached("unit-recorded", **_about(unit))


def _about(unit: Unit) -> dict[str, Any]:
    return {"stage": unit.stage, "index": unit.index, "key": unit.key}


def finalize(run: Run, stage: str) -> None:
    """Say that a whole stage is done, and remove what was only needed until then.

    Raises
    ------
    IncompleteError
        Units are missing; the first few are named.
    """
    records = run.records(stage)
    records.finalize(run.units(stage))
    for left in leases_of(records.folder):  # of a process that was killed just after its record
        left.unlink(missing_ok=True)
    if stage == "extract":
        forget_all(run)
    if stage == "merge":
        partials.remove_merged(run)


def made_by() -> dict[str, Any]:
    """Who did a unit, for people: never compared, never part of a store."""
    return {
        "hpcgeom": __version__,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": job_id(),
        "attempt": restarts(),
        "device": _device(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _device() -> str:
    """What this process computes on: a GPU where it was given one and a model may have used it."""
    torch = sys.modules.get("torch")
    if torch is None or not os.environ.get("CUDA_VISIBLE_DEVICES") or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())


def require_inputs(run: Run, stage: Stage) -> None:
    """Refuse to begin a stage where units of those that it reads are missing.

    Raises
    ------
    IncompleteError
        The first missing units of the first such stage are named.
    """
    for name in stage.inputs:
        run.records(name).require(run.units(name))


def require_layout(run: Run, stage: str) -> None:
    """Refuse to read or write stores whose metadata and coordinates are not as they were laid out.

    Raises
    ------
    InputError
        The layout's record or a file of it is missing.
    DamagedError
        A file has other bytes: no codec would notice.
    """
    records, unit = run.records(stage), run.layout_unit(stage)
    if not records.is_done(unit):
        raise InputError(f"the {stage} stores of {run.root} are not laid out: hpcgeom prepare does that")
    for fault in records.damage(unit):
        raise DamagedError(
            f"{run.root}: {fault}: hpcgeom verify names all that is damaged, and hpcgeom resume mends it"
        )
