"""How a worker leaves when its job is told to end (a preload of `distributed`, for worker and nanny).

A scheduler of jobs terminates all processes of a job at once. A worker that just died then would make the
task it was doing suspicious, as if the task had killed it; so it first tells the scheduler of tasks that it
leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import Any

from distributed import Nanny, Worker

PATIENCE_S = 3.0


def dask_setup(process: Any) -> None:
    """Listen, in the worker."""
    if isinstance(process, Worker):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: _Leaving.begin(process))


async def dask_teardown(process: Any) -> None:
    """Let the worker speak first, in the nanny: ended by its nanny it would tell nobody."""
    deadline = time.monotonic() + PATIENCE_S
    while isinstance(process, Nanny) and process.is_alive() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


class _Leaving:
    task: asyncio.Task[None] | None = None  # nobody else would hold it

    @classmethod
    def begin(cls, worker: Worker) -> None:
        if cls.task is None:
            cls.task = asyncio.ensure_future(_leave(worker))


async def _leave(worker: Worker) -> None:
    logger = logging.getLogger("distributed.worker")
    logger.info("Told to leave: what is in flight is done elsewhere")
    logger.setLevel(logging.CRITICAL)  # it takes the order of events for an error
    with contextlib.suppress(Exception):  # the scheduler may be gone as well
        await worker.scheduler.retire_workers(
            workers=[worker.address],
            close_workers=False,
            remove=True,
            stimulus_id=f"told-to-leave-{time.time()}",
        )
    await worker.close(executor_wait=False, reason="told to leave")
