"""Doing units of a stage, wherever they run, until none is missing or the process is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from hpcgeom.api.progress import Progress
from hpcgeom.errors import HpcgeomError, IncompleteError, InputError, ResourceError
from hpcgeom.launch.stopping import Stop
from hpcgeom.plan.packing import sets
from hpcgeom.stages.run import Run
from hpcgeom.stages.task import Receipt, Task
from hpcgeom.types import WHOLE, Means, Unit

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
    means: Mapping[str, Means] | None = None,
) -> None:
    """Do some units of a stage; those that other living processes do are waited for.

    Parameters
    ----------
    stop
        What the process was told; it learns how long units take.
    means
        How models are run, by name; a model that is not named is whole in one process.

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
    todo, is_first = missing, True
    while todo and not told.is_wanted():
        for some in _rounds(todo):
            launch(list(_tasks(run, some, means or {})), heard.take, told.is_wanted)
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


def _rounds(todo: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Units that others need, and the others once these are done: no worker waits for another's scan."""
    needed = {index for unit in todo for index in unit.needs}
    first = [unit for unit in todo if unit.index in needed]
    then = [unit for unit in todo if unit.index not in needed]
    yield from (some for some in (first, then) if some)


def _tasks(run: Run, todo: Sequence[Unit], means: Mapping[str, Means]) -> Iterator[Task]:
    for _, some in groupby(todo, key=lambda unit: unit.model):
        units = list(some)
        how = means.get(units[0].model, WHOLE)
        for together in sets(units, how.n_units):
            indices = tuple(unit.index for unit in together)
            yield Task(str(run.root), together[0].stage, indices, how)


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
    kinds: tuple[type[HpcgeomError], ...] = (ResourceError, InputError, IncompleteError)
    kind, gravest = next(
        (kind, receipt)
        for kind in kinds
        for receipt in failures
        if receipt.exit_code == kind.exit_code or kind is IncompleteError  # which any other failure counts as
    )
    sentences = list(dict.fromkeys(receipt.failure for receipt in failures))[:SHOWN_FAILURES]
    text = "; ".join(sentences)
    error = kind(f"stage '{stage}': {len(failures)} of {n_units} units failed: {text}")
    error.add_note(gravest.details)
    return error
