"""The tasks of one step of a SLURM job: what falls to each, and which models they run together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hpcgeom.api.groups import n_processes_of
from hpcgeom.api.progress import Progress
from hpcgeom.api.strategies import Resources
from hpcgeom.errors import InputError
from hpcgeom.launch.devices import number_on_node, take_share, visible
from hpcgeom.plan.footprints import Devices
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.strategies import AUTO, choose
from hpcgeom.stages.run import Run
from hpcgeom.this_group import Member, decide
from hpcgeom.types import Unit


def share_of_slurm(*, each_task: bool = True) -> str:
    """The share of this task: among the tasks of all elements of its array, as ``i/n``.

    Parameters
    ----------
    each_task
        False for the share of all tasks of this element together.

    Raises
    ------
    InputError
        The array's elements are not numbered without gaps.
    """
    tasks = _number("NTASKS", 1) if each_task else 1
    element = _number("ARRAY_TASK_ID", 0) - _number("ARRAY_TASK_MIN", 0)
    elements = _number("ARRAY_TASK_COUNT", 1)
    if element >= elements:
        raise InputError(
            f"element {_number('ARRAY_TASK_ID', 0)} of an array of {elements} that begins at "
            f"{_number('ARRAY_TASK_MIN', 0)}: number them without gaps, such as --array=0-{elements - 1}"
        )
    task = _number("PROCID", 0) if each_task else 0
    return f"{element * tasks + task}/{elements * tasks}"


def devices_of_step(resources: Resources) -> Devices:
    """What all tasks of this step have together, each with the processes of `resources`."""
    n_tasks, n_hosts = _number("STEP_NUM_TASKS", 1), _number("STEP_NUM_NODES", 1)
    if n_tasks == 1:
        return resources.devices()
    on_host = _tasks_of_host() * resources.processes
    found = replace(resources, processes=on_host).devices(_number("GPUS_ON_NODE", 0))
    return replace(
        found, n=n_tasks, n_whole=on_host, n_hosts=n_hosts, where=f"the {n_tasks} tasks of this step"
    )


def devices_of_task(resources: Resources) -> Devices:
    """What one task of this step has, where each of them does units of its own beside the others."""
    found = devices_of_step(resources)
    return found if found.n_whole is None else replace(found, n=resources.processes, n_hosts=1)


def take_gpus_of_task() -> None:
    """Leave to the other tasks of this step their parts of the GPUs that all of them see.

    Where the scheduler gave each task GPUs of its own, a task sees fewer than its node has in this job.
    """
    if len(visible()) >= _number("GPUS_ON_NODE", 0):
        take_share(number_on_node(), _tasks_of_host())


def _tasks_of_host() -> int:
    """Tasks of this step on one of its nodes, at most where they are dealt out evenly."""
    return -(-_number("STEP_NUM_TASKS", 1) // _number("STEP_NUM_NODES", 1))


def models_together(
    run: Run,
    units: Sequence[Unit],
    wishes: Mapping[str, str],
    resources: Resources,
    member: Member,
    progress: Progress,
) -> frozenset[str]:
    """Names of the models of which all tasks of this step run missing units together.

    Those whose strategy is ``pipeline``; and those of ``auto`` for which it is the fastest that fits. The
    first task looks for all of them, because they have to agree.

    Raises
    ------
    ResourceError
        The first task said nothing.
    """

    def chosen() -> list[str]:
        missing = {unit.model for unit in run.records("extract").missing(units)}
        found = [name for name in missing if wishes.get(name) == "pipeline"]
        undecided = [name for name in missing if wishes.get(name) == AUTO]
        devices = devices_of_step(resources) if undecided else Devices()
        for name in undecided:
            model = run.plan.model(name)
            choice = choose(name, needs_of(run.plan, model), AUTO, devices)
            has_blocks = n_processes_of(model, member.n_processes) == member.n_processes
            if choice.strategy == "pipeline" and has_blocks:
                found.append(name)
                progress.say(f"model '{name}': pipeline over {devices.where} ({choice.why})")
        return found

    may_be = {unit.model for unit in units if wishes.get(unit.model) in (AUTO, "pipeline")}
    return frozenset(decide(member, chosen) if may_be else ())


def _number(name: str, otherwise: int) -> int:
    return int(os.environ.get(f"SLURM_{name}") or otherwise)
