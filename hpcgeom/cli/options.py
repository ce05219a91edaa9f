"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ManifestOption = Annotated[
    Path, typer.Option("-m", "--manifest", metavar="PATH", help="The manifest (YAML).", show_default=False)
]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", metavar="DIR", help="Where the run lives [default: runs/NAME-DIGEST8]."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Processes [default: the cores, or the GPUs]."),
]
ReuseOption = Annotated[
    Path | None,
    typer.Option("--reuse", metavar="RUN", help="Take over what is equal in another run."),
]
SamplesOption = Annotated[
    int | None,
    typer.Option("--samples", min=1, metavar="N", help="Do not read the data set: the price of N samples."),
]
LengthOption = Annotated[
    int | None,
    typer.Option("--length", min=1, metavar="L", help="Tokens of a sample [default: the longest allowed]."),
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "-p",
        "--profile",
        metavar="PATH",
        help="The facts of the cluster (YAML) [default: $HPCGEOM_PROFILE, ~/.config/hpcgeom/profile.yaml].",
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="MODE",
        help="allocation: units run on workers, one for each task of the SLURM job that this is in.",
    ),
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="S",
        help="How models are laid over devices: auto, replicate, pipeline, stream or dispatch "
        "[default: as the manifest says].",
    ),
]
HostMemoryOption = Annotated[
    float | None,
    typer.Option(
        "--host-memory-gb",
        min=0.1,
        metavar="G",
        help="GiB of memory for models and their hidden states [default: what the machine has].",
    ),
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="NxG",
        help="Say how models would be laid over N GPUs of G GiB, such as 4x40 [default: this machine].",
    ),
]
LikeOption = Annotated[
    Path | None,
    typer.Option(
        "--like",
        metavar="RUN",
        help="Say hours, from what units of that run took [default: the manifest's own, if it was begun].",
    ),
]
AllowOption = Annotated[
    bool, typer.Option("--allow-code-change", help="Go on with a stage begun by another version.")
]
TraceOption = Annotated[
    bool,
    typer.Option("--profile-trace", help="Write what every process does when to logs/trace.json."),
]
