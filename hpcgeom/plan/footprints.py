"""What each strategy takes of devices and of their host, and why one cannot be used there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from hpcgeom.plan.memory import PROCESS_BYTES, TORCH_BYTES
from hpcgeom.plan.needs import Needs

BYTES_OF_PROCESS = PROCESS_BYTES + TORCH_BYTES
GPU_BYTES, HOST_OF_GPU_BYTES = 2**30, 2**30
"""Of a GPU and of its host: libraries, their workspaces, and what an allocator cannot use."""
CALL_BYTES, PIECES_BYTES = 2**28, 2**27
"""Of `stream`: masks and tables of positions of all batches, and pieces through which weights are read."""
IN_FLIGHT = 2
"""Of `stream`: blocks that are held while one is computed with, and batches that come or go meanwhile."""
ON_A_SIDE = 3
"""Of `pipeline`: batches on each side of the way between two processes (`hpcgeom.models.links`)."""


@dataclass(frozen=True, slots=True)
class Devices:
    """What there is to run a model on: the GPUs of one job, or its processes where it has none.

    Attributes
    ----------
    n
        GPUs, or processes without any.
    gpu_bytes
        Memory of a GPU; None for processes without any.
    host_bytes
        Memory of the host for all of them together; None where nobody knows.
    where
        What they are, for messages.
    n_whole
        Processes that would each run a model of their own, where these are not as many.
    n_hosts
        Hosts over which `pipeline` goes; `host_bytes` are those of one.
    n_over_gpus
        Processes of a host that would each lay a model over GPUs of their own (`dispatch`).
    """

    n: int = 1
    gpu_bytes: int | None = None
    host_bytes: int | None = None
    where: str = "this machine"
    n_whole: int | None = None
    n_hosts: int = 1
    n_over_gpus: int = 1

    @property
    def has_gpus(self) -> bool:
        """Whether models run on GPUs."""
        return self.gpu_bytes is not None

    def processes_of(self, strategy: str) -> int:
        """How many processes there are of a strategy."""
        if strategy == "dispatch" and self.has_gpus:
            return self.n_over_gpus
        return self.n if strategy == "pipeline" or self.n_whole is None else self.n_whole


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one strategy takes: the least that it can do with.

    Attributes
    ----------
    n_processes
        How many there are of it on these devices.
    gpu_bytes
        Of each GPU; None without GPUs.
    host_bytes
        Of each process, in the memory of the host.
    weights_bytes
        The weights among it, where they are computed with.
    problem
        Why it cannot be used here; empty where it can.
    """

    strategy: str
    n_processes: int
    gpu_bytes: int | None
    host_bytes: int
    weights_bytes: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Load:
    """What a process of a strategy holds at once, in bytes.

    Attributes
    ----------
    weights
        Where it computes.
    staged
        Weights that lie in the memory of the host besides, as they are read.
    traveling
        Hidden states on their way between devices, or between a device and the host, and what goes with them.
    read, pooled
        Points of a batch, where it computes, and of units in the memory of the host.
    held_back
        Points of batches, in the memory of the host, that do not count yet: other processes have them.
    """

    weights: int
    staged: int
    traveling: int
    read: int
    pooled: int
    held_back: int = 0


def _replicate(needs: Needs, n: int) -> _Load:
    del n
    return _Load(needs.weights, 0, 0, needs.read, needs.pooled)


def _pipeline(needs: Needs, n: int) -> _Load:
    n_blocks = -(-needs.n_blocks // n)
    weights = needs.around + n_blocks * needs.block
    read, pooled = (needs.of_blocks(n_bytes, n_blocks) for n_bytes in (needs.read, needs.pooled))
    # A batch counts once the last process has it: the first one waits for all that are in the links.
    held_back = 2 * ON_A_SIDE * (n - 1) * read
    return _Load(weights, 0, 2 * ON_A_SIDE * needs.hidden, read, pooled, held_back)


def _stream(needs: Needs, n: int) -> _Load:
    del n
    weights, traveling = needs.around + IN_FLIGHT * needs.block, 2 * IN_FLIGHT * needs.hidden + CALL_BYTES
    return _Load(weights, PIECES_BYTES, traveling, needs.read, needs.pooled)


def _dispatch(needs: Needs, n: int) -> _Load:
    del n
    part = needs.block + needs.around if needs.n_blocks else needs.weights
    return _Load(part, part, 2 * needs.hidden, needs.read, needs.pooled)


_LOADS: Mapping[str, Callable[[Needs, int], _Load]] = {
    "replicate": _replicate,
    "pipeline": _pipeline,
    "stream": _stream,
    "dispatch": _dispatch,
}
STRATEGIES = tuple(_LOADS)
"""From the fastest to the slowest, where a model fits.

`replicate` moves nothing but tokens; `pipeline` sends hidden states; `stream` reads each weight once for many
batches; `dispatch` reads what does not fit for every batch, or leaves all devices but one idle.
"""


def footprints(needs: Needs, devices: Devices) -> tuple[Footprint, ...]:
    """What each of `STRATEGIES` takes on `devices`."""
    return tuple(_footprint(needs, strategy, devices) for strategy in STRATEGIES)


def _footprint(needs: Needs, strategy: str, devices: Devices) -> Footprint:
    n = devices.processes_of(strategy)
    if strategy == "pipeline":
        n = max(1, min(n, needs.n_blocks))  # each has a block at least
    load = _LOADS[strategy](needs, n)
    computing = load.weights + needs.working + load.traveling + load.read
    if writes_beside(strategy, devices):
        load = replace(load, pooled=2 * load.pooled)
    points = load.pooled + load.held_back
    if devices.has_gpus:
        host = HOST_OF_GPU_BYTES + points + max(load.staged + load.traveling, needs.drawn)
        found = Footprint(strategy, n, GPU_BYTES + computing, BYTES_OF_PROCESS + host, load.weights)
    else:
        # Weights that are drawn are cast in place, so that those in use need no room of their own.
        host = computing + points + max(load.staged, needs.drawn - load.weights)
        found = Footprint(strategy, n, None, BYTES_OF_PROCESS + host, load.weights)
    return replace(found, problem=_cannot(needs, strategy, devices) or _does_not_fit(found, devices))


def writes_beside(strategy: str, devices: Devices) -> bool:
    """Whether a unit is written while the next one is worked out, so that the points of two are held.

    A whole model on a CPU has no use for it: the cores are busy.
    """
    return strategy == "pipeline" or (strategy == "replicate" and devices.has_gpus)


def _cannot(needs: Needs, strategy: str, devices: Devices) -> str:
    """Why a strategy is none for this model or on these devices, however large they are."""
    if strategy in ("pipeline", "stream") and not needs.n_blocks:
        return "only of the catalog's families is it known that their blocks are a chain"
    if strategy == "stream" and needs.drawn:
        return "random weights are drawn for the whole model at once"
    if strategy == "pipeline" and devices.n == 1:
        return "there is one device" if devices.has_gpus else "there is one process"
    return ""


def _does_not_fit(found: Footprint, devices: Devices) -> str:
    """What is needed and what there is, where that is less."""
    if devices.gpu_bytes is not None and found.gpu_bytes is not None and found.gpu_bytes > devices.gpu_bytes:
        return f"needs {_gib(found.gpu_bytes)} of a GPU that has {_gib(devices.gpu_bytes)}"
    n = found.n_processes
    if found.strategy == "pipeline":
        n = -(-n // devices.n_hosts)
    needed = n * found.host_bytes
    if devices.host_bytes is not None and needed > devices.host_bytes:
        each = f" ({n} processes of {_gib(found.host_bytes)})" if n > 1 else ""
        return f"needs {_gib(needed)} of memory{each} where there are {_gib(devices.host_bytes)}"
    return ""


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
