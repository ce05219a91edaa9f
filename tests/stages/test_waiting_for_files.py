"""Waiting for the files of a unit: signals are heard meanwhile."""

from __future__ import annotations

import os
import signal
import threading

from hpcgeom import interrupts
from hpcgeom.stages.writer import Writer

USR1 = signal.SIGUSR1


def test_a_signal_that_does_not_wake_the_main_thread_is_heard_while_files_are_written():
    # As one that comes between the moment when Python last looks for signals and the wait.
    heard, is_blocked, came = threading.Event(), threading.Event(), []

    def write() -> None:
        is_blocked.wait()
        os.kill(os.getpid(), USR1)  # it goes to this thread
        came.append(heard.wait(5.0))

    before = signal.signal(USR1, lambda *_: heard.set())
    try:
        with interrupts.unit(), Writer() as writer:
            writer.put(write)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {USR1})
            is_blocked.set()
            writer.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(USR1, before)
    assert came == [True]
