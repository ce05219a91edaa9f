"""What one job of a scheduler does: its units, until they are done or the scheduler wants the job to end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcgeom.api.groups import with_groups
from hpcgeom.api.launchers import launcher
from hpcgeom.api.progress import Progress, Silent
from hpcgeom.api.steps import devices_of_task, models_together, share_of_slurm, take_gpus_of_task
from hpcgeom.api.strategies import Resources, means_of, wishes_for
from hpcgeom.api.units import do_stage
from hpcgeom.errors import IncompleteError, InputError, ResourceError
from hpcgeom.interrupts import Stopped, unheard
from hpcgeom.launch.devices import number_on_node, take_one
from hpcgeom.launch.slurm import requeue
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.stopping import Stop, listening
from hpcgeom.plan.footprints import Devices
from hpcgeom.plan.packing import share, unpack
from hpcgeom.plan.strategies import written_beside
from hpcgeom.plan.units import STAGES_OF_JOBS
from hpcgeom.stages.base import finalize, require_inputs
from hpcgeom.stages.following import follow
from hpcgeom.stages.inputs import manifest_of
from hpcgeom.stages.run import Run
from hpcgeom.stages.task import STAGE_OF
from hpcgeom.store.jobs import FOLDER, read_job
from hpcgeom.this_group import decide, is_started_here, join_step, leave_step, this_member
from hpcgeom.this_job import restarts
from hpcgeom.types import Means, Unit

MAX_REQUEUES = 20
"""Of a job that was submitted by hand."""


def run_job(
    root: Path, name: str, progress: Progress | None = None, *, allow_code_change: bool = False
) -> str:
    """Do what the job `name` was submitted for; in an array, what this element of it was.

    Returns
    -------
    str
        Its stage.

    Raises
    ------
    InputError
        There is no such job, or this is no element of its array.
    IncompleteError
        A unit failed, or the stage before is not finished.
    ResourceError
        No unit fits into the walltime.
    Stopped
        The scheduler ended the job; where it goes on later, it is in the queue again.
    """
    run, job = Run(root), read_job(root, name)
    units = run.units(job.stage)
    if job.elements:
        units = tuple(run.select(job.stage, unpack(job.elements[_element(name, len(job.elements))])))
    if job.tasks > 1:
        join_step()
        if _is_over(run, units) or _follows(run):
            return job.stage
    means: dict[str, Means] = {}
    if job.strategy and job.tasks == 1:
        means = means_of(run, units, {job.model: job.strategy}, Resources(job.processes).devices())
    if job.workers is None and job.processes == 1 and job.strategy != "dispatch":
        take_one(number_on_node())
    todo = {stage: run.units(stage) for stage in STAGES_OF_JOBS[job.stage]} | {job.stage: units}
    with heeding(job.walltime_s, job.max_requeues) as stop:
        _do(run, todo, means, job.processes, job.workers, progress, stop, allow_code_change)
    return job.stage


def run_task(
    root: Path,
    stages: str,
    indices: Sequence[int] | None = None,
    progress: Progress | None = None,
    *,
    part: str | None = None,
    resources: Resources | None = None,
    workers: dict[str, Any] | None = None,
    allow_code_change: bool = False,
) -> None:
    """Do some units of one stage, or all of several; done ones are left alone.

    Parameters
    ----------
    stages
        Name of the stage; several are done one after the other: ``geometry,collect``.
    indices
        Numbers of the units; by default all of the stage.
    part
        Only a share of them: ``i/n``, or ``slurm`` for what falls to this task of a job or of an array.
    resources
        Processes of this machine that do units (by default this one), and how they run models.
    workers
        What makes workers on other machines, instead.

    Raises
    ------
    InputError
        There is no such run, stage, unit or share.
    IncompleteError
        A unit failed, or the stage before is not finished.
    Stopped
        The scheduler ended the job.
    """
    run, names = Run(root), stages.split(",")
    if len(names) > 1 and (indices is not None or part is not None):
        raise InputError(
            f"--stage {stages}: indices and shares are those of one stage: name one, or all units"
        )
    asked = resources or Resources()
    units: dict[str, Sequence[Unit]] = {}
    for stage in names:
        run.select(stage, [])  # which says where there is no such stage
        wanted = list(range(len(run.units(stage)))) if indices is None else list(indices)
        together: frozenset[str] = frozenset()
        if part == "slurm" and stage == "extract":
            together = _do_together(run, wanted, asked, progress, allow_code_change)
        if part is not None:
            wanted = share(wanted, share_of_slurm() if part == "slurm" else part)
        units[stage] = [unit for unit in run.select(stage, wanted) if unit.model not in together]
    if _follows(run):
        return
    means = {} if _is_led(run) else _means(run, units, asked, workers)
    takes_several = any(each.strategy in ("dispatch", "pipeline") for each in means.values())
    if workers is None and (takes_several or asked.processes > 1):
        take_gpus_of_task()
    elif workers is None:
        take_one(number_on_node())
    with heeding() as stop:
        _do(run, units, means, asked.processes, workers, progress, stop, allow_code_change)


def _means(
    run: Run,
    units: Mapping[str, Sequence[Unit]],
    resources: Resources,
    workers: dict[str, Any] | None,
) -> dict[str, Means]:
    """How the models of units of extract are run; memory of other machines is not known here."""
    missing = run.records("extract").missing(units.get("extract", ()))
    if not missing:
        return {}
    wishes = wishes_for(manifest_of(run), resources)
    return means_of(run, missing, wishes, Devices() if workers else devices_of_task(resources))


def _do_together(
    run: Run,
    indices: Sequence[int],
    resources: Resources,
    progress: Progress | None,
    allow_code_change: bool,
) -> frozenset[str]:
    """Do the units of models that all tasks of this step run together; the names of these models."""
    join_step()
    member = this_member(run.root / FOLDER)
    # Elements of an array may choose differently, so that shares are those of all units.
    units = run.select("extract", share(indices, share_of_slurm(each_task=False)))
    names: frozenset[str] = frozenset()
    if member is not None:
        wishes = wishes_for(manifest_of(run), resources)
        names = models_together(run, units, wishes, resources, member, progress or Silent())
    if names and not _follows(run):
        take_one(number_on_node())
        mine = [unit for unit in units if unit.model in names]
        with heeding() as stop:
            _do(run, {"extract": mine}, {}, 1, None, progress, stop, allow_code_change)
    leave_step()
    return names


def _is_over(run: Run, units: Sequence[Unit]) -> bool:
    """Whether this process would follow another one that has nothing to do."""
    member = this_member(run.root / FOLDER)
    if member is None:
        return False
    missing = decide(member, lambda: [unit.key for unit in run.records("extract").missing(units)][:1])
    return not missing and member.index > 0


def _is_led(run: Run) -> bool:
    """Whether this process and others do units together."""
    return this_member(run.root / FOLDER) is not None


def _follows(run: Run) -> bool:
    """Do what another process says, if this one is of a group and not its first; else False at once."""
    member = this_member(run.root / FOLDER)
    if member is None or member.index == 0:
        return False
    take_one(member.index if is_started_here() else number_on_node())
    follow(run)
    return True


def _do(
    run: Run,
    units: Mapping[str, Sequence[Unit]],
    means: Mapping[str, Means],
    processes: int,
    workers: dict[str, Any] | None,
    progress: Progress | None,
    stop: Stop,
    allow_code_change: bool,
) -> None:
    """Do units of stages, one stage after the other, on the same workers."""
    for stage in units:
        run.refuse_other_versions(stage, allow=allow_code_change)
    is_led = _is_led(run)
    if is_led:
        means = {model.name: written_beside("pipeline") for model in run.plan.models}
    with launcher(processes, run.root, workers) as alone:
        launch = alone if is_led else with_groups(alone, run, processes, allow_code_change=allow_code_change)
        for stage, some in units.items():
            missing = run.records(stage).missing(some)
            if missing:  # the stage says so itself, but workers need not start for that
                require_inputs(run, STAGE_OF[stage])
            do_stage(run, stage, missing, launch, progress or Silent(), stop, means)
            if not run.missing(stage):
                finalize(run, stage)
            if stop.why:
                return


@contextmanager
def heeding(walltime_s: float = 0.0, max_requeues: int = MAX_REQUEUES) -> Iterator[Stop]:
    """Within a job of SLURM, let the body do what the scheduler says; elsewhere do nothing.

    Raises
    ------
    ResourceError
        The walltime ended before any unit was done.
    IncompleteError
        The job has been in the queue too often, or cannot be put back.
    Stopped
        The job ends here, and goes on later if it should.
    """
    if "SLURM_JOB_ID" not in os.environ or is_started_here():  # whoever started it heeds the scheduler
        yield Stop()
        return
    with listening(walltime_s) as stop:
        try:
            yield stop
        except Stopped:
            if not stop.why:
                raise
    if stop.why:
        _leave(stop, max_requeues)


def _leave(stop: Stop, max_requeues: int) -> None:
    if stop.why == "walltime" and not stop.n_done:
        raise ResourceError(
            f"no unit was finished in the {stop.elapsed_s:.0f} s that this job had before its walltime"
            f"{f' of {stop.walltime_s:.0f} s' if stop.walltime_s else ''} ended: raise the walltime, or make "
            "units smaller (extract.unit_rows of the manifest)"
        )
    # It may have been put back, or cancelled, since it was told: a cancelled job would come back.
    if stop.goes_on_later and requeue.situation().kind not in ("requeued", "cancelled"):
        if restarts() >= max_requeues:
            raise IncompleteError(
                f"the job was put back into the queue {restarts()} times, the most that is allowed "
                "(slurm.max_requeues of the profile): hpcgeom resume goes on"
            )
        with unheard(signal.SIGTERM):  # which comes as soon as the job is put back
            _put_back()
    raise Stopped


def _put_back() -> None:
    try:
        requeue.requeue()
    except SchedulerError as error:
        raise IncompleteError(
            f"the job ends and cannot be put back into the queue ({error}): hpcgeom resume goes on"
        ) from error
    print("hpcgeom: the job is in the queue again and goes on later", file=sys.stderr)  # noqa: T201


def _element(name: str, n_elements: int) -> int:
    text = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    if not text.isdecimal() or int(text) >= n_elements:
        raise InputError(
            f"job '{name}' is an array of {n_elements}, but SLURM_ARRAY_TASK_ID is '{text}': expected 0 to "
            f"{n_elements - 1}, as its script sets it: submit that script as it is"
        )
    return int(text)
