"""What the jobs of a profile ask the scheduler for, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from hpcgeom.api import job_shapes
from hpcgeom.api.doctor import Wrong
from hpcgeom.launch.slurm import commands, scripts
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.scripts import JobScript, Placement
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.plan.units import STAGES_OF_JOBS

STAGES = tuple(STAGES_OF_JOBS)
SBATCH_TIMEOUT_S = 60.0


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
    section, shape = profile.job(stage), job_shapes.largest(profile, stage)
    script = job_shapes.script_of(
        profile, stage, shape, name="hpcgeom-doctor", command=("true",), logs=folder
    )
    try:
        sbatch(script, folder, "--test-only")
    except SchedulerError as error:
        if error.code is None:
            return f"{shape}; sbatch --test-only takes too long to say more"
        raise Wrong(
            f"{stage}: expected that sbatch takes a job with {shape} and {section.walltime}, found: "
            f"{what_it_said(error)}: correct {stage} of the profile"
        ) from None
    return f"sbatch takes a job with {shape} and {section.walltime}"


def sbatch(script: JobScript, folder: Path, option: str) -> str:
    """Hand a script to sbatch, through a file in `folder`; returns what it writes."""
    path = folder / "job.sh"
    path.write_text(scripts.text_of(script))
    return commands.run("sbatch", option, str(path), timeout_s=SBATCH_TIMEOUT_S)


def what_it_said(error: SchedulerError) -> str:
    """The end of what a command complained of."""
    return " / ".join(error.stderr.splitlines()[-3:]) or str(error)
