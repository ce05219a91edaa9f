"""Carrying out a run on this machine: prepare, then every stage until nothing is missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hpcgeom.api.progress import Progress, Silent
from hpcgeom.errors import HpcgeomError, IncompleteError, InputError, ResourceError
from hpcgeom.manifest import LoadedManifest, load_manifest, manifest_digest
from hpcgeom.plan import paths
from hpcgeom.plan.units import STAGES
from hpcgeom.stages import task
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.provenance import read_manifest_folder
from hpcgeom.stages.reuse import take_over
from hpcgeom.stages.run import Run
from hpcgeom.stages.task import Receipt, Task
from hpcgeom.types import Unit

Launch = Callable[[Sequence[Task], Callable[[Receipt], None]], None]

SHOWN_FAILURES = 3


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
    allow_code_change: bool = False,
) -> Path:
    """Do everything that a manifest asks for, on this machine; what is done is not done again.

    Parameters
    ----------
    manifest
        Path of the manifest.
    run_dir
        Where the run lives; by default ``runs/<name>-<digest8>`` below the current folder.
    workers
        Processes; by default one for each core that this process may use. The results do not depend on it.
    reuse
        Another run; units of equal digest are taken over from it.
    allow_code_change
        Go on with a stage that another version of hpcgeom began.

    Returns
    -------
    Path
        The run directory.

    Raises
    ------
    InputError
        The manifest, its data or its models are wrong.
    IncompleteError
        Units failed; the others are done.
    ResourceError
        Disk or memory ran out.
    """
    listener = progress or Silent()
    loaded = load_manifest(manifest)
    root = run_directory_of(loaded, run_dir)
    listener.say(f"run directory: {root}")
    run = prepare(loaded, root)
    for notice in run.plan.samples.notices:
        listener.say(f"note: {notice}")
    if reuse is not None:
        for line in take_over(run, reuse):
            listener.say(line)
    complete(run, workers, listener, allow_code_change=allow_code_change)
    return root


def resume(
    root: Path,
    workers: int | None = None,
    progress: Progress | None = None,
    *,
    allow_code_change: bool = False,
) -> Path:
    """Do what is missing in a run, from the manifest that it keeps.

    Raises
    ------
    InputError
        The directory is not a run.
    IncompleteError
        Units failed again.
    """
    kept = root / paths.MANIFEST
    if not kept.exists():
        raise InputError(
            f"{root} is not a run of hpcgeom (it has no {paths.MANIFEST}): name the directory of a run, "
            f"or if that file was lost, go on with hpcgeom run -m MANIFEST --run-dir {root}"
        )
    run = prepare(load_manifest(kept, read_manifest_folder(root)), root)
    complete(run, workers, progress or Silent(), allow_code_change=allow_code_change)
    return root


def complete(run: Run, workers: int | None, progress: Progress, *, allow_code_change: bool = False) -> None:
    """Do every missing unit of every stage, in the order of the stages."""
    n_workers = workers or len(os.sched_getaffinity(0))
    with _launcher(n_workers, run) as launch:
        for stage in STAGES:
            run.refuse_other_versions(stage, allow=allow_code_change)
            do_stage(run, stage, run.missing(stage), launch, progress)
            run.records(stage).finalize(run.units(stage))


def do_stage(run: Run, stage: str, missing: Sequence[Unit], launch: Launch, progress: Progress) -> None:
    """Do some units of a stage.

    Raises
    ------
    HpcgeomError
        Of the gravest kind among the failures; says the first few.
    """
    n_units = len(run.units(stage))
    progress.begin(stage, n_units - len(missing), n_units)
    failures: list[Receipt] = []

    def on_receipt(receipt: Receipt) -> None:
        if receipt.failure:
            failures.append(receipt)
        else:
            progress.advance(stage, receipt.key)

    if missing:
        launch([Task(str(run.root), stage, unit.index) for unit in missing], on_receipt)
    if failures:
        raise _error_of(stage, failures, n_units)
    progress.end(stage)


def _error_of(stage: str, failures: Sequence[Receipt], n_units: int) -> HpcgeomError:
    kinds = {InputError.exit_code: InputError, ResourceError.exit_code: ResourceError}
    gravest = min(failures, key=lambda receipt: {4: 0, 2: 1}.get(receipt.exit_code, 2))
    sentences = list(dict.fromkeys(receipt.failure for receipt in failures))[:SHOWN_FAILURES]
    text = "; ".join(sentences)
    error = kinds.get(gravest.exit_code, IncompleteError)(
        f"stage '{stage}': {len(failures)} of {n_units} units failed: {text}"
    )
    error.add_note(gravest.details)
    return error


@contextlib.contextmanager
def _launcher(n_workers: int, run: Run) -> Iterator[Launch]:
    """One process is this one; more are Dask workers, started when the first unit needs them."""
    if n_workers == 1 or not any(run.missing(stage) for stage in STAGES):
        from hpcgeom.launch import inline

        try:
            yield lambda tasks, on_receipt: inline.run(task.do, tasks, on_receipt)
        finally:
            task.close()
        return
    from hpcgeom.launch import dask_local

    with dask_local.cluster(n_workers) as client:

        def launch(tasks: Sequence[Task], on_receipt: Callable[[Receipt], None]) -> None:
            dask_local.run(
                client, task.do, tasks, on_receipt, lambda lost, error: on_receipt(task.failed(lost, error))
            )

        yield launch


def run_task(
    root: Path,
    stage: str,
    indices: Sequence[int],
    progress: Progress | None = None,
    *,
    allow_code_change: bool = False,
) -> None:
    """Do some units of one stage in this process; done ones are left alone.

    Raises
    ------
    InputError
        There is no such run, stage or unit.
    IncompleteError
        A unit failed, or the stage before is not finished.
    """
    run = Run(root)
    units = run.select(stage, indices)
    run.refuse_other_versions(stage, allow=allow_code_change)
    from hpcgeom.launch import inline

    try:
        do_stage(
            run,
            stage,
            run.records(stage).missing(units),
            lambda tasks, on_receipt: inline.run(task.do, tasks, on_receipt),
            progress or Silent(),
        )
    finally:
        task.close()
