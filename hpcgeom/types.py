"""Words that every part of the house shares: array types, estimates and their status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.floating[Any]]
"""(N, D): rows are points."""
Distances: TypeAlias = npt.NDArray[np.float64]
"""(N, K): Euclidean, not squared, self excluded, ascending along K; NaN where there is no neighbor."""
Indices: TypeAlias = npt.NDArray[np.integer[Any]]
"""(N, K): row numbers of the neighbors, self excluded, ties by smaller row; -1 where there is none."""
Labels: TypeAlias = npt.NDArray[np.integer[Any]]
"""(N,): class codes, 0..C-1."""
Values: TypeAlias = dict[str, npt.NDArray[Any]]
"""Numbers of a unit of geometry, by name of the results' variable or of the sums that it comes from."""


class Status(IntEnum):
    """Why a number is what it is; NaN alone never has to be guessed at."""

    OK = 0
    ABSENT = 1  # the model has no such layer, site or pooling
    CONSTANT = 2  # all points of the layer are equal
    DUPLICATES = 3  # too few distinct points are left to measure
    TOO_FEW_POINTS = 4
    TOO_FEW_NEIGHBORS = 5  # the lists are shorter than the scale asked for
    NO_SOLUTION = 6  # the likelihood has no maximum at a finite, positive dimension


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured number with its error bar.

    Attributes
    ----------
    value
        The estimate; NaN where it is undefined.
    error
        One standard error; NaN where none is known.
    n_points
        Points that entered the estimate.
    status
        Why `value` is NaN, or ``Status.OK``.
    n_zero_distances
        Points left out because their nearest neighbor lies at distance zero.
    """

    value: float
    error: float
    n_points: int
    status: Status = Status.OK
    n_zero_distances: int = 0


@dataclass(frozen=True, slots=True)
class Means:
    """How a process runs a model: it changes no number.

    Attributes
    ----------
    strategy
        How the model is laid over devices.
    gpu_bytes
        What `dispatch` may put on each GPU of weights; None without GPUs.
    host_bytes
        What the process may keep in the host's memory of what can also lie on disk: hidden states that
        `stream` carries from block to block, weights of `dispatch`. None for no limit.
    n_units
        The most units of extract that are done together.
    """

    strategy: str = "replicate"
    gpu_bytes: int | None = None
    host_bytes: int | None = None
    n_units: int = 1


WHOLE = Means()
"""A whole model in each process."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest restartable piece of a stage; it owns whole files.

    Attributes
    ----------
    stage, index
        Name of the stage, and the number of the unit in it (its record is ``records/<stage>/<index>.json``).
    key
        What the unit is about, independent of the order of models: two runs that share a digest and a key
        share the files.
    digest
        Identity of what was asked for (settings and inputs).
    owns
        Paths relative to the run directory; nobody else writes there. A path may be a folder.
    model, site, pooling, layer
        The representation, where the unit is about one.
    start, stop
        Range of rows in sample order; of points in their order, for the stages after extract.
    n_blocks, blocks
        Into how many blocks a split search is cut, 1 for a whole one; and the two that the unit is about.
    needs
        Numbers of units of the same stage that are done before.
    kind, number
        Of geometry between layers: what is counted, and for which split into halves.
    superseded_by
        Units that hold all that came of this one: where they are done it is done too, and its files may be
        gone.
    """

    stage: str
    index: int
    key: str
    digest: str
    owns: tuple[str, ...]
    model: str = ""
    site: str = ""
    pooling: str = ""
    layer: int = -1
    start: int = 0
    stop: int = 0
    n_blocks: int = 1
    blocks: tuple[int, int] | None = None
    needs: tuple[int, ...] = ()
    kind: str = ""
    number: int = -1
    superseded_by: tuple[Unit, ...] = ()
