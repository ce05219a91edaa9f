"""The commands of hpcgeom. Nothing heavy is imported before a command is known."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hpcgeom.cli import job_commands, measure_command
from hpcgeom.cli.options import (
    AllowOption,
    DaskOption,
    DevicesOption,
    HostMemoryOption,
    JsonOption,
    LengthOption,
    LikeOption,
    ManifestOption,
    ProfileOption,
    ReuseOption,
    RunArgument,
    RunDirOption,
    SamplesOption,
    StrategyOption,
    TraceOption,
    WorkersOption,
)
from hpcgeom.errors import HpcgeomError, InputError, ResourceError

app = typer.Typer(
    name="hpcgeom",
    help=(
        "The geometry of hidden representations of large transformers, from one manifest to labeled datasets."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130
VERBOSE = ("-v", "--verbose")


def _print_version(value: bool) -> None:
    if value:
        from hpcgeom.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option(*VERBOSE, help="Print tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The geometry of hidden representations of large transformers."""


@app.command()
def init(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Name of the manifest or profile.")
    ] = "my-run",
    profile: Annotated[bool, typer.Option("--profile", help="Of a cluster, in place of a manifest.")] = False,
) -> None:
    """Write a commented manifest, or profile, to start from: NAME.yaml."""
    from hpcgeom.cli import commands

    typer.echo(commands.init(name, is_profile=profile))


@app.command()
def models(json: JsonOption = False) -> None:
    """Show the families that can be run, and their sites."""
    from hpcgeom.cli import commands

    typer.echo(commands.models(as_json=json))


@app.command()
def schema(
    of: Annotated[str, typer.Argument(metavar="[OF]", help="manifest, profile or status.")] = "manifest",
) -> None:
    """Print the JSON schema of a manifest or a profile, for editors, or of what status prints."""
    from hpcgeom.cli import commands

    typer.echo(commands.schema(of))


@app.command()
def validate(manifest: ManifestOption) -> None:
    """Check a manifest: all problems at once, with file and line."""
    from hpcgeom.cli import commands

    typer.echo(commands.validate(manifest))


@app.command()
def plan(
    manifest: ManifestOption,
    samples: SamplesOption = None,
    length: LengthOption = None,
    profile: ProfileOption = None,
    devices: DevicesOption = None,
    like: LikeOption = None,
    json: JsonOption = False,
) -> None:
    """Show units, bytes, files, memory, strategies, operations, and hours where known; runs nothing."""
    from hpcgeom.cli import commands

    where = commands.Where(profile, devices, like)
    text, code = commands.plan(manifest, samples, length, where, as_json=json)
    typer.echo(text)
    raise typer.Exit(code)


@app.command()
def prepare(manifest: ManifestOption, run_dir: RunDirOption = None) -> None:
    """Resolve weights, hash samples, fix batches, write the plan."""
    from hpcgeom.cli import commands

    typer.echo(commands.prepare(manifest, run_dir))


@app.command()
def run(
    manifest: ManifestOption,
    run_dir: RunDirOption = None,
    workers: WorkersOption = None,
    reuse: ReuseOption = None,
    dask: DaskOption = None,
    strategy: StrategyOption = None,
    host_memory_gb: HostMemoryOption = None,
    allow_code_change: AllowOption = False,
    profile_trace: TraceOption = False,
) -> None:
    """Do everything on this machine, or in this job; what is done is not done again."""
    from hpcgeom.cli import commands

    how = commands.How(workers, dask, strategy, host_memory_gb, allow_code_change)
    typer.echo(commands.run(manifest, run_dir, reuse, how, profile_trace=profile_trace))


for command in (
    job_commands.submit,
    job_commands.task,
    job_commands.status,
    job_commands.logs,
    job_commands.cancel,
    job_commands.resume,
    measure_command.measure,
):
    app.command()(command)


@app.command()
def verify(run: RunArgument, json: JsonOption = False) -> None:
    """Read every byte and hold it against the records; bad units are to be done again."""
    from hpcgeom.cli import commands

    text, code = commands.verify(run, as_json=json)
    typer.echo(text)
    raise typer.Exit(code)


@app.command()
def compare(
    run: RunArgument,
    other: Annotated[
        Path, typer.Argument(metavar="OTHER", help="Another run directory.", show_default=False)
    ],
) -> None:
    """Say whether two runs have identical stores, and where not."""
    from hpcgeom.cli import commands

    text, code = commands.compare(run, other)
    typer.echo(text)
    raise typer.Exit(code)


@app.command()
def show(run: RunArgument, json: JsonOption = False) -> None:
    """Print the results as tables."""
    from hpcgeom.cli import commands

    typer.echo(commands.show(run, as_json=json))


@app.command()
def plot(
    run: RunArgument,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="FILE", help="Published curves (JSON) to draw beside the run's."),
    ] = None,
) -> None:
    """Draw the figures of a run, as PNG and SVG."""
    from hpcgeom.cli import commands

    typer.echo(commands.plot(run, reference))


@app.command()
def doctor(
    run_dir: Annotated[Path, typer.Option("--run-dir", metavar="DIR", help="Where runs will live.")] = Path(),
    profile: ProfileOption = None,
    manifest: Annotated[
        Path | None,
        typer.Option("-m", "--manifest", metavar="PATH", help="Say how its models would be laid out there."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say whether this machine, or with a profile the cluster, can do it, and if not, why."""
    from hpcgeom.cli import commands

    text, code = commands.doctor(run_dir, profile, manifest, as_json=json)
    typer.echo(text)
    raise typer.Exit(code)


def _terminate(_signal: int, _frame: object) -> None:
    from hpcgeom import interrupts

    interrupts.request(interrupts.Stopped())


def entry_point() -> NoReturn:
    """Run a command and end with the exit code that its outcome has."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A label that the terminal's encoding lacks is spelled out; it must not end the command.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run([argument for argument in sys.argv[1:] if argument not in VERBOSE]))


def _run(arguments: list[str]) -> int:
    try:
        app(arguments, prog_name="hpcgeom")
    except HpcgeomError as error:
        return _fail(str(error), error, error.exit_code)
    except OSError as error:
        return _fail(_about_the_machine(error), error, _exit_code_of(error))
    except MemoryError as error:
        return _fail("memory ran out: hpcgeom plan says what a task needs", error, ResourceError.exit_code)
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as error:
        # Typer turns Ctrl-C into this.
        return _interrupted() if error.code == INTERRUPTED else int(error.code or 0)
    return 0


def _interrupted() -> int:
    print("hpcgeom: interrupted; the same command goes on where it stopped", file=sys.stderr)  # noqa: T201
    return INTERRUPTED


def _fail(message: str, error: BaseException, code: int) -> int:
    print(f"hpcgeom: {message}", file=sys.stderr)  # noqa: T201
    if set(VERBOSE) & set(sys.argv):
        import traceback

        details = "".join(getattr(error, "__notes__", [])) or "".join(traceback.format_exception(error))
        print(details, file=sys.stderr)  # noqa: T201
    return code


def _about_the_machine(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    what = (error.strerror or str(error)).lower()
    return f"the system refuses{where} ({what}): name another path, or add -v to see where it happened"


def _exit_code_of(error: OSError) -> int:
    paths = PermissionError | FileNotFoundError | FileExistsError | NotADirectoryError | IsADirectoryError
    return InputError.exit_code if isinstance(error, paths) else ResourceError.exit_code


if __name__ == "__main__":
    entry_point()
