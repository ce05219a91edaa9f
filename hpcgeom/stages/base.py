"""What a stage is, and how a unit is done: lease, record away, files away, write, record last."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from hpcgeom import faults, interrupts
from hpcgeom.errors import DamagedError, InputError
from hpcgeom.stages import partials
from hpcgeom.stages.run import Run
from hpcgeom.store import files
from hpcgeom.store.leases import lease
from hpcgeom.this_job import job_id, restarts
from hpcgeom.types import Unit
from hpcgeom.version import __version__

Work = Callable[[Unit], Mapping[str, Any]]
"""Writes a unit's files and returns the facts for its record."""


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


def do_unit(run: Run, unit: Unit, work: Work) -> bool:
    """Do one unit unless it is done; safe to kill at any moment and to repeat.

    Parameters
    ----------
    work
        Writes the unit's files; it calls `interrupts.hold` where working out ends and writing begins.

    Returns
    -------
    bool
        False where a valid record was found and nothing was done.

    Raises
    ------
    LeaseHeld
        Another living process works on it.
    """
    records = run.records(unit.stage)
    if records.is_done(unit):
        return False
    about = {"stage": unit.stage, "index": unit.index, "key": unit.key}
    with interrupts.unit(), lease(records.path(unit).with_suffix(".lease"), restarts()):
        if records.is_done(unit):
            return False
        records.remove(unit)
        files.remove(run.root, unit.owns)
        faults.reached("unit-begins", **about)
        began = time.monotonic()
        with files.full_disk_is_a_resource_error(run.root):
            facts = work(unit)
            interrupts.hold()
            faults.reached("unit-computed", **about)
            facts = {"rows": [unit.start, unit.stop], "seconds": round(time.monotonic() - began, 3), **facts}
            records.write(unit, facts, made_by())
        faults.reached("unit-recorded", **about)
    return True


def finalize(run: Run, stage: str) -> None:
    """Say that a whole stage is done, and remove what was only needed until then.

    Raises
    ------
    IncompleteError
        Units are missing; the first few are named.
    """
    run.records(stage).finalize(run.units(stage))
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
