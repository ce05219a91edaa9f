"""Doing units of a stage, wherever they run, until none is missing or the process is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpcgeom.api.progress import Progress
from hpcgeom.errors import HpcgeomError, IncompleteError, InputError, ResourceError
from hpcgeom.launch.stopping import Stop
from hpcgeom.plan.packing import sets
from hpcgeom.stages.run import Run
from hpcgeom.stages.task import Receipt, Task
from hpcgeom.types import Unit

OnReceipts = Callable[[Sequence[Receipt]], None]
Launch = Callable[[Sequence[Task], OnReceipts, Callable[[], bool]], None]
"""Does tasks somewhere, hands the receipts of each over, and begins none once the last argument says so."""

SHOWN_FAILURES = 3
LOOK_AGAIN_S = 2.0


def do_stage(
    run: Run,
    stage: str,
    missing: Sequence[Unit],
    launch: Launch,
    progress: Progress,
    stop: Stop | None = None,
    at_once: int = 1,
) -> None:
    """Do some units of a stage; those that other living processes do are waited for.

    Parameters
    ----------
    stop
        What the process was told; it learns how long units take.
    at_once
        Units that one process does together, at most.

    Raises
    ------
    HpcgeomError
        Of the gravest kind among the failures; says the first few.
    """
    told = stop or Stop()
    n_units = len(run.units(stage))
    if not n_units:
        return  # as where no search is split and there is nothing to merge
    progress.begin(stage, n_units - len(missing), n_units)
    heard = _Heard(stage, told, progress)
    # Units that others need come first, so that nobody waits for them.
    todo: Sequence[Unit] = sorted(missing, key=lambda unit: bool(unit.needs))
    is_first = True
    while todo and not told.is_wanted():
        tasks = [
            Task(str(run.root), stage, tuple(unit.index for unit in units)) for units in sets(todo, at_once)
        ]
        launch(tasks, heard.take, told.is_wanted)
        held, heard.held = heard.held, []
        elsewhere = [receipt for receipt in held if not run.units(stage)[receipt.index].needs]
        if elsewhere and is_first:  # those with needs may wait for a worker of this very process
            progress.say(f"{stage}: {len(elsewhere)} units are being done by others: {elsewhere[0].failure}")
        is_first, todo = False, run.select(stage, [receipt.index for receipt in held])
        if todo:
            time.sleep(LOOK_AGAIN_S)
    if heard.failures:
        raise _error_of(stage, heard.failures, n_units)
    if not told.why:
        progress.end(stage)


@dataclass(slots=True)
class _Heard:
    """What has become of the units of a stage so far."""

    stage: str
    told: Stop
    progress: Progress
    held: list[Receipt] = field(default_factory=list)
    failures: list[Receipt] = field(default_factory=list)

    def take(self, receipts: Sequence[Receipt]) -> None:
        for receipt in receipts:
            if receipt.is_held:
                self.held.append(receipt)
            elif receipt.failure:
                self.failures.append(receipt)
            else:
                self.told.finished(receipt.seconds if receipt.did else 0.0)
                self.progress.advance(self.stage, receipt.key)


def _error_of(stage: str, failures: Sequence[Receipt], n_units: int) -> HpcgeomError:
    kinds = {InputError.exit_code: InputError, ResourceError.exit_code: ResourceError}
    gravest = min(failures, key=lambda receipt: {4: 0, 2: 1}.get(receipt.exit_code, 2))
    sentences = list(dict.fromkeys(receipt.failure for receipt in failures))[:SHOWN_FAILURES]
    text = "; ".join(sentences)
    error = kinds.get(gravest.exit_code, IncompleteError)(
        f"stage '{stage}': {len(failures)} of {n_units} units failed: {text}"
    )
    error.add_note(gravest.details)
    return error
