"""Carrying out a run on this machine: prepare, then every stage until nothing is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from hpcgeom.api.groups import with_groups
from hpcgeom.api.job import heeding
from hpcgeom.api.launchers import launcher
from hpcgeom.api.progress import Progress, Silent
from hpcgeom.api.strategies import Resources, means_of, resources_for, wishes_for
from hpcgeom.api.tracing import tracing
from hpcgeom.api.units import do_stage
from hpcgeom.errors import InputError
from hpcgeom.manifest import LoadedManifest, load_manifest, manifest_digest
from hpcgeom.plan import paths
from hpcgeom.plan.footprints import Devices
from hpcgeom.plan.installed import refuse_missing_dadapy
from hpcgeom.plan.units import STAGES
from hpcgeom.stages.base import finalize
from hpcgeom.stages.inputs import manifest_of
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.provenance import read_manifest_folder
from hpcgeom.stages.reuse import take_over
from hpcgeom.stages.run import Run
from hpcgeom.types import Means

WAIT_FOR_PREPARE_S = 3600.0
"""For another process that prepares the same run: the elements of an array all ask for it."""


def run_directory_of(loaded: LoadedManifest, run_dir: Path | None) -> Path:
    """Where the run of a manifest is: as given, or ``runs/<name>-<digest8>`` below the current folder."""
    return run_dir or paths.run_directory(loaded.manifest.name, manifest_digest(loaded.manifest))


def run_manifest(
    manifest: Path,
    run_dir: Path | None = None,
    workers: int | None = None,
    reuse: Path | None = None,
    progress: Progress | None = None,
    *,
    elsewhere: dict[str, Any] | None = None,
    host_memory_gb: float | None = None,
    strategy: str | None = None,
    allow_code_change: bool = False,
    profile_trace: bool = False,
) -> Path:
    """Do everything that a manifest asks for, on this machine; what is done is not done again.

    Parameters
    ----------
    manifest
        Path of the manifest.
    run_dir
        Where the run lives; by default ``runs/<name>-<digest8>`` below the current folder.
    workers
        Processes; by default one for each core that this process may use, and one for each GPU in stages
        that compute there. The results do not depend on it.
    reuse
        Another run; units of equal digest are taken over from it.
    elsewhere
        What makes workers on other machines (`hpcgeom.store.jobs.Job.workers`), in place of processes here.
    host_memory_gb
        GiB of memory that the models may take in all processes together; by default what the machine has.
    strategy
        Of all models, in place of those that the manifest asks for. The results do not depend on it.
    allow_code_change
        Go on with a stage that another version of hpcgeom began.
    profile_trace
        Write what every process does when into ``logs/trace.json``, which Perfetto opens.

    Returns
    -------
    Path
        The run directory.

    Raises
    ------
    InputError
        The manifest, its data or its models are wrong, or a model does not fit into what there is.
    IncompleteError
        Units failed; the others are done.
    ResourceError
        Disk or memory ran out.
    """
    listener = progress or Silent()
    loaded = load_manifest(manifest)
    root = run_directory_of(loaded, run_dir)
    run = begin(loaded, root, reuse, listener)
    resources = resources_for(workers, host_memory_gb, strategy)
    wishes = wishes_for(loaded.manifest, resources)
    with tracing(root, listener, wanted=profile_trace):
        complete(run, wishes, resources, listener, elsewhere=elsewhere, allow_code_change=allow_code_change)
    return root


def begin(loaded: LoadedManifest, root: Path, reuse: Path | None, listener: Progress) -> Run:
    """Prepare a run, or open one that is prepared, and take over what another has done already."""
    listener.say(f"run directory: {root}")
    run = prepare(loaded, root, WAIT_FOR_PREPARE_S)
    for notice in run.plan.samples.notices:
        listener.say(f"note: {notice}")
    if reuse is not None:
        for line in take_over(run, reuse):
            listener.say(line)
    return run


def resume(
    root: Path,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    elsewhere: dict[str, Any] | None = None,
    host_memory_gb: float | None = None,
    strategy: str | None = None,
    allow_code_change: bool = False,
) -> Path:
    """Do what is missing in a run, from the manifest that it keeps; parameters as of `run_manifest`.

    Raises
    ------
    InputError
        The directory is not a run, or a model does not fit into what there is.
    IncompleteError
        Units failed again.
    """
    run, resources = read_run(root), resources_for(workers, host_memory_gb, strategy)
    wishes = wishes_for(manifest_of(run), resources)
    listener = progress or Silent()
    complete(run, wishes, resources, listener, elsewhere=elsewhere, allow_code_change=allow_code_change)
    return root


def read_run(root: Path) -> Run:
    """A run from the manifest that it keeps, prepared as far as it was not.

    Raises
    ------
    InputError
        The directory is not a run.
    """
    kept = root / paths.MANIFEST
    if not kept.exists():
        raise InputError(
            f"{root} is not a run of hpcgeom (it has no {paths.MANIFEST}): name the directory of a run, "
            f"or if that file was lost, go on with hpcgeom run -m MANIFEST --run-dir {root}"
        )
    return prepare(load_manifest(kept, read_manifest_folder(root)), root, WAIT_FOR_PREPARE_S)


def complete(
    run: Run,
    wishes: Mapping[str, str],
    resources: Resources,
    progress: Progress,
    *,
    elsewhere: dict[str, Any] | None = None,
    allow_code_change: bool = False,
) -> None:
    """Do every missing unit of every stage, in the order of the stages."""
    missing = {stage: run.missing(stage) for stage in STAGES}
    if missing["geometry"]:
        refuse_missing_dadapy(run.plan.manifest["geometry"]["clusters"])
    if not any(missing.values()):
        resources, elsewhere = Resources(), None
    if elsewhere:  # the same workers do all of it
        resources = replace(resources, gpu_processes=None)
    means: dict[str, Means] = {}
    if missing["extract"]:  # memory of other machines is not known here
        devices = Devices() if elsewhere else resources.devices()
        means = means_of(run, missing["extract"], wishes, devices)
    with heeding() as stop:
        for processes, stages in groupby(STAGES, resources.processes_of):
            with launcher(processes, run.root, elsewhere) as alone:
                launch = with_groups(alone, run, processes, allow_code_change=allow_code_change)
                for stage in stages:
                    run.refuse_other_versions(stage, allow=allow_code_change)
                    do_stage(run, stage, run.missing(stage), launch, progress, stop, means)
                    if stop.why:
                        return
                    finalize(run, stage)
