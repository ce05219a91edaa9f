"""Several problems of one input, told together and not by the thousand."""

from __future__ import annotations

from collections.abc import Sequence

from hpcgeom.data.wording import counted
from hpcgeom.errors import ProblemsError

SHOWN = 10
"""Problems that are told; a reader need not word more of them."""


def refuse(place: object, problems: Sequence[str], n_unworded: int = 0) -> None:
    """Raise the first ten problems, and say how many more there are; nothing happens where there are none.

    Parameters
    ----------
    place
        What the problems are of.
    problems
        One message each.
    n_unworded
        Further problems, only to be counted.

    Raises
    ------
    ProblemsError
        If there is a problem.
    """
    if problems:
        n_more = len(problems[SHOWN:]) + n_unworded
        more = [f"{place}: and {counted(n_more, 'more problem')}"] if n_more else []
        raise ProblemsError([*problems[:SHOWN], *more])
