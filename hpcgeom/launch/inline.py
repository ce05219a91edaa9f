"""One after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def run(
    function: Callable[[Argument], Result],
    arguments: Iterable[Argument],
    on_result: Callable[[Result], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Call `function` on each argument, and `on_result` with each result, until `is_over` says to stop."""
    for argument in arguments:
        if is_over():
            return
        on_result(function(argument))
