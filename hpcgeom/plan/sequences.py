"""The forward passes of a model, one line a sequence: which sample, which window, which batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """What every sample is cut into, in sample order; one sequence each, unless samples are in windows.

    Attributes
    ----------
    row
        (S,) int64: row of the sample, ascending.
    window
        (S,) int32: number of the window within its sample.
    n_tokens, n_ordinary
        (S,) int64: tokens, and those of them that are not special.
    """

    row: npt.NDArray[np.int64]
    window: npt.NDArray[np.int32]
    n_tokens: npt.NDArray[np.int64]
    n_ordinary: npt.NDArray[np.int64]

    @classmethod
    def alike(cls, n: int, n_tokens: int = 1, n_ordinary: int = 1) -> Sequences:
        """One sequence for each of `n` samples, all of one length."""
        lengths = [np.full(n, number, dtype=np.int64) for number in (n_tokens, n_ordinary)]
        return cls(np.arange(n, dtype=np.int64), np.zeros(n, np.int32), *lengths)

    def points_per_sample(self) -> npt.NDArray[np.int64]:
        """(N,) ordinary tokens of each sample, all of its windows together."""
        return np.bincount(self.row, weights=self.n_ordinary).astype(np.int64)
