"""From a plan and a profile to jobs: which units each does, and what it asks the scheduler for."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpcgeom.api import job_shapes
from hpcgeom.api.groups import n_processes_of
from hpcgeom.api.job_shapes import JobShape
from hpcgeom.api.strategies import HEADROOM, NANNY_GB, devices_of
from hpcgeom.errors import InputError
from hpcgeom.launch.slurm.scripts import JobScript
from hpcgeom.manifest.profile import LoadedProfile
from hpcgeom.manifest.profile_sections import JobSection, Profile
from hpcgeom.manifest.shell_text import PATH
from hpcgeom.plan import memory
from hpcgeom.plan.footprints import Footprint
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.packing import pack, spread
from hpcgeom.plan.plan import ModelPlan, Plan
from hpcgeom.plan.strategies import choose
from hpcgeom.plan.units import STAGES_OF_JOBS, representations
from hpcgeom.stages.run import Run
from hpcgeom.store.jobs import Job
from hpcgeom.types import Unit


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job as it is kept in the run, and its script."""

    job: Job
    script: JobScript


def place_for_scripts(root: Path) -> Path:
    """The run directory, absolute and without links, if scripts can name it.

    Raises
    ------
    InputError
        It holds characters that sbatch or a shell would take for something else.
    """
    # As given first: what cannot be a path at all is not to reach the file system.
    PATH.required(str(root), "the run directory, which jobs have to name")
    return Path(PATH.required(str(root.resolve()), "the run directory, which jobs have to name"))


def missing_of_jobs(run: Run) -> dict[str, list[Unit]]:
    """What is missing, by the stage that jobs are called after: each does the stages of `STAGES_OF_JOBS`."""
    return {
        name: [unit for stage in stages for unit in run.missing(stage)]
        for name, stages in STAGES_OF_JOBS.items()
    }


@dataclass(frozen=True, slots=True)
class JobLayout:
    """What jobs of a run have in common.

    Attributes
    ----------
    root
        The run directory, absolute.
    wishes
        The strategy that is asked for, by model.
    max_array_size
        Of the cluster: one more than the largest number of an element.
    """

    root: Path
    plan: Plan
    wishes: Mapping[str, str]
    profile: LoadedProfile
    max_array_size: int

    def jobs_of_stage(self, stage: str, missing: Sequence[Any], first: int) -> list[PlannedJob]:
        """The jobs that do the missing units of a stage.

        Parameters
        ----------
        first
            Number of the first job; names are numbered so that none is used twice.

        Raises
        ------
        InputError
            A process needs more memory than a node has, or a model fits with no strategy that is asked for.
        """
        if stage != "extract":
            return [self._of_workers(stage, first)]
        planned: list[PlannedJob] = []
        for model in self.plan.models:
            units = [unit.index for unit in missing if unit.model == model.name]
            for elements in self._arrays(units):
                planned.append(self._extract(model, elements, first + len(planned)))
        return planned

    def _arrays(self, units: Sequence[int]) -> Iterator[list[list[int]]]:
        section = self._profile.extract
        elements = spread(units, section.jobs, section.units_per_job)
        for at in range(0, len(elements), self.max_array_size):
            yield elements[at : at + self.max_array_size]

    def _extract(self, model: ModelPlan, elements: list[list[int]], number: int) -> PlannedJob:
        section = self._profile.extract
        job = Job(
            self._name("extract", number, model.name),
            "extract",
            model.name,
            tuple(map(pack, elements)),
            walltime_s=section.walltime_s,
            max_requeues=self._profile.slurm.max_requeues,
        )
        if model.name not in self.wishes:
            each, n = section.memory_gb or _gb(memory.copied(self.plan, model)), section.processes
        else:
            found = self._footprint(model)
            each, n = section.memory_gb or _gb(found.host_bytes), min(section.processes, found.n_processes)
            job = replace(job, strategy=found.strategy)
        if job.strategy == "pipeline":
            shape = job_shapes.together(self._profile, each)
            job = replace(job, tasks=self._tasks_of_a_group(model, shape))
        else:
            shape = job_shapes.side_by_side(self._profile, n, each)
            job = replace(job, processes=n)
        script = self._script(job, shape)
        script = replace(script, n_elements=len(elements), at_once=section.jobs_at_once)
        return PlannedJob(replace(job, log=script.log), script)

    def _footprint(self, model: ModelPlan) -> Footprint:
        """What a process of the model takes; refuses what does not fit."""
        devices = devices_of(self._profile)
        choice = choose(model.name, needs_of(self.plan, model), self.wishes[model.name], devices)
        return choice.footprint

    def _tasks_of_a_group(self, model: ModelPlan, shape: JobShape) -> int:
        """Tasks of one step that run a model together; refuses more than it has blocks."""
        n_tasks = shape.nodes * shape.tasks
        if n_tasks > n_processes_of(model, n_tasks):
            raise InputError(
                f"profile '{self._profile.name}' asks for {n_tasks} processes of a job ({shape.nodes} "
                f"nodes, {shape.tasks} on each), but only {n_processes_of(model, n_tasks)} blocks of model "
                f"'{model.name}' are run, and each process has at least one: lower extract.nodes, "
                "extract.processes or extract.gpus"
            )
        return n_tasks

    def _of_workers(self, stage: str, number: int) -> PlannedJob:
        """One job that does whatever its stage lacks: with workers, or, for collect, in one process."""
        section, dask = self._profile.job(stage), self._profile.dask
        each = section.memory_gb or _gb(self._memory(stage))
        job = Job(
            self._name(stage, number),
            stage,
            walltime_s=section.walltime_s,
            max_requeues=self._profile.slurm.max_requeues,
        )
        if stage == "collect":
            shape = job_shapes.one_process(self._profile, stage, each)
        elif dask.mode == "local":
            shape = job_shapes.with_workers(self._profile, stage, each)
            job = replace(job, processes=dask.workers)
        else:
            is_alone = dask.mode == "jobqueue"
            shape = (
                job_shapes.only_driver() if is_alone else job_shapes.with_workers(self._profile, stage, each)
            )
            job = replace(job, workers=self._workers(stage, section, each))
        script = self._script(job, shape)
        return PlannedJob(replace(job, log=script.log), script)

    def _workers(self, stage: str, section: JobSection, each: float) -> dict[str, Any]:
        """What the driver of a Dask stage is told: everything that makes its workers."""
        profile, dask = self._profile, self._profile.dask
        found: dict[str, Any] = {
            "mode": dask.mode,
            "n_workers": dask.workers,
            "cpus": section.cpus,
            "start_timeout_s": dask.start_timeout_s,
            "interface": dask.interface,
            "logs": str(self._logs()),
        }
        if dask.mode == "jobqueue":
            found |= {
                "placement": profile.slurm_of(stage),
                "walltime_s": section.walltime_s,
                "memory_gb": round(each + NANNY_GB, 2),
                "gpus": section.gpus,
                "gpu_type": section.gpu_type,
                "python": list(profile.python_command(sys.executable, stage)),
                "setup": [*profile.setup_lines(), *_OFFLINE],
                "refill_every_s": dask.refill_every_s,
            }
        return found

    def _script(self, job: Job, shape: JobShape) -> JobScript:
        self._refuse_too_large(job, shape)
        python = self._profile.python_command(sys.executable, job.stage)
        return job_shapes.script_of(
            self._profile,
            job.stage,
            shape,
            name=job.name,
            # -P: the folder of the submission is no place of modules, as it is none for the command itself.
            command=(*python, "-P", "-m", "hpcgeom.cli.main", "task", str(self.root), "--job", job.name),
            setup=(*self._profile.setup_lines(), *_OFFLINE),
            logs=self._logs(),
        )

    def _refuse_too_large(self, job: Job, shape: JobShape) -> None:
        # CPUs and GPUs are held against those of a node when a profile is loaded; memory needs the plan.
        node = self._profile.node_of(job.stage)
        what = f"a job of stage '{job.stage}'" + (f" of model '{job.model}'" if job.model else "")
        needed_gb = shape.memory_gb
        if needed_gb is not None and node.memory_gb is not None and needed_gb > node.memory_gb:
            raise InputError(
                f"{what} needs {needed_gb:.2f} GiB on a node, but node.memory_gb of profile "
                f"'{self._profile.name}' is {node.memory_gb:g}: use larger nodes, fewer processes or workers "
                "of a node, smaller extract.tokens_per_batch, or extract.unit_rows of the manifest"
            )

    def _logs(self) -> Path:
        return self.profile.logs or self.root / "logs"

    def _memory(self, stage: str) -> int:
        if stage == "collect":
            return memory.collect(self.plan)
        of = {"search": memory.search, "merge": memory.merge, "geometry": memory.geometry}
        return max(
            of[each](self.plan, model, item)
            for each in STAGES_OF_JOBS[stage]
            for model, item, _, _ in representations(self.plan)
        )

    def _name(self, stage: str, number: int, model: str = "") -> str:
        tag = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]
        return f"hpcgeom-{tag}-{number:04d}-{stage}" + (f"-{model}" if model else "")

    @property
    def _profile(self) -> Profile:
        return self.profile.profile


_OFFLINE = ("export HF_HUB_OFFLINE=1",)
"""Nodes compute: everything that needs a network was done by prepare."""


def _gb(n_bytes: float) -> float:
    return HEADROOM * n_bytes / 2**30
