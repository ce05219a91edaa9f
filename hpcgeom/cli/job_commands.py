"""The commands about jobs, and about units that jobs do."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcgeom.cli.options import (
    AllowOption,
    DaskOption,
    HostMemoryOption,
    JsonOption,
    LengthOption,
    ManifestOption,
    ProfileOption,
    ReuseOption,
    RunArgument,
    RunDirOption,
    SamplesOption,
    StrategyOption,
    WorkersOption,
)


def submit(
    manifest: ManifestOption,
    profile: ProfileOption = None,
    run_dir: RunDirOption = None,
    reuse: ReuseOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the scripts, the units and the price; submit nothing.")
    ] = False,
    samples: SamplesOption = None,
    length: LengthOption = None,
    allow_code_change: AllowOption = False,
) -> None:
    """Do everything on SLURM; what is done or under way is not submitted again."""
    from hpcgeom.cli import submission

    if dry_run:
        typer.echo(submission.rehearse(manifest, profile, run_dir, samples, length))
    else:
        submission.refuse_assumptions(samples, length)
        typer.echo(submission.submit(manifest, profile, run_dir, reuse, allow_code_change))


def task(
    run: RunArgument,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="S", help="extract, search, merge, geometry or collect.")
    ] = None,
    indices: Annotated[
        str | None, typer.Option("--indices", metavar="I", help="Units, such as 0-15 or 3,7 [default: all].")
    ] = None,
    share: Annotated[
        str | None,
        typer.Option("--share", metavar="I/N", help="Every N-th unit; 'slurm': what falls to this task."),
    ] = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    job: Annotated[
        str | None, typer.Option("--job", metavar="NAME", help="What that submitted job is to do, instead.")
    ] = None,
    strategy: StrategyOption = None,
    host_memory_gb: HostMemoryOption = None,
    allow_code_change: AllowOption = False,
) -> None:
    """Do some units of one stage: what a job of a scheduler does."""
    from hpcgeom.cli import commands

    how = commands.How(workers, dask, strategy, host_memory_gb, allow_code_change)
    typer.echo(commands.task(run, commands.Wanted(stage, indices, share), how, job))


def status(
    run: RunArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until it is over.")] = False,
    json: JsonOption = False,
) -> None:
    """Show how far a run is: truth from its records, hints from the scheduler."""
    from hpcgeom.cli import submission

    text, code = submission.watch(run) if watch else submission.status(run, as_json=json)
    typer.echo(text)
    raise typer.Exit(code)


def logs(
    run: RunArgument,
    stage: Annotated[str | None, typer.Option("--stage", metavar="S", help="Only of this stage.")] = None,
    lines: Annotated[int, typer.Option("--lines", min=1, metavar="N", help="Last lines of each.")] = 20,
) -> None:
    """Print the end of the log of each job of a run."""
    from hpcgeom.cli import submission

    typer.echo(submission.logs(run, stage, lines))


def cancel(run: RunArgument) -> None:
    """Cancel the jobs of a run; what is done stays done."""
    from hpcgeom.cli import submission

    typer.echo(submission.cancel(run))


def resume(
    run: RunArgument,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    profile: ProfileOption = None,
    strategy: StrategyOption = None,
    host_memory_gb: HostMemoryOption = None,
    allow_code_change: AllowOption = False,
) -> None:
    """Do what is missing in a run: on SLURM if it was submitted (without --workers), else here."""
    from hpcgeom.cli import commands, submission

    how = commands.How(workers, dask, strategy, host_memory_gb, allow_code_change)
    if submission.is_for_slurm(run, how, profile):
        typer.echo(submission.resubmit(run, profile, allow_code_change))
    else:
        typer.echo(commands.resume(run, how))
