"""The whole of a profile, and what jobs take from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from hpcgeom.manifest.fields import Problem, Section, Slug
from hpcgeom.manifest.profile_checks import (
    JOB_SECTIONS,
    n_nodes,
    node_of,
    processes_on_a_node,
    profile_problems,
)
from hpcgeom.manifest.profile_parts import (
    DaskJobs,
    DaskMode,
    DaskSection,
    EnvironmentSection,
    ExtractJobs,
    JobSection,
    NodeSection,
    SearchJobs,
    SlurmSection,
)
from hpcgeom.manifest.shell_text import ScriptPath

__all__ = [
    "DaskJobs",
    "DaskMode",
    "DaskSection",
    "EnvironmentSection",
    "ExtractJobs",
    "JobSection",
    "NodeSection",
    "Profile",
    "SearchJobs",
    "SlurmSection",
]


class Profile(Section):
    """The whole of a profile. Paths of a loaded one are absolute."""

    name: Annotated[Slug, Field(description="Name of the profile.")]
    slurm: Annotated[SlurmSection, Field(description="What sbatch is told of every job.")] = SlurmSection()
    environment: Annotated[EnvironmentSection, Field(description="How Python starts in a job.")] = (
        EnvironmentSection()
    )
    node: Annotated[NodeSection, Field(description="Facts of one node.")] = NodeSection()
    extract: Annotated[ExtractJobs, Field(description="Jobs of the forward passes.")] = ExtractJobs()
    search: Annotated[SearchJobs, Field(description="The job that finds neighbors.")] = SearchJobs()
    geometry: Annotated[DaskJobs, Field(description="The job that measures.")] = DaskJobs()
    collect: Annotated[JobSection, Field(description="The job that puts the results together.")] = (
        JobSection()
    )
    dask: Annotated[DaskSection, Field(description="Dask workers of search and geometry.")] = DaskSection()
    logs: Annotated[
        ScriptPath | None,
        Field(description="Folder of the jobs' logs; logs of the run directory when absent."),
    ] = None

    def problems(self) -> Iterator[Problem]:
        """Find the contradictions between sections."""
        return profile_problems({name: getattr(self, name) for name in type(self).model_fields}, frozenset())

    def job(self, stage: str) -> JobSection:
        """Return what a job of a stage asks for: `extract`, `search`, `geometry` or `collect`."""
        if stage not in JOB_SECTIONS:
            raise ValueError(f"expected one of {', '.join(JOB_SECTIONS)}, found {stage!r}")
        section: JobSection = getattr(self, stage)
        return section

    def slurm_of(self, stage: str) -> dict[str, str | None]:
        """Return where the jobs of a stage go, in sbatch's words; None for the cluster's own default.

        Returns
        -------
        dict
            `partition`, `account`, `qos` and `constraint`: those of the stage, else those of `slurm`;
            `reservation` and `exclude`: those of `slurm`.
        """
        job, of_all = self.job(stage), self.slurm
        return {
            "partition": job.partition or of_all.partition,
            "account": job.account or of_all.account,
            "qos": job.qos or of_all.qos,
            "constraint": job.constraint or of_all.constraint,
            "reservation": of_all.reservation,
            "exclude": of_all.exclude,
        }

    def node_of(self, stage: str) -> NodeSection:
        """Return the facts of the nodes of a stage: its own where it has them, else those of `node`."""
        return node_of(self.job(stage), self.node)

    def n_nodes(self, stage: str) -> int:
        """Over how many nodes one job of a stage goes: `dask.nodes` where Dask has an allocation, else 1."""
        return n_nodes(stage, self.dask)

    def processes_per_node(self, stage: str) -> int:
        """How many processes, or Dask workers, of one job of a stage a node carries."""
        return processes_on_a_node(stage, self.job(stage), self.dask)

    def gpus_per_node(self, stage: str) -> int:
        """How many GPUs one job of a stage has on each of its nodes."""
        return self.job(stage).gpus // self.n_nodes(stage)

    def setup_lines(self) -> tuple[str, ...]:
        """Lines of bash before Python starts: modules, `setup`, activation, variables.

        A module or an environment that is not there ends the job with 1, and its log says why; `setup` is as
        the user wrote it.
        """
        python = self.environment
        activation = []
        if python.venv is not None:
            activation = [f"source {shlex.quote(f'{python.venv}/bin/activate')} || exit 1"]
        if python.conda is not None:
            activation = [
                'eval "$(conda shell.bash hook)"',
                f"conda activate {shlex.quote(python.conda)} || exit 1",
            ]
        return (
            *(f"module load {shlex.quote(module)} || exit 1" for module in python.modules),
            *python.setup,
            *activation,
            *(f"export {name}={shlex.quote(value)}" for name, value in python.variables.items()),
        )

    def python_command(self, default_python: str, stage: str | None = None) -> list[str]:
        """Words that start Python after `setup_lines`.

        Parameters
        ----------
        default_python
            The Python of a profile that names none.
        stage
            Whose job it is: a container sees GPUs if that job has some. Without it, if any job has.
        """
        python = self.environment
        if python.apptainer is not None:
            has_gpus = any(self.job(each).gpus for each in ([stage] if stage else JOB_SECTIONS))
            return ["apptainer", "exec", *(["--nv"] if has_gpus else []), python.apptainer, "python"]
        if python.conda is not None:
            return ["python"]
        if python.venv is not None:
            return [f"{python.venv}/bin/python"]
        return [python.python or default_python]
