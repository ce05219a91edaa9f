"""One point of a sample that was too long for one forward pass and went through it in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcgeom.catalog.sites import TOKENS_POOLING, token_position
from hpcgeom.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What a forward pass gave for one window, at one site and pooling.

    Attributes
    ----------
    values
        float32 (n_layers, D); (n_layers, n_ordinary, D) for the pooling `tokens`.
    n_ordinary, n_real
        Tokens of the sample in the window, and all its tokens.
    """

    values: npt.NDArray[np.float32]
    n_ordinary: int
    n_real: int


def merge_windows(windows: Sequence[Window], pooling: str) -> npt.NDArray[np.float32]:
    """The point of a sample from those of its windows, in order.

    ``mean`` and ``mean_all`` are those of all tokens of all windows together, ``max`` the largest;
    ``first`` and ``token:<i>`` are read in the first window, ``last`` and ``token:-<i>`` in the last one, and
    ``tokens`` stand one after the other. Sums are taken in float64.

    Raises
    ------
    InputError
        The pooling is unknown.
    """
    values = [window.values for window in windows]
    position = token_position(pooling)
    if pooling == "first" or (position is not None and position >= 0):
        return values[0]
    if pooling == "last" or position is not None:
        return values[-1]
    if pooling == TOKENS_POOLING:
        return np.concatenate(values, axis=1)
    if pooling == "max":
        return np.max(values, axis=0)  # type: ignore[no-any-return]
    if pooling in ("mean", "mean_all"):
        n_tokens = [w.n_ordinary if pooling == "mean" else w.n_real for w in windows]
        mean: npt.NDArray[np.float32] = _weighted(values, n_tokens).astype(np.float32)
        return mean
    raise InputError(f"pooling '{pooling}' of samples in windows: read 'mean' and cut them with truncate")


def _weighted(values: Sequence[npt.NDArray[np.floating]], n_tokens: Sequence[int]) -> npt.NDArray[np.float64]:
    total = sum(n * value.astype(np.float64) for n, value in zip(n_tokens, values, strict=True))
    return np.asarray(total) / sum(n_tokens)
