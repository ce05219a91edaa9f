"""What jobs ask of their nodes: submissions and `doctor` take it from here, so that they ask for the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from hpcgeom.api.strategies import DRIVER_GB, NANNY_GB, job_gb
from hpcgeom.data.wording import counted
from hpcgeom.launch.slurm.commands import Node
from hpcgeom.launch.slurm.scripts import JobScript, Placement
from hpcgeom.manifest.profile_sections import Profile

UNKNOWN_GB = 2.0
"""Asked for of a node where only a plan would know."""
_ROUND_TO = 4
"""Memory is asked for in quarters of a GiB."""


@dataclass(frozen=True, slots=True)
class JobShape:
    """What a job asks for.

    Attributes
    ----------
    nodes
        How many.
    tasks
        Of a node.
    cpus
        Of a task.
    memory_gb
        GiB of a node; None where only a plan knows.
    gpus
        Of a node.
    is_step
        As of `JobScript`.
    """

    nodes: int
    tasks: int
    cpus: int
    memory_gb: float | None
    gpus: int
    is_step: bool = True

    @property
    def node_cpus(self) -> int:
        """CPUs of a node."""
        return self.tasks * self.cpus

    def fits(self, node: Node) -> bool:
        """Whether a node is large enough."""
        memory_mb = math.ceil((self.memory_gb or 0) * 1024)
        return node.cpus >= self.node_cpus and node.memory_mb >= memory_mb and node.gres_gpus >= self.gpus

    def __str__(self) -> str:
        memory = [] if self.memory_gb is None else [f"{self.memory_gb:g} GiB"]
        gpus = [counted(self.gpus, "GPU")] if self.gpus else []
        return ", ".join([counted(self.node_cpus, "CPU"), *memory, *gpus])


def side_by_side(profile: Profile, processes: int, each_gb: float | None) -> JobShape:
    """A job of `extract` whose processes, `each_gb` GiB each, do units of their own."""
    section = profile.extract
    memory_gb = each_gb if each_gb is None or processes == 1 else job_gb(processes, each_gb)
    cpus = section.processes * section.cpus
    return JobShape(1, 1, cpus, memory_gb, profile.gpus_per_node("extract"))


def together(profile: Profile, each_gb: float | None) -> JobShape:
    """A job of `extract` whose processes run a model together, each on a GPU where there are some."""
    section = profile.extract
    per_node = max(section.processes, section.gpus)
    memory_gb = None if each_gb is None else per_node * each_gb
    return JobShape(section.nodes, per_node, section.cpus, memory_gb, profile.gpus_per_node("extract"))


def with_workers(profile: Profile, stage: str, each_gb: float | None) -> JobShape:
    """The job of a stage of Dask, whose workers are in it."""
    section, dask = profile.job(stage), profile.dask
    per_node = profile.processes_per_node(stage)
    tasks, cpus = (1, per_node * section.cpus) if dask.mode == "local" else (per_node, section.cpus)
    memory_gb = None if each_gb is None else job_gb(per_node, each_gb)
    gpus = profile.gpus_per_node(stage)
    return JobShape(profile.n_nodes(stage), tasks, cpus, memory_gb, gpus, is_step=False)


def only_driver() -> JobShape:
    """The job of a stage of Dask whose workers are jobs of their own."""
    return JobShape(1, 1, 1, DRIVER_GB, 0, is_step=False)


def only_worker(profile: Profile, stage: str, each_gb: float | None) -> JobShape:
    """One of these workers."""
    memory_gb = None if each_gb is None else each_gb + NANNY_GB
    return JobShape(1, 1, profile.job(stage).cpus, memory_gb, profile.gpus_per_node(stage), is_step=False)


def one_process(profile: Profile, stage: str, each_gb: float | None) -> JobShape:
    """The job of a stage that one process does."""
    return JobShape(1, 1, profile.job(stage).cpus, each_gb, profile.gpus_per_node(stage), is_step=False)


def largest(profile: Profile, stage: str) -> JobShape:
    """The largest job of a stage, as far as a profile says it.

    More than one node for `extract` are for models that several processes run together; without, it is not
    known whether there will be such a model.
    """
    section = profile.job(stage)
    each_gb = section.memory_gb
    if stage == "collect":
        return one_process(profile, stage, each_gb)
    if stage != "extract":
        is_in_jobs = profile.dask.mode == "jobqueue"
        return (only_worker if is_in_jobs else with_workers)(profile, stage, each_gb)
    if profile.extract.nodes > 1:
        return together(profile, each_gb)
    return side_by_side(profile, profile.extract.processes, each_gb)


def script_of(
    profile: Profile,
    stage: str,
    shape: JobShape,
    *,
    name: str,
    command: tuple[str, ...],
    logs: Path,
    setup: tuple[str, ...] = (),
) -> JobScript:
    """The script of a job of a stage, without an array and without what it waits for."""
    section = profile.job(stage)
    memory_gb = UNKNOWN_GB if shape.memory_gb is None else shape.memory_gb
    return JobScript(
        name=name,
        command=command,
        setup=setup,
        logs=logs,
        walltime_s=section.walltime_s,
        memory_gb=math.ceil(memory_gb * _ROUND_TO) / _ROUND_TO,
        cpus=shape.cpus,
        nodes=shape.nodes,
        tasks_per_node=shape.tasks,
        gpus=shape.gpus,
        gpu_type=section.gpu_type,
        warn_s=profile.slurm.signal_before_end_s,
        placement=Placement(**profile.slurm_of(stage)),
        is_step=shape.is_step,
    )
