"""What stands along the axes of a representation in a store: layers, and samples or tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from hpcgeom.store import arrays
from hpcgeom.store.variables import TOKEN_COORDINATES

ROLE = "role"
"""Coordinate of the points of a data set with queries."""


@dataclass(frozen=True, slots=True, eq=False)
class PointAxis:
    """The points of a group.

    Attributes
    ----------
    samples
        (N,) strings: id of the sample of each point.
    positions
        (N,) int64: position of each point among the tokens of its sample; None where points are samples.
    n_base
        Points that may be neighbors, the first ones; the others are queries. None where there are no queries.
    """

    samples: npt.NDArray[np.object_]
    positions: npt.NDArray[np.int64] | None = None
    n_base: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def dim(self) -> str:
        """Name of the dimension."""
        return "sample" if self.positions is None else "point"

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Coordinates along the points that no dimension is called by: readers are told which they are."""
        of_tokens = () if self.positions is None else tuple(TOKEN_COORDINATES)
        return of_tokens if self.n_base is None else (*of_tokens, ROLE)

    @property
    def roles(self) -> npt.NDArray[np.object_]:
        """(N,) strings: ``base`` or ``query``."""
        n_base = len(self) if self.n_base is None else self.n_base
        return np.array(["base"] * n_base + ["query"] * (len(self) - n_base), dtype=object)

    def part(self, start: int, stop: int) -> PointAxis:
        """The points ``start:stop``."""
        positions = None if self.positions is None else self.positions[start:stop]
        samples = self.samples[start:stop]
        n_base = None if self.n_base is None else min(max(self.n_base - start, 0), len(samples))
        return PointAxis(samples, positions, n_base)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Layout of one group of arrays: where it is in the store, and what is along its axes.

    Attributes
    ----------
    shard_points
        Points of a shard, which one unit writes.
    modules
        Names of the submodules that the layers are; empty for places in a block.
    """

    path: str
    layers: tuple[int, ...]
    width: int
    points: PointAxis
    shard_points: int
    modules: tuple[str, ...] = ()


def create_axes(group: zarr.Group, item: Group) -> None:
    """Write the coordinates of the layers, of the points and, where there are any, module names."""
    about = {"long_name": "layer: number of blocks before this point of the model"}
    arrays.create_coordinate(group, "layer", np.array(item.layers, dtype=np.int64), about)
    samples, positions = item.points.samples, item.points.positions
    if positions is None:
        about = {"long_name": "sample id, in sample order"}
        arrays.create_coordinate(group, "sample", samples, about)
    else:
        for name, values in (("sample", samples), ("position", positions)):
            about = {"long_name": TOKEN_COORDINATES[name].long_name}
            arrays.create_coordinate(group, name, values, about, item.points.dim)
    if item.points.n_base is not None:
        about = {"long_name": "base, or query: a point that is nobody's neighbor"}
        arrays.create_coordinate(group, ROLE, item.points.roles, about, item.points.dim)
    if item.modules:
        names = np.array([item.modules[layer] for layer in item.layers], dtype=object)
        arrays.create_coordinate(group, "module", names, {"long_name": "name of the submodule"}, "layer")
