"""The forward passes of a model, one line a sequence: which sample, which window, which tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class SampleTokens:
    """How many ordinary tokens every sample has.

    Attributes
    ----------
    n_of_samples
        (N,) int64; upper bounds where the tokens were not counted.
    digest
        Identity of the tokens; empty where they were not counted.
    """

    n_of_samples: npt.NDArray[np.int64]
    digest: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """What every sample is cut into, in sample order; one sequence each, unless samples are in windows.

    Where every token is a point, the points are the ordinary tokens of one sequence after the other.

    Attributes
    ----------
    row
        (S,) int64: row of the sample, ascending.
    window
        (S,) int32: number of the window within its sample.
    n_tokens, n_ordinary
        (S,) int64: tokens, and those of them that are not special.
    n_before
        (S,) int64: special tokens before the first ordinary one.
    digest
        Identity of the ordinary tokens of all samples; empty where nobody looked at them.
    """

    row: npt.NDArray[np.int64]
    window: npt.NDArray[np.int32]
    n_tokens: npt.NDArray[np.int64]
    n_ordinary: npt.NDArray[np.int64]
    n_before: npt.NDArray[np.int64]
    digest: str = ""

    @classmethod
    def alike(cls, n: int, n_tokens: int = 1, n_ordinary: int = 1, n_before: int = 0) -> Sequences:
        """One sequence for each of `n` samples, all of one length; its tokens are places, such as pixels."""
        tokens, ordinary, before = (np.full(n, each, np.int64) for each in (n_tokens, n_ordinary, n_before))
        digest = hashlib.sha256(f"{n} samples of {n_ordinary} places".encode()).hexdigest()
        return cls(np.arange(n, dtype=np.int64), np.zeros(n, np.int32), tokens, ordinary, before, digest)

    @property
    def tokens(self) -> SampleTokens:
        """What the plan keeps of them, where every token is a point."""
        return SampleTokens(self.points_per_sample(), self.digest)

    def points_per_sample(self) -> npt.NDArray[np.int64]:
        """(N,) ordinary tokens of each sample, all of its windows together."""
        return np.bincount(self.row, weights=self.n_ordinary).astype(np.int64)

    def points_of(self, members: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Numbers of the points of some sequences, in the order of `members`."""
        return _runs(_firsts(self.n_ordinary)[members], self.n_ordinary[members])

    def sample_of_points(self) -> npt.NDArray[np.int64]:
        """Row of the sample of each point."""
        return np.repeat(self.row, self.n_ordinary)

    def position_of_points(self) -> npt.NDArray[np.int64]:
        """Position of each point among the tokens of its whole sample.

        Special tokens before it are counted; windows go on where the one before ended.
        """
        return _runs(self.n_before[self.window == 0], self.points_per_sample())


def _firsts(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of the first of each of `counts` things that stand one after the other."""
    ends: npt.NDArray[np.int64] = np.cumsum(counts)
    return ends - counts


def _runs(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``start, start + 1, ..., start + count - 1`` of each, one after the other."""
    numbers: npt.NDArray[np.int64] = np.repeat(starts - _firsts(counts), counts)
    numbers += np.arange(len(numbers))
    return numbers
