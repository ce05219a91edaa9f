"""What a submission would do: jobs, scripts and the price, worked out without preparing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hpcgeom.api.job_layout import JobLayout, PlannedJob, missing_of_jobs, place_for_scripts
from hpcgeom.api.pricing import Price, price, price_of
from hpcgeom.api.rates import rates_for
from hpcgeom.api.running import run_directory_of
from hpcgeom.api.strategies import devices_of
from hpcgeom.launch.slurm import commands, scripts
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.manifest import load_manifest
from hpcgeom.manifest.profile import LoadedProfile, find_profile
from hpcgeom.plan import paths
from hpcgeom.plan.strategies import wishes_of
from hpcgeom.plan.units import STAGES_OF_JOBS, units_of
from hpcgeom.stages.run import Run

DEFAULT_MAX_ARRAY_SIZE = 1001
"""SLURM's own, for scripts that are only looked at where there is no scheduler."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a submission would do.

    Attributes
    ----------
    scripts
        Name of each job and the text of its script; ids of jobs that do not exist stand as ``<name>``.
    """

    price: Price
    jobs: tuple[PlannedJob, ...]
    scripts: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]


def rehearse(
    manifest: Path,
    profile: Path | None = None,
    run_dir: Path | None = None,
    n_samples: int | None = None,
    length: int | None = None,
) -> Rehearsal:
    """Work out the jobs of a manifest, their scripts and their price; nothing is prepared or submitted.

    Parameters
    ----------
    n_samples, length
        As `hpcgeom.api.pricing.price` takes them, for a data set that is not here.

    Raises
    ------
    InputError
        As `submit`, as far as it can be known without preparing.
    """
    loaded, cluster = load_manifest(manifest), find_profile(profile)
    root, wishes = place_for_scripts(run_directory_of(loaded, run_dir)), wishes_of(loaded.manifest)
    run = Run(root) if (root / paths.PLAN).exists() else None
    devices, rates = devices_of(cluster.profile), rates_for(cluster.profile, run)
    if n_samples is None and run is not None:
        found, missing = price_of(run.plan, wishes, devices, rates), missing_of_jobs(run)
    else:
        found = price(manifest, n_samples, length, devices, rates)
        missing = {
            name: [unit for stage in stages for unit in units_of(found.plan, stage)]
            for name, stages in STAGES_OF_JOBS.items()
        }
    size, notices = _array_size_or_default(cluster)
    layout = JobLayout(root, found.plan, wishes, cluster, size)
    jobs: list[PlannedJob] = []
    for stage in STAGES_OF_JOBS:
        before = tuple(f"<{planned.job.name}>" for planned in jobs)
        jobs += [
            replace(planned, script=replace(planned.script, depends_on=before))
            for planned in (layout.jobs_of_stage(stage, missing[stage], len(jobs)) if missing[stage] else [])
        ]
    texts = tuple((planned.job.name, scripts.text_of(planned.script)) for planned in jobs)
    return Rehearsal(found, tuple(jobs), texts, notices)


def _array_size_or_default(cluster: LoadedProfile) -> tuple[int, tuple[str, ...]]:
    known = cluster.profile.slurm.max_array_size
    if known is not None:
        return known, ()
    try:
        return commands.max_array_size(), ()
    except SchedulerError:
        notice = (
            f"no scheduler answers here: arrays are cut at {DEFAULT_MAX_ARRAY_SIZE}, SLURM's own MaxArraySize"
        )
        return DEFAULT_MAX_ARRAY_SIZE, (notice,)
