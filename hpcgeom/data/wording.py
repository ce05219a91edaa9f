"""Lists and near names for messages about a user's data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def listed(names: Iterable[object], shown: int = 5) -> str:
    """Quote the first names, and say how many more there are."""
    quoted = [repr(name) if isinstance(name, str) else str(name) for name in names]
    more = len(quoted) - shown
    return ", ".join(quoted[:shown]) + (f" and {more} more" if more > 0 else "")


def shortened(names: Sequence[str], shown: int) -> str:
    """The first names as they are, and dots where there are more."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" (nearest: 'x')"``, or an empty string where nothing is near."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f" (nearest: {near[0]!r})" if near else ""


def counted(count: int, noun: str) -> str:
    """Return ``"1 sample"`` or ``"3 samples"``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
