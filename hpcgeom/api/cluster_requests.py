"""What the jobs of a profile ask the scheduler for, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil
from pathlib import Path

from hpcgeom.api.doctor import Wrong
from hpcgeom.api.strategies import NANNY_GB, job_gb
from hpcgeom.data.wording import counted
from hpcgeom.launch.slurm import commands, scripts
from hpcgeom.launch.slurm.commands import Node, SchedulerError
from hpcgeom.launch.slurm.scripts import JobScript, Placement
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.plan.units import STAGES_OF_JOBS

STAGES = tuple(STAGES_OF_JOBS)
MEMORY_GB = 2.0
"""Of a job of which nothing else is known."""
SBATCH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a job of a stage asks for, of each of its nodes; `memory_gb` is None where the plan says it."""

    nodes: int
    cpus: int
    memory_gb: float | None
    gpus: int

    @classmethod
    def of(cls, profile: Profile, stage: str) -> Request:
        """Of a stage; where workers are jobs of their own, of one worker."""
        section, processes = profile.job(stage), profile.processes_per_node(stage)
        each = section.memory_gb
        of_workers = processes > 1 or stage in ("search", "geometry")
        if each is not None and of_workers:
            is_alone = profile.dask.mode == "jobqueue" and stage != "extract"
            each = each + NANNY_GB if is_alone else job_gb(processes, each)
        return cls(profile.n_nodes(stage), section.cpus * processes, each, profile.gpus_per_node(stage))

    def fits(self, node: Node) -> bool:
        """Whether a node is large enough."""
        memory_mb = ceil((self.memory_gb or 0) * 1024)
        return node.cpus >= self.cpus and node.memory_mb >= memory_mb and node.gres_gpus >= self.gpus

    def __str__(self) -> str:
        memory = [] if self.memory_gb is None else [f"{self.memory_gb:g} GiB"]
        gpus = [counted(self.gpus, "GPU")] if self.gpus else []
        return ", ".join([counted(self.cpus, "CPU"), *memory, *gpus])


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs of some stages go."""

    placement: Placement
    has_gpus: bool
    gpu_type: str | None

    @property
    def label(self) -> str:
        """A few words for it, which no other place of the profile has."""
        values = [
            getattr(self.placement, item.name) for item in fields(Placement) if item.name != "partition"
        ]
        gpu = [f"{self.gpu_type or 'a'} GPU"] if self.has_gpus else []
        return ", ".join([self.placement.partition or "the default partition", *filter(None, values), *gpu])


def places_of(profile: Profile) -> dict[Place, list[str]]:
    """The distinct places of a profile, and the stages whose jobs go there."""
    found: dict[Place, list[str]] = {}
    for stage in STAGES:
        section = profile.job(stage)
        place = Place(Placement(**profile.slurm_of(stage)), section.gpus > 0, section.gpu_type)
        found.setdefault(place, []).append(stage)
    return found


def check_request(profile: Profile, stage: str, folder: Path) -> str:
    """Whether sbatch would take a job of a stage, as large as it will be.

    Raises
    ------
    Wrong
        It would not.
    """
    section, request = profile.job(stage), Request.of(profile, stage)
    script = JobScript(
        name="hpcgeom-doctor",
        command=("true",),
        setup=(),
        logs=folder,
        walltime_s=section.walltime_s,
        memory_gb=request.memory_gb or MEMORY_GB,
        cpus=request.cpus,
        nodes=request.nodes,
        gpus=request.gpus,
        gpu_type=section.gpu_type,
        warn_s=profile.slurm.signal_before_end_s,
        placement=Placement(**profile.slurm_of(stage)),
    )
    try:
        sbatch(script, folder, "--test-only")
    except SchedulerError as error:
        if error.code is None:
            return f"{request}; sbatch --test-only takes too long to say more"
        raise Wrong(
            f"{stage}: expected that sbatch takes a job with {request} and {section.walltime}, found: "
            f"{what_it_said(error)}: correct {stage} of the profile"
        ) from None
    return f"sbatch takes a job with {request} and {section.walltime}"


def sbatch(script: JobScript, folder: Path, option: str) -> str:
    """Hand a script to sbatch, through a file in `folder`; returns what it writes."""
    path = folder / "job.sh"
    path.write_text(scripts.text_of(script))
    return commands.run("sbatch", option, str(path), timeout_s=SBATCH_TIMEOUT_S)


def what_it_said(error: SchedulerError) -> str:
    """The end of what a command complained of."""
    return " / ".join(error.stderr.splitlines()[-3:]) or str(error)
