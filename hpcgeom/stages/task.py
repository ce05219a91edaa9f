"""One unit in one process: what launchers call, and what one element of a job array does."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from hpcgeom.errors import HpcgeomError
from hpcgeom.stages import partials
from hpcgeom.stages.base import Stage, Work, do_unit
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
    """Which unit of which run; small, so that any launcher can send it."""

    run_dir: str
    stage: str
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a task.

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
        How long the unit took.
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

    def close(self) -> None:
        self._run = None
        self._shut()

    def _shut(self) -> None:
        self._about, self._work = None, None
        self._stack.close()


_opened = _Opened()


def close() -> None:
    """Let go of what this process holds open."""
    _opened.close()


def do(task: Task) -> Receipt:
    """Do one unit; failures come back in the receipt, so that the other units go on."""
    try:
        run = _opened.run(Path(task.run_dir))
        unit = run.select(task.stage, [task.index])[0]
        if run.records(task.stage).is_done(unit):
            return Receipt(task.stage, task.index, unit.key, did=False, pid=os.getpid())
        began = time.monotonic()
        did = _do(run, unit)
        seconds = time.monotonic() - began
        return Receipt(task.stage, task.index, unit.key, did=did, pid=os.getpid(), seconds=seconds)
    except LeaseHeld as held:
        return Receipt(
            task.stage, task.index, "", did=False, pid=os.getpid(), failure=str(held), is_held=True
        )
    except Exception as error:
        _opened.close()
        return failed(task, error)


def _do(run: Run, unit: Unit) -> bool:
    """Do a unit, and before it those that it needs."""
    for needed in run.select(unit.stage, unit.needs):
        _do(run, needed)
    did = do_unit(run, unit, _opened.get(run, unit))
    if unit.stage == Merge.name:
        partials.remove_merged(run, unit)
    return did


def failed(task: Task, error: BaseException) -> Receipt:
    """The receipt of a task that ended in `error`."""
    is_ours = isinstance(error, HpcgeomError)
    sentence = str(error) if is_ours else f"{type(error).__name__}: {error}"
    return Receipt(
        task.stage,
        task.index,
        f"{task.stage} unit {task.index}",
        did=False,
        pid=os.getpid(),
        failure=sentence,
        exit_code=error.exit_code if is_ours else 3,  # type: ignore[attr-defined]
        details="".join(traceback.format_exception(error)),
    )
