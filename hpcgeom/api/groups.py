"""Models that several processes run together (`pipeline`): which they are, and how their units are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from hpcgeom.api.units import Launch, OnReceipts
from hpcgeom.errors import HpcgeomError
from hpcgeom.interrupts import TERMINATED, Stopped
from hpcgeom.launch.devices import visible
from hpcgeom.launch.group import run_group
from hpcgeom.plan.packing import pack
from hpcgeom.plan.plan import ModelPlan
from hpcgeom.stages import task
from hpcgeom.stages.run import Run
from hpcgeom.stages.task import Receipt, Task
from hpcgeom.store.jobs import FOLDER
from hpcgeom.this_group import OtherFailed
from hpcgeom.types import Unit

LOOK_EVERY_S = 1.0


def n_processes_of(model: ModelPlan, most: int) -> int:
    """How many of at most `most` processes can run a model together: each has a block that is run."""
    deepest = (layer + (item.site == "ln_1") for item in model.representations for layer in item.layers)
    return max(1, min(most, model.n_layers, max(deepest)))


def with_groups(launch: Launch, run: Run, n_processes: int, *, allow_code_change: bool = False) -> Launch:
    """Where units run, with those of models that several processes run together in groups of this machine.

    Parameters
    ----------
    launch
        Where the others run.
    n_processes
        Of a group, at most; one for each GPU where these are more.
    """
    n_processes = max(n_processes, len(visible()))

    def both(tasks: Sequence[Task], on_receipts: OnReceipts, is_over: Callable[[], bool]) -> None:
        by_model: dict[str, list[Unit]] = {}
        alone: list[Task] = []
        for each in tasks:
            units = run.select(each.stage, each.indices)
            if each.means.strategy == "pipeline":
                by_model.setdefault(units[0].model, []).extend(units)
            else:
                alone.append(each)
        for name, units in by_model.items():
            if not is_over():
                of_model = n_processes_of(run.plan.model(name), n_processes)
                _Group(run, units, on_receipts).do(of_model, allow_code_change=allow_code_change)
        if alone and not is_over():
            launch(alone, on_receipts, is_over)

    return both


class _Group:
    """Units of one model that processes of this machine do together; their records say what is done."""

    def __init__(self, run: Run, units: Sequence[Unit], on_receipts: OnReceipts) -> None:
        self._run, self._waiting, self._on_receipts = run, list(units), on_receipts
        self._looked_at = self._heard_at = time.monotonic()

    def do(self, n_processes: int, *, allow_code_change: bool) -> None:
        root = self._run.root
        indices = pack([unit.index for unit in self._waiting])
        words = ["task", str(root), "--stage", "extract", "--indices", indices]
        words += ["--allow-code-change"] if allow_code_change else []
        # -P: the current folder is no place of modules, as it is none for the command itself.
        command = [sys.executable, "-P", "-m", "hpcgeom.cli.main", *words]
        try:
            run_group(command, n_processes, root / FOLDER, root / "logs", on_look=self._look)
        except OtherFailed as error:
            if error.exit_code == TERMINATED:
                raise Stopped from error
            self._fail(error)
        except HpcgeomError as error:
            self._fail(error)
        else:
            self._hear([])

    def _look(self) -> None:
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            # They are done in this order, so that only the first is looked at again and again.
            while self._waiting and self._run.records("extract").is_done(self._waiting[0]):
                self._hear(self._waiting[1:])

    def _hear(self, missing: Sequence[Unit]) -> None:
        """Hand over receipts of all units that are not among those that are missing."""
        now, still = time.monotonic(), set(missing)
        done = [unit for unit in self._waiting if unit not in still]
        self._waiting = [unit for unit in self._waiting if unit in still]
        seconds, self._heard_at = now - self._heard_at, now
        self._on_receipts(
            [Receipt(unit.stage, unit.index, unit.key, did=True, pid=0, seconds=seconds) for unit in done]
        )

    def _fail(self, error: HpcgeomError) -> None:
        self._hear(self._run.records("extract").missing(self._waiting))
        for unit in self._waiting:
            self._on_receipts(task.failed(Task(str(self._run.root), unit.stage, (unit.index,)), error))
        self._waiting = []
