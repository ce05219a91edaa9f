"""Every error that hpcgeom raises on purpose, and the exit code that each one means.

A message is one small letter: what, where, what was expected, what was found, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class HpcgeomError(Exception):
    """Base of all errors raised on purpose; the command line prints its message and nothing else."""

    exit_code = 1


class InputError(HpcgeomError):
    """What the user gave is wrong: a manifest, a data set, a folder, an argument."""

    exit_code = 2


class ProblemsError(InputError):
    """Several problems of one input, reported together.

    Parameters
    ----------
    problems
        One message each, in the order in which they are found in the input.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class IncompleteError(HpcgeomError):
    """Units are missing or failed; running the same command again does them."""

    exit_code = 3


class DamagedError(IncompleteError):
    """Bytes on disk are not those that a record promises."""


class ResourceError(HpcgeomError):
    """Disk, memory or time ran out, or would."""

    exit_code = 4
