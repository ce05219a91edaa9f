"""What worker processes are asked to do in tests."""

from __future__ import annotations

import os
import signal
import time


def square(number: int) -> int:
    return number * number


def process_of(number: int) -> tuple[int, int]:
    return number, os.getpid()


def die_on_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError(f"{number} is not wanted")
    return number


def environment_of() -> dict[str, str]:
    return dict(os.environ)


def die_once(path: str) -> str:
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def sleep_and_say(how_long_and_what: tuple[float, int]) -> int:
    time.sleep(how_long_and_what[0])
    return how_long_and_what[1]


def touch_and_sleep(what: tuple[str, float, int]) -> int:
    folder, seconds, number = what
    with open(f"{folder}/{number}", "w"):
        pass
    time.sleep(seconds)
    return number


def end_the_session_once(what: tuple[str, str, int]) -> str:
    """Tell all processes of a job to end, as a scheduler does that preempts it; the second time go on."""
    folder, job, session = what
    marker = f"{folder}/ended-{job}"
    if os.path.exists(marker):
        return "done elsewhere"
    with open(marker, "w"):
        pass
    os.killpg(session, signal.SIGTERM)
    time.sleep(60)
    return "not ended"
