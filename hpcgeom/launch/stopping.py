"""What a job does when the scheduler tells it to end.

Schedulers announce an end in several ways, at several times, and to several processes at once; what a signal
means is asked of the scheduler, because the signal alone does not tell. Nothing here is needed for safety: a
job that is killed without a word loses the unit that it was doing. It saves that unit if there is time, and
puts the job back into the queue where the scheduler does not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hpcgeom import interrupts
from hpcgeom.launch.slurm import requeue
from hpcgeom.launch.slurm.requeue import Situation

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
MARGIN_S = 10.0
"""Left at the end of a walltime: for the record of a unit, and for going back into the queue."""
CAUTION = 1.2
"""A unit is begun where this many times the longest one so far still fits."""
STDERR = 2


@dataclass(slots=True)
class Stop:
    """What a job has been told so far.

    Attributes
    ----------
    walltime_s
        Of the job; 0 for none.
    why
        ``walltime`` or ``preempted``: end in good time, then go on later. ``requeued``: somebody has put the
        job back already. ``cancelled`` or ``terminated``: end, and stay ended. Empty: go on.
    longest_s
        Seconds of the longest unit that was done.
    """

    walltime_s: float = 0.0
    why: str = ""
    longest_s: float = 0.0
    n_done: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def goes_on_later(self) -> bool:
        """Whether the job should be put back into the queue."""
        return self.why in ("walltime", "preempted")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job's process began."""
        return time.monotonic() - self.began

    def finished(self, seconds: float) -> None:
        """Note that a unit was done."""
        self.n_done += 1
        self.longest_s = max(self.longest_s, seconds)

    def is_wanted(self) -> bool:
        """Whether no other unit should be begun: the job was told to end, or one would not fit any more."""
        if not self.why and self.walltime_s and self.n_done:
            left = self.walltime_s - self.elapsed_s - MARGIN_S
            if left < CAUTION * self.longest_s:
                self.why = "walltime"
        return bool(self.why)


@contextmanager
def listening(walltime_s: float = 0.0, ask: Callable[[], Situation] = requeue.situation) -> Iterator[Stop]:
    """Listen to the scheduler while the body does units.

    Parameters
    ----------
    ask
        What the scheduler says about this job.

    Raises
    ------
    Stopped
        In the body, when the unit in flight has to be given up.
    """
    stop = Stop(walltime_s)

    def on_signal(number: int, _frame: object) -> None:
        _hear(stop, signal.Signals(number), ask())

    def on_deadline(_number: int, _frame: object) -> None:
        interrupts.request(interrupts.Stopped())

    handlers = {signal.SIGTERM: on_signal, **dict.fromkeys(WARNINGS, on_signal), signal.SIGALRM: on_deadline}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear(stop: Stop, number: signal.Signals, situation: Situation) -> None:
    is_warning = number in WARNINGS
    if situation.kind == "preempted" or (is_warning and situation.kind in ("running", "unknown")):
        first, stop.why = not stop.why, situation.kind if situation.kind == "preempted" else "walltime"
        left = _seconds_left(stop, situation) - MARGIN_S
        if left <= 0.0:
            interrupts.request(interrupts.Stopped())
        elif first or left < signal.getitimer(signal.ITIMER_REAL)[0]:
            _say(f"{number.name}: no other unit is begun; the one in flight has {left:.0f} s ({stop.why})")
            signal.setitimer(signal.ITIMER_REAL, left)
        return
    meanings = {"requeued": "requeued", "cancelled": "cancelled", "time_limit": "walltime"}
    stop.why = meanings.get(situation.kind, "terminated")
    _say(f"{number.name}: the job ends ({stop.why})")
    interrupts.request(interrupts.Stopped())


def _seconds_left(stop: Stop, situation: Situation) -> float:
    if situation.seconds_left is not None:
        return situation.seconds_left
    if situation.kind == "preempted":
        return 0.0  # what is left is between two signals of the scheduler
    return stop.walltime_s - stop.elapsed_s if stop.walltime_s else 2 * MARGIN_S


def _say(sentence: str) -> None:
    os.write(STDERR, f"hpcgeom: {sentence}\n".encode())  # `sys.stderr` may be in use where the signal came
