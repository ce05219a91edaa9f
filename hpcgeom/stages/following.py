"""What the processes do that follow a leader: the same forward passes, and the files of their own layers."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from functools import partial
from typing import Any

from hpcgeom import interrupts
from hpcgeom.stages import extract, together
from hpcgeom.stages.forward import Forward
from hpcgeom.stages.run import Run
from hpcgeom.stages.writer import Writer

_HEEDED_BY_THE_LEADER = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""The end of a job is announced to all of its processes; the leader heeds it, and ends the others."""


def follow(run: Run) -> None:
    """Do as the leader says, until it says that all is done.

    Raises
    ------
    HpcgeomError
        This process failed, or another one.
    """
    with interrupts.unheard(*_HEEDED_BY_THE_LEADER):
        try:
            with _Follower(run) as follower:
                for order in follower.crew.orders():
                    follower.obey(order)
        except BaseException as error:
            together.leave(error)
            raise
        together.leave()


class _Follower:
    """One model at a time, opened and closed when the leader does so."""

    def __init__(self, run: Run) -> None:
        crew = together.crew_of(run)
        assert crew is not None  # who is alone follows nobody
        self.run, self.crew = run, crew
        self._stack = ExitStack()
        self._forward: Forward | None = None

    def __enter__(self) -> _Follower:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def obey(self, order: dict[str, Any]) -> None:
        """Do one thing that the leader does as well."""
        if order["what"] == "open":
            model = self.run.plan.model(order["model"])
            self._forward = self._stack.enter_context(Forward(self.run, model, self.crew))
            return
        assert self._forward is not None  # the leader opens a model before it uses it
        if order["what"] == "run":
            self._do(self._forward, order["units"])
        elif order["what"] == "details":
            self._forward.details(order["row"])
        else:
            self._stack.close()

    def _do(self, forward: Forward, indices: list[int]) -> None:
        units = self.run.select("extract", indices)
        with Writer() as writer:
            for unit, values in extract.values_of(self.run, forward, units):
                writer.put(partial(extract.write_part, self.run, forward, unit, values))
