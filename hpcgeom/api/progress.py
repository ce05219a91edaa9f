"""What a run tells while it runs; who listens decides what it looks like."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Listens to a run."""

    def say(self, message: str) -> None:
        """One sentence that the user should see."""

    def begin(self, stage: str, n_done: int, n_units: int) -> None:
        """A stage starts, with some of its units done before."""

    def advance(self, stage: str, key: str) -> None:
        """A unit is done."""

    def end(self, stage: str) -> None:
        """All units of a stage are done."""


class Silent:
    """Listens and says nothing."""

    def say(self, message: str) -> None:
        """Say nothing."""

    def begin(self, stage: str, n_done: int, n_units: int) -> None:
        """Say nothing."""

    def advance(self, stage: str, key: str) -> None:
        """Say nothing."""

    def end(self, stage: str) -> None:
        """Say nothing."""
