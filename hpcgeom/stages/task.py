"""Some units in one process: what launchers call, and what one element of a job array does."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcgeom.errors import HpcgeomError
from hpcgeom.stages import partials, together
from hpcgeom.stages.base import Outcome, Stage, Work, do_units
from hpcgeom.stages.collect import Collect
from hpcgeom.stages.extract import Extract
from hpcgeom.stages.geometry import Geometry
from hpcgeom.stages.merge import Merge
from hpcgeom.stages.run import Run
from hpcgeom.stages.search import Search
from hpcgeom.store.leases import LeaseHeld
from hpcgeom.types import Unit

STAGE_OF: dict[str, Stage] = {
    stage.name: stage for stage in (Extract(), Search(), Merge(), Geometry(), Collect())
}


@dataclass(frozen=True, slots=True)
class Task:
    """Which units of which run are done together; small, so that any launcher can send it.

    Attributes
    ----------
    indices
        Units of one model, where the stage is about models: `set_of` of the plan says which go together.
    """

    run_dir: str
    stage: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one unit of a task.

    Attributes
    ----------
    did
        False where a valid record was found, or where it failed.
    failure
        One sentence; empty where it went well.
    exit_code
        What the command line should end with because of this failure.
    is_held
        Whether it was left to another living process, which `failure` then names.
    seconds
        How long the task took: none of its units is there before.
    """

    stage: str
    index: int
    key: str
    did: bool
    pid: int
    failure: str = ""
    exit_code: int = 0
    details: str = ""
    is_held: bool = False
    seconds: float = 0.0


class _Opened:
    """The one stage that this process has open, so that weights load once for many units."""

    def __init__(self) -> None:
        self._about: tuple[str, str, str] | None = None
        self._stack = contextlib.ExitStack()
        self._run: Run | None = None
        self._work: Work | None = None

    def get(self, run: Run, unit: Unit) -> Work:
        about = (str(run.root), unit.stage, unit.model)
        if about != self._about or self._work is None:
            self._shut()
            self._work = self._stack.enter_context(STAGE_OF[unit.stage].open(run, unit))
            self._about = about
        return self._work

    def run(self, root: Path) -> Run:
        if self._run is None or self._run.root != root:
            self.close()
            self._run = Run(root)
        return self._run

    def close(self, error: BaseException | None = None) -> None:
        self._run = None
        self._shut(error)
        together.leave(error)

    def _shut(self, error: BaseException | None = None) -> None:
        self._about, self._work = None, None
        together.unwind(self._stack, error)


_opened = _Opened()


def close(error: BaseException | None = None) -> None:
    """Let go of what this process holds open, because of `error` where there was one."""
    _opened.close(error)


def do(task: Task) -> tuple[Receipt, ...]:
    """Do some units; failures come back in their receipts, so that other units go on."""
    try:
        run = _opened.run(Path(task.run_dir))
        units = run.select(task.stage, task.indices)
        began = time.monotonic()
        outcome = _do(run, units)
        seconds = time.monotonic() - began
    except Exception as error:
        _opened.close(error)
        return failed(task, error)
    return tuple(
        _held(unit, outcome.held[unit])
        if unit in outcome.held
        else Receipt(
            unit.stage, unit.index, unit.key, did=unit in outcome.did, pid=os.getpid(), seconds=seconds
        )
        for unit in units
    )


def _do(run: Run, units: Sequence[Unit]) -> Outcome:
    """Do some units, and before them those that they need."""
    needed = sorted({index for unit in units for index in unit.needs})
    if missing := run.records(units[0].stage).missing(run.select(units[0].stage, needed)):
        before = _do(run, missing)
        if before.held:  # somebody else does them: the units wait as they do
            return Outcome(frozenset(), dict.fromkeys(units, next(iter(before.held.values()))))
    if not run.records(units[0].stage).missing(units):
        return Outcome(frozenset(), {})
    outcome = do_units(run, units, _opened.get(run, units[0]))
    if units[0].stage == Merge.name:
        for unit in units:
            partials.remove_merged(run, unit)
    return outcome


def _held(unit: Unit, by: LeaseHeld) -> Receipt:
    return Receipt(
        unit.stage, unit.index, unit.key, did=False, pid=os.getpid(), failure=str(by), is_held=True
    )


def failed(task: Task, error: BaseException) -> tuple[Receipt, ...]:
    """The receipts of a task that ended in `error`, or whose process did; what is recorded is done."""
    is_ours = isinstance(error, HpcgeomError)
    sentence = str(error) if is_ours else f"{type(error).__name__}: {error}"
    receipt = Receipt(
        task.stage,
        -1,
        "",
        did=False,
        pid=os.getpid(),
        failure=sentence,
        exit_code=error.exit_code if is_ours else 3,  # type: ignore[attr-defined]
        details="".join(traceback.format_exception(error)),
    )
    failures = tuple(
        replace(receipt, index=index, key=f"{task.stage} unit {index}") for index in task.indices
    )
    if len(task.indices) == 1:
        return failures
    try:
        run = Run(Path(task.run_dir))
        done = {unit.index: unit for unit in run.select(task.stage, task.indices)}
        done = {index: unit for index, unit in done.items() if run.records(task.stage).is_done(unit)}
    except HpcgeomError:
        return failures
    return tuple(
        Receipt(task.stage, each.index, done[each.index].key, did=True, pid=os.getpid())
        if each.index in done
        else each
        for each in failures
    )
