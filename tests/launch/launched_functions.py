"""What worker processes are asked to do in tests."""

from __future__ import annotations

import os
import signal


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
