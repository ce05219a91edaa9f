"""What there is to run models on, here or on a cluster, and the strategy of each model there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcgeom import this_machine
from hpcgeom.data.wording import counted
from hpcgeom.errors import InputError
from hpcgeom.launch.devices import visible
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan.footprints import STRATEGIES, Devices
from hpcgeom.plan.needs import needs_of
from hpcgeom.plan.strategies import AUTO, choose, wishes_of
from hpcgeom.stages.run import Run
from hpcgeom.types import Means, Unit

HEADROOM = 1.15
"""Of memory that a job asks for over the plan's estimate of a process."""
DRIVER_GB = 1.0
"""GiB of a process that sends units to others, with a scheduler of Dask."""
NANNY_GB = 0.25
"""GiB of what watches a worker."""
GPU_SHARE = 0.97
"""Of what is said of a GPU: its driver keeps a part for itself."""
ON_GPUS = frozenset({"extract", "search"})
"""Stages whose processes compute on GPUs where they were given some."""
_UNKNOWN_GPU_BYTES = 2**62
"""A GPU of which a profile does not say how large it is: whatever is put there fits."""
_DEVICES = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_GPU_BYTES = "import torch; print(*(torch.cuda.mem_get_info(i)[1] for i in range(torch.cuda.device_count())))"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a command says of how models are run.

    Attributes
    ----------
    processes
        Of this machine, that do units.
    host_memory_gb
        GiB of memory that they may take together; what the machine has for None.
    strategy
        Of all models, in place of those that the manifest asks for.
    gpu_processes
        As many of the processes do units of the stages that compute on GPUs; all for None.
    """

    processes: int = 1
    host_memory_gb: float | None = None
    strategy: str | None = None
    gpu_processes: int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in (None, AUTO, *STRATEGIES):
            raise InputError(
                f"--strategy '{self.strategy}': expected one of {', '.join((AUTO, *STRATEGIES))}: choose one "
                "of them"
            )

    def processes_of(self, stage: str) -> int:
        """How many processes do units of a stage."""
        return (self.gpu_processes or self.processes) if stage in ON_GPUS else self.processes

    def devices(self, n_gpus: int = 0) -> Devices:
        """What this machine has for these processes.

        Parameters
        ----------
        n_gpus
            Over which they are spread, where that is more than this process sees.
        """
        host = this_machine.memory_bytes()
        if self.host_memory_gb is not None:
            host = int(self.host_memory_gb * 2**30)
        processes = self.processes_of("extract")
        gpus = _gpu_bytes() if visible() else []
        if not gpus:
            return Devices(processes, None, host)
        each = -(-processes // max(n_gpus, len(gpus)))  # processes that share a GPU
        n = max(processes, len(gpus))
        return Devices(n, min(gpus) // each, host, n_whole=processes, n_over_gpus=processes)


def resources_for(workers: int | None, host_memory_gb: float | None, strategy: str | None) -> Resources:
    """What a command asks for.

    Parameters
    ----------
    workers
        Processes; by default one for each core that this process may use, and one for each GPU that it was
        given in stages that compute there.
    """
    if workers is not None:
        return Resources(workers, host_memory_gb, strategy)
    return Resources(len(os.sched_getaffinity(0)), host_memory_gb, strategy, len(visible()) or None)


def _gpu_bytes() -> list[int]:
    """Memory of each GPU that torch sees; a process of its own asks, because asking takes some of it."""
    command = [sys.executable, "-P", "-c", _GPU_BYTES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(text) for text in done.stdout.split()] if done.returncode == 0 else []


def parse_devices(text: str) -> Devices:
    """Devices that are only thought of: ``4x40``, four GPUs of 40 GiB.

    Raises
    ------
    InputError
        The text is something else.
    """
    found = _DEVICES.fullmatch(text)
    if found is None:
        raise InputError(f"--devices '{text}': expected GPUs x GiB of each, such as 4x40: correct it")
    n, gb = int(found[1]), int(found[2])
    return Devices(n, int(GPU_SHARE * gb * 2**30), None, f"{counted(n, 'GPU')} of {gb} GiB")


def devices_of(profile: Profile) -> Devices:
    """What one job of `extract` has on the cluster of a profile."""
    section, node = profile.extract, profile.node_of("extract")
    per_node, where = max(section.gpus, section.processes), f"the nodes of profile '{profile.name}'"
    host_gb = None if section.memory_gb is None else section.memory_gb * per_node
    if host_gb is None and node.memory_gb is not None:
        others_gb = 0.0 if section.processes == 1 else job_gb(section.processes, 0.0)
        host_gb = max(node.memory_gb - others_gb, 0.0) / HEADROOM
    gpu_bytes = None
    if section.gpus:
        gb = node.gpu_memory_gb
        gpu_bytes = _UNKNOWN_GPU_BYTES if gb is None else int(GPU_SHARE * gb * 2**30)
    return Devices(
        n=section.nodes * per_node,
        gpu_bytes=gpu_bytes,
        host_bytes=None if host_gb is None else int(host_gb * 2**30),
        where=where,
        n_whole=section.processes,
        n_hosts=section.nodes,
    )


def job_gb(n_workers: int, each_gb: float) -> float:
    """GiB of some workers, with what watches them and the process that sends them units."""
    return n_workers * (each_gb + NANNY_GB) + DRIVER_GB


def wishes_for(manifest: Manifest, resources: Resources) -> dict[str, str]:
    """The strategy that is asked for, by model: the one of the command, or those of the manifest."""
    wishes = wishes_of(manifest)
    return wishes if resources.strategy is None else dict.fromkeys(wishes, resources.strategy)


def means_of(
    run: Run, units: Sequence[Unit], wishes: Mapping[str, str], devices: Devices
) -> dict[str, Means]:
    """How the models of some units of extract are run.

    Raises
    ------
    InputError
        One of them cannot be: says what it needs and what there is.
    """
    plan, needed = run.plan, {unit.model for unit in units}
    return {
        name: choose(name, needs_of(plan, plan.model(name)), wish, devices).means()
        for name, wish in wishes.items()
        if name in needed
    }
