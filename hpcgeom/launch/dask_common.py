"""What all kinds of Dask workers have in common: their settings, and how calls are spread over them."""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from distributed import Client, Future, Scheduler
from distributed.scheduler import NoWorkerError

from hpcgeom.addresses import address_of_interface, own_address
from hpcgeom.errors import InputError, ResourceError

Argument = TypeVar("Argument")
Result = TypeVar("Result")

STOP_ASKED_EVERY_S = 0.5
LOOK_EVERY_S = 0.1

CONFIG: dict[str, Any] = {
    # Dask's default for MALLOC_TRIM_THRESHOLD_ gives freed memory back at once: the pages of every large
    # tensor are then mapped anew, which cost a third of the time of a forward pass where it was measured.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1
    ),
    "distributed.worker.preload": ["hpcgeom.launch.worker_setup"],
    # HTTP would be neither encrypted nor ask for a certificate: nothing is served over it.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # A worker is given one unit at a time: where it dies, none that only waited there comes under suspicion.
    "distributed.scheduler.worker-saturation": 1.0,
    # A unit may keep the interpreter busy in compiled code for long.
    "distributed.scheduler.worker-ttl": "30 minutes",
    "distributed.admin.tick.limit": "1h",
    # The cores are for the units: where two workers had two of them, this made a search 9 % faster.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.scheduler.work-stealing": False,  # no task waits at a worker
    # Tasks carry numbers, not arrays: there is nothing to spill, and pausing would only wait for ever.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
"""Of schedulers and of workers; the processes that start workers on other nodes set it themselves, because
environment variables would be merged into Dask's defaults instead of replacing them."""


class WorkersLostError(ResourceError):
    """No worker is left, and none came back in time."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def run(
    client: Client,
    function: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    on_result: Callable[[Result], None],
    on_lost: Callable[[Argument, Exception], None],
    stop: Callable[[], bool] = never,
) -> None:
    """Call `function` on each argument on whichever worker is free, and `on_result` with each result.

    Parameters
    ----------
    on_lost
        Called with an argument whose call raised, or whose workers died again and again, and the error; the
        others go on.
    stop
        Asked between results, and twice a second while there are none. Once it is true, calls that have not
        begun are canceled, and `run` returns when those that have are over.

    Raises
    ------
    WorkersLostError
        All workers were lost, and none came back before Dask's ``no-workers-timeout``.
    """
    if stop():
        return
    futures = client.map(function, arguments, pure=False, retries=0)
    waiting = dict(zip((future.key for future in futures), arguments, strict=True))
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    is_stopping = False
    while waiting:
        if not is_stopping and stop():
            is_stopping = True
            begun = {key for keys in client.processing().values() for key in keys}
            client.cancel([future for future in futures if future.key in waiting and future.key not in begun])
            waiting = {key: argument for key, argument in waiting.items() if key in begun}
            continue
        try:
            future = ended.get(timeout=STOP_ASKED_EVERY_S)
        except queue.Empty:
            continue
        if future.key not in waiting:
            continue  # canceled
        argument = waiting.pop(future.key)
        error = future.exception()
        if isinstance(error, NoWorkerError):
            raise WorkersLostError(
                f"all Dask workers were lost with {len(waiting) + 1} calls to go, and none came back within "
                f"{error.timeout:g} s"
            )
        if error is None:
            on_result(future.result())
        else:
            on_lost(argument, error)
        future.release()


class Supply(Protocol):
    """What starts workers, and starts them again."""

    has_given_up: bool

    def account(self) -> str:
        """What became of those that it started."""


def wait_for_one(
    scheduler: Scheduler, supply: Supply, n_workers: int, start_timeout_s: float, advice: str
) -> None:
    """Wait until the first worker is there.

    Parameters
    ----------
    advice
        What to look at where none comes.

    Raises
    ------
    ResourceError
        None came in time, or none will.
    """
    deadline = time.monotonic() + start_timeout_s
    while not scheduler.workers:
        if supply.has_given_up or time.monotonic() > deadline:
            waited = "any more" if supply.has_given_up else f"within {start_timeout_s:g} s"
            raise ResourceError(
                f"none of {n_workers} Dask workers came to {scheduler.address} {waited}: "
                f"{supply.account()}. {advice}"
            )
        time.sleep(LOOK_EVERY_S)


@contextmanager
def explained(account: Callable[[], str]) -> Iterator[None]:
    """Where all workers are lost in the body, say what became of them."""
    try:
        yield
    except WorkersLostError as error:
        raise ResourceError(f"{error}: {account()}. Submit it again; what is done is kept") from error


def node_address(interface: str | None, *, is_alone: bool) -> str:
    """The address at which the workers of other nodes reach this process.

    Parameters
    ----------
    interface
        Name of a network interface of this node; by default the address that the node's own name resolves to,
        or where that is the loopback interface, the address of the default route.
    is_alone
        All workers are on this node.

    Raises
    ------
    InputError
        There is no such interface here, or it has no address.
    """
    if interface is None:
        return own_address(is_alone=is_alone)
    try:
        return address_of_interface(interface)
    except LookupError as error:
        raise InputError(
            f"dask: interface: '{interface}' is no network interface of {socket.gethostname()} that has "
            f"an IPv4 address: name one that all nodes have ({error.args[0]})"
        ) from error
