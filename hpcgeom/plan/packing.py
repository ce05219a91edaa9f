"""Units packed into jobs: neighbors together, so that a job opens few files and loads its weights once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hpcgeom.errors import InputError
from hpcgeom.types import Unit

MAX_RANGE = 1_000_000
"""Numbers of one range: more than any stage has units, and few enough to be listed."""


def spread(units: Sequence[int], jobs: int, units_per_job: int | None = None) -> list[list[int]]:
    """Spread units over jobs, contiguous and as evenly as can be.

    Parameters
    ----------
    units
        Numbers of the units.
    jobs
        The most jobs.
    units_per_job
        Units of one job, instead of `jobs`; the last may have fewer.
    """
    if units_per_job is not None:
        return [list(units[at : at + units_per_job]) for at in range(0, len(units), units_per_job)]
    n_jobs = min(jobs, len(units))
    edges = [len(units) * number // n_jobs for number in range(n_jobs + 1)] if n_jobs else [0]
    return [list(units[low:high]) for low, high in pairwise(edges)]


def sets(units: Sequence[Unit], most: int = 1) -> list[list[Unit]]:
    """Units that one process does together: up to `most` neighbors of one model and site each."""
    found: list[list[Unit]] = []
    for unit in units:
        about = (unit.stage, unit.model, unit.site)
        last = found[-1] if found else []
        if last and len(last) < most and about == (last[-1].stage, last[-1].model, last[-1].site):
            last.append(unit)
        else:
            found.append([unit])
    return found


def share(units: Sequence[int], text: str) -> list[int]:
    """The part of `units` that is the share ``i/n``: every n-th, beginning with the i-th.

    Raises
    ------
    InputError
        The text is something else, or i is not below n.
    """
    first, slash, n = text.partition("/")
    if not (slash and first.isdecimal() and n.isdecimal() and len(text) < 20 and int(first) < int(n)):
        raise InputError(f"--share '{text}': expected I/N with I from 0 to N-1, such as 0/8: correct it")
    return list(units[int(first) :: int(n)])


def pack(indices: Sequence[int]) -> str:
    """Numbers as text: ``0-3,7``."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def unpack(text: str) -> list[int]:
    """Numbers from text such as ``0-15,18``, each once, in the order given.

    Raises
    ------
    InputError
        The text is something else.
    """
    wanted: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = [first, last] if dash else [first]
        if not all(number.isdecimal() and len(number) < 10 for number in numbers):
            raise InputError(
                f"--indices '{text}': expected numbers and ranges such as 0-15,18; found '{part}': correct it"
            )
        found = range(int(first), int(numbers[-1]) + 1)
        if not 0 < len(found) <= MAX_RANGE:
            raise InputError(
                f"--indices '{text}': expected 1 to {MAX_RANGE} numbers in a range, found '{part}': "
                "correct it"
            )
        wanted += found
    return list(dict.fromkeys(wanted))
