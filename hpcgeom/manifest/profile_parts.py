"""What a profile is made of: where jobs run on a cluster, what they ask for, and how Python starts there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hpcgeom.manifest.fields import List, Problem, Section, refuse, unique
from hpcgeom.manifest.setup_text import SetupLine, VariableName
from hpcgeom.manifest.shell_text import (
    Account,
    CondaName,
    Constraint,
    GpuType,
    Interface,
    ModuleName,
    Nodes,
    Partition,
    Qos,
    Reservation,
    ScriptPath,
    VariableValue,
)

DaskMode = Literal["local", "allocation", "jobqueue"]

_WALLTIME = re.compile(
    r"(?:(?P<days>[0-9]{1,3})-(?=[01]?[0-9]:|2[0-3]:))?(?P<hours>[0-9]{1,4}):(?P<minutes>[0-5][0-9]):00"
)
MAX_COUNT = 1_000_000


def _checked_walltime(value: Any) -> Any:
    is_walltime = isinstance(value, str) and _WALLTIME.fullmatch(value) is not None
    if not is_walltime or not walltime_seconds(value):
        raise refuse(
            "a walltime HH:MM:SS or D-HH:MM:SS of whole minutes, at least one",
            value,
            'write it as "04:00:00" or "2-12:30:00"',
        )
    return value


def walltime_seconds(text: str) -> int:
    """Seconds of a checked walltime ``HH:MM:SS`` or ``D-HH:MM:SS``."""
    days, _, rest = text.rpartition("-")
    hours, minutes, seconds = map(int, rest.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _checked_python(value: str) -> str:
    if "/" not in value:
        raise refuse("the path of a Python such as /opt/python/bin/python3", value, "write the whole path")
    return value


Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
NotNegative = Annotated[int, Field(ge=0, le=MAX_COUNT)]
GiB = Annotated[float, Field(gt=0, le=MAX_COUNT)]
Walltime = Annotated[str, BeforeValidator(_checked_walltime)]


class SlurmSection(Section):
    """What sbatch is told of every job, unless the job's own section says otherwise."""

    partition: Annotated[
        Partition | None, Field(description="Partition, or several with commas; the cluster's when absent.")
    ] = None
    account: Annotated[Account | None, Field(description="Account that pays.")] = None
    qos: Annotated[Qos | None, Field(description="Quality of service.")] = None
    constraint: Annotated[
        Constraint | None, Field(description="Features that nodes must have, such as a100&ib.")
    ] = None
    reservation: Annotated[Reservation | None, Field(description="Reservation to run in.")] = None
    exclude: Annotated[Nodes | None, Field(description="Nodes to leave out, such as node[01-04,07].")] = None
    max_array_size: Annotated[
        Count | None, Field(description="The cluster's MaxArraySize; asked of the cluster when absent.")
    ] = None
    signal_before_end_s: Annotated[
        int, Field(ge=1, le=65535, description="Seconds before the walltime at which a job is told to stop.")
    ] = 120
    max_requeues: Annotated[
        NotNegative, Field(description="How often a job puts itself back into the queue.")
    ] = 20


class NodeSection(Section):
    """Facts of one node: what exceeds them is refused before anything is submitted."""

    cpus: Annotated[Count | None, Field(description="CPUs that jobs may use.")] = None
    memory_gb: Annotated[GiB | None, Field(description="GiB of memory that jobs may use.")] = None
    gpus: Annotated[NotNegative | None, Field(description="GPUs.")] = None
    gpu_memory_gb: Annotated[GiB | None, Field(description="GiB of memory of one GPU.")] = None

    def problems(self) -> Iterator[Problem]:
        """Memory of GPUs goes with GPUs."""
        if self.gpus == 0 and self.gpu_memory_gb is not None:
            yield Problem(
                ("gpu_memory_gb",),
                f"expected no such key, because gpus is 0, found {self.gpu_memory_gb:g}: remove one of them",
            )


class JobSection(Section):
    """What one job asks for; placement that is not said here is that of `slurm`."""

    partition: Annotated[Partition | None, Field(description="Instead of slurm.partition.")] = None
    account: Annotated[Account | None, Field(description="Instead of slurm.account.")] = None
    qos: Annotated[Qos | None, Field(description="Instead of slurm.qos.")] = None
    constraint: Annotated[Constraint | None, Field(description="Instead of slurm.constraint.")] = None
    walltime: Annotated[
        Walltime, Field(description="HH:MM:SS or D-HH:MM:SS, whole minutes: after it the job is ended.")
    ] = "04:00:00"
    cpus: Annotated[Count, Field(description="CPUs of one process.")] = 1
    memory_gb: Annotated[
        GiB | None, Field(description="GiB of memory of one process; from the plan when absent.")
    ] = None
    gpus: Annotated[NotNegative, Field(description="GPUs of one job.")] = 0
    gpu_type: Annotated[
        GpuType | None, Field(description="Type of these GPUs as the cluster names it, such as a100.")
    ] = None
    node: Annotated[
        NodeSection | None, Field(description="Facts of this job's nodes that differ from node.")
    ] = None

    @property
    def walltime_s(self) -> int:
        """The walltime in seconds: whole minutes."""
        return walltime_seconds(self.walltime)

    def problems(self) -> Iterator[Problem]:
        """A type of GPU goes with GPUs."""
        if self.gpu_type is not None and self.gpus == 0:
            yield Problem(
                ("gpu_type",),
                f"expected no such key, because gpus is 0, found '{self.gpu_type}': set gpus, or remove it",
            )


class RatedJobs(JobSection):
    """Jobs of a stage whose operations the plan counts."""

    gflops_per_s: Annotated[
        float | None,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="GFLOP/s of one process, or of one GPU: the plan works out hours from it.",
        ),
    ] = None


class ExtractJobs(RatedJobs):
    """Jobs of the forward passes: an array for each model."""

    jobs: Annotated[
        Count, Field(description="The most elements of an array over which a model's units are spread.")
    ] = 8
    units_per_job: Annotated[Count | None, Field(description="Units of one element, instead of jobs.")] = None
    jobs_at_once: Annotated[
        Count, Field(description="How many elements of an array run at the same time.")
    ] = 256
    processes: Annotated[
        Count, Field(description="Processes of one job on a node, each of which does units of its own.")
    ] = 1
    nodes: Annotated[
        Count,
        Field(
            description="Nodes of one job where all its processes run a model together (strategy pipeline); "
            "cpus are of a process, memory_gb too, gpus of a node."
        ),
    ] = 1

    def problems(self) -> Iterator[Problem]:
        """Units are dealt out in one way, and processes share GPUs evenly."""
        yield from super().problems()
        if self.units_per_job is not None and "jobs" in self.model_fields_set:
            yield Problem(
                ("units_per_job",),
                f"expected jobs or units_per_job, found both ({self.jobs}, {self.units_per_job}): remove one",
            )
        if self.gpus % self.processes:
            yield Problem(
                ("processes",),
                f"expected a number that divides the {self.gpus} GPUs of a job, found {self.processes}: "
                "change gpus or processes",
            )


class DaskJobs(JobSection):
    """Jobs whose work is shared by Dask workers; `cpus` and `memory_gb` are those of one worker."""


class SearchJobs(DaskJobs, RatedJobs):
    """The job that finds neighbors."""


class DaskSection(Section):
    """The Dask workers of search and geometry."""

    mode: Annotated[
        DaskMode,
        Field(
            description="local: processes of one node; allocation: workers on the nodes of one job; "
            "jobqueue: every worker is a job of its own."
        ),
    ] = "allocation"
    workers: Annotated[Count, Field(description="Workers.")] = 4
    nodes: Annotated[Count, Field(description="Nodes over which they are spread evenly.")] = 1
    start_timeout_s: Annotated[
        Count, Field(description="Seconds that the first worker may take to come.")
    ] = 300
    interface: Annotated[
        Interface | None, Field(description="Network interface of the nodes, such as ib0.")
    ] = None
    refill_every_s: Annotated[
        Count, Field(description="jobqueue: seconds between looks for workers that are gone.")
    ] = 30

    def problems(self) -> Iterator[Problem]:
        """Nodes get equal numbers of workers, and local is one node."""
        if self.mode == "local" and self.nodes != 1:
            yield Problem(
                ("nodes",),
                f"expected 1, because dask.mode is local, found {self.nodes}: set it to 1, or change mode",
            )
        elif self.workers % self.nodes:
            yield Problem(
                ("workers",),
                f"expected a multiple of dask.nodes = {self.nodes}, found {self.workers}: change one of them",
            )


class EnvironmentSection(Section):
    """How Python starts in a job."""

    python: Annotated[
        Annotated[ScriptPath, AfterValidator(_checked_python)] | None,
        Field(description="Python to start; the one that submits when nothing is said."),
    ] = None
    venv: Annotated[ScriptPath | None, Field(description="Folder of a virtual environment.")] = None
    conda: Annotated[CondaName | None, Field(description="Name or path of a conda environment.")] = None
    apptainer: Annotated[ScriptPath | None, Field(description="Image of a container.")] = None
    modules: Annotated[
        tuple[ModuleName, ...],
        List,
        AfterValidator(unique),
        Field(description="Modules to load, in this order."),
    ] = ()
    setup: Annotated[
        tuple[SetupLine, ...],
        List,
        Field(
            description="Lines of shell after the modules: export, source, module, ulimit, umask, unset ..."
        ),
    ] = ()
    variables: Annotated[
        dict[VariableName, VariableValue],
        Field(description="Variables of the jobs, set last; values are literal."),
    ] = {}  # noqa: RUF012

    def problems(self) -> Iterator[Problem]:
        """Python comes from one place."""
        given = [key for key in ("python", "venv", "conda", "apptainer") if getattr(self, key) is not None]
        for key in given[1:]:
            yield Problem(
                (key,),
                f"expected at most one of python, venv, conda and apptainer, found {' and '.join(given)}: "
                f"remove {key} or {given[0]}",
            )
