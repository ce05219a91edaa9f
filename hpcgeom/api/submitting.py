"""Carrying out a run on a cluster: jobs for what is missing, and for nothing that a living job does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpcgeom.api.groups import pipelined
from hpcgeom.api.job_layout import JobLayout, missing_of_jobs, place_for_scripts
from hpcgeom.api.progress import Progress, Silent
from hpcgeom.api.running import begin, read_run, run_directory_of
from hpcgeom.errors import InputError
from hpcgeom.launch.slurm import commands, scripts, states
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.states import JobState
from hpcgeom.manifest import load_manifest
from hpcgeom.manifest.profile import LoadedProfile, find_profile, load_profile
from hpcgeom.plan.packing import unpack
from hpcgeom.plan.units import STAGES, STAGES_OF_JOBS
from hpcgeom.stages.inputs import manifest_of
from hpcgeom.stages.run import Run
from hpcgeom.store import files
from hpcgeom.store.jobs import FOLDER, SUBMISSION_LEASE, Job, forget_job, jobs_of, write_job
from hpcgeom.store.leases import lease
from hpcgeom.types import Unit

KEPT_PROFILE = f"{FOLDER}/profile.yaml"
KEPT_PROFILE_FOLDER = f"{FOLDER}/profile-folder.txt"


@dataclass(slots=True)
class Submission:
    """What became of a submission.

    Attributes
    ----------
    submitted
        Jobs that were handed to the scheduler now.
    alive
        Jobs of before that still do, or will do, what is missing.
    """

    root: Path
    submitted: list[Job] = field(default_factory=list)
    alive: list[Job] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether there was nothing left to do."""
        return not self.submitted and not self.alive


def submit(
    manifest: Path,
    profile: Path | None = None,
    run_dir: Path | None = None,
    reuse: Path | None = None,
    progress: Progress | None = None,
    *,
    allow_code_change: bool = False,
) -> Submission:
    """Prepare a run here and hand its stages to SLURM; what is done or under way is not submitted again.

    Parameters
    ----------
    profile
        The facts of the cluster; see `hpcgeom.manifest.profile.find_profile`.

    Raises
    ------
    InputError
        The manifest, its data, its models or the profile are wrong, or a job would not fit on a node.
    SchedulerError
        The scheduler does not answer, or refuses a job; what it accepted before is kept.
    LeaseHeld
        Another process submits the same run.
    """
    listener = progress or Silent()
    loaded, cluster = load_manifest(manifest), find_profile(profile)
    root = run_directory_of(loaded, run_dir)
    place_for_scripts(root)
    listener.say(f"profile: {cluster.path or 'defaults of the cluster'}")
    _require_controller()
    run = begin(loaded, root, reuse, listener)
    return submit_missing(run, cluster, listener, allow_code_change=allow_code_change)


def resubmit(
    root: Path,
    profile: Path | None = None,
    progress: Progress | None = None,
    *,
    allow_code_change: bool = False,
) -> Submission:
    """Submit what is missing in a run, with the profile that it was submitted with unless one is given.

    Raises
    ------
    InputError
        The directory is not a run.
    """
    place_for_scripts(root)
    run = read_run(root)
    cluster = find_profile(profile) if profile is not None else kept_profile(root)
    _require_controller()
    return submit_missing(run, cluster, progress or Silent(), allow_code_change=allow_code_change)


def _require_controller() -> None:
    if not commands.has("sbatch"):
        raise SchedulerError(
            "sbatch is not found: submit where SLURM is, run everything on this machine with hpcgeom run, or "
            "look at the scripts with hpcgeom submit --dry-run"
        )
    if not commands.controller_answers():
        raise SchedulerError(
            "SLURM's controller does not answer (scontrol ping): nothing was prepared or submitted; "
            "try again later"
        )


def was_submitted(root: Path) -> bool:
    """Whether a run was handed to a scheduler before."""
    return (root / KEPT_PROFILE).exists()


def kept_profile(root: Path) -> LoadedProfile:
    """The profile that a run was submitted with."""
    if not was_submitted(root):
        return find_profile(None)
    return load_profile(root / KEPT_PROFILE, (root / KEPT_PROFILE_FOLDER).read_text().strip())


def submit_missing(
    run: Run, cluster: LoadedProfile, progress: Progress, *, allow_code_change: bool = False
) -> Submission:
    """Submit what is missing and what no living job of the run does, stage after stage.

    Raises
    ------
    SchedulerError
        The scheduler does not answer or refuses a job.
    LeaseHeld
        Another process submits the same run.
    """
    for stage in STAGES:
        run.refuse_other_versions(stage, allow=allow_code_change)
    with lease(run.root / SUBMISSION_LEASE):
        _keep_profile(run.root, cluster)
        return _Submitter(run, cluster, progress).submit()


def _keep_profile(root: Path, cluster: LoadedProfile) -> None:
    files.write_atomic(root / KEPT_PROFILE, cluster.text.encode())
    files.write_atomic(root / KEPT_PROFILE_FOLDER, f"{cluster.folder}\n".encode())


class _Submitter:
    """One pass over the stages of a run."""

    def __init__(self, run: Run, cluster: LoadedProfile, progress: Progress) -> None:
        size = cluster.profile.slurm.max_array_size or commands.max_array_size()
        self._run, self._progress = run, progress
        together = pipelined(manifest_of(run))
        self._layout = JobLayout(place_for_scripts(run.root), run.plan, cluster, size, together)
        known = adopt(run.root)
        self._next = 1 + max((_number(job) for job in known), default=-1)
        self._states = _states_of(known)
        self._alive = [job for job in known if self._alive_ids(job)]
        self._submission = Submission(run.root)

    def submit(self) -> Submission:
        missing = missing_of_jobs(self._run)
        self._refuse_what_does_not_fit(missing)
        for stage in STAGES_OF_JOBS:
            living = [job for job in self._alive if job.stage == stage]
            if self._submission.submitted:
                living = self._take_back(living)
            todo = self._not_under_way(missing[stage], living)
            self._submission.alive += living
            if todo:
                self._submit_stage(stage, todo)
        return self._submission

    def _refuse_what_does_not_fit(self, missing: Mapping[str, Sequence[Unit]]) -> None:
        """Lay everything out that is missing, so that no stage is submitted before a later one is refused."""
        for stage, units in missing.items():
            if units:
                self._layout.jobs_of_stage(stage, units, self._next)

    def _submit_stage(self, stage: str, todo: Sequence[Unit]) -> None:
        before, order = [*self._submission.alive, *self._submission.submitted], list(STAGES_OF_JOBS)
        for planned in self._layout.jobs_of_stage(stage, todo, self._next):
            upstream = [job for job in before if order.index(job.stage) < order.index(stage)]
            job = replace(planned.job, depends_on=tuple(other.name for other in upstream))
            write_job(self._run.root, job)
            self._next += 1
            script = replace(planned.script, depends_on=tuple(other.job_id for other in upstream))
            job_id = scripts.submit(script)
            now = time.strftime("%Y-%m-%dT%H:%M:%S")
            job = write_job(self._run.root, replace(job, job_id=job_id, submitted=now))
            self._submission.submitted.append(job)
            n_elements = max(len(job.elements), 1)
            what = "1 job" if n_elements == 1 else f"an array of {n_elements}"
            self._progress.say(f"{stage}{f' {job.model}' if job.model else ''}: job {job_id}, {what}")

    def _not_under_way(self, missing: Sequence[Unit], living: Sequence[Job]) -> list[Unit]:
        if any(not job.elements for job in living):
            return []  # it does whatever its stage lacks
        under_way = {
            index
            for job in living
            for number in self._alive_ids(job)
            for index in unpack(job.elements[job.ids.index(number)])
        }
        return [unit for unit in missing if unit.index not in under_way]

    def _take_back(self, living: Sequence[Job]) -> list[Job]:
        """Cancel jobs that wait for less than they have to wait for now; they are submitted again."""
        kept: list[Job] = []
        for job in living:
            if all(self._states[number].state == "pending" for number in self._alive_ids(job)):
                commands.cancel([job.job_id])
                self._progress.say(f"{job.stage}: job {job.job_id} is taken back: it waited for too little")
            else:
                kept.append(job)
        return kept

    def _alive_ids(self, job: Job) -> list[str]:
        return [number for number in job.ids if number in self._states and self._states[number].is_alive]


def _states_of(jobs: Sequence[Job]) -> Mapping[str, JobState]:
    found = states.states_of([number for job in jobs for number in job.ids])
    if silent := next((state.reason for state in found.values() if state.is_unasked), ""):
        raise SchedulerError(
            f"it is not known which jobs of before still run: {silent}; nothing was submitted, "
            "try again later"
        )
    return found


def adopt(root: Path) -> list[Job]:
    """All jobs of a run; one whose submission was cut off gets the id by which the scheduler knows it.

    Raises
    ------
    SchedulerError
        The scheduler does not answer.
    """
    known = jobs_of(root)
    unsure = [job.name for job in known if not job.job_id]
    if not unsure:
        return known
    found = states.alive_by_name(unsure)
    kept: list[Job] = []
    for job in known:
        ids = {number.partition("_")[0] for number in found.get(job.name, [])}
        if job.job_id:
            kept.append(job)
        elif len(ids) == 1:
            kept.append(write_job(root, replace(job, job_id=ids.pop())))
        elif ids:
            raise InputError(
                f"the scheduler knows several jobs called '{job.name}' ({', '.join(sorted(ids))}): "
                "cancel all but one with scancel, then run the same command again"
            )
        else:
            forget_job(root, job)
    return kept


def cancel(root: Path) -> list[str]:
    """Cancel all living jobs of a run; returns their ids.

    Raises
    ------
    SchedulerError
        The scheduler does not answer.
    """
    known = [job for job in adopt(root) if job.job_id]
    names = states.alive_by_name([job.name for job in known])
    # A job is cancelled where both its id and its name are known to the scheduler: ids are used again.
    alive = [
        job.job_id for job in known if job.job_id in {n.partition("_")[0] for n in names.get(job.name, [])}
    ]
    if alive:
        commands.cancel(alive)
    return alive


def _number(job: Job) -> int:
    return int(job.name.split("-")[2])
