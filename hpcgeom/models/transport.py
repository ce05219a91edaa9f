"""Sends and receives between the processes that run one model together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

TAG_HEADER, TAG_HIDDEN, TAG_DETAILS, TAG_END = 1, 2, 3, 4
_FOREVER = timedelta(days=365)
"""Others may load weights or read samples for long."""


def wait(work: Any) -> None:
    """Wait for a send or receive; whether the other process lives is for `Peers` to say.

    Raises
    ------
    RuntimeError
        The connection is gone.
    """
    work.wait(_FOREVER)


def first_line(error: Exception) -> str:
    """What a failed send or receive says, without what it guesses at."""
    return str(error).splitlines()[0].partition("This is typically")[0].strip() or type(error).__name__
