"""The points of a representation: the samples, or for the pooling `tokens` every ordinary token of them.

Whoever cuts, counts, compares or stores points asks here which of the two they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hpcgeom.catalog.sites import TOKENS_POOLING, split_head
from hpcgeom.plan import paths
from hpcgeom.plan.plan import ModelPlan, Plan, Representation, TokenPoints

MAX_POINTS = 2**31 - 1
"""Numbers of points are int32."""


@dataclass(frozen=True, slots=True)
class PointArray:
    """One array of activations along its points; each of its shards is written by one extract unit.

    Attributes
    ----------
    group
        Its group in the store.
    start, stop
        Its points, among all of the representation.
    shard_points
        Points of a shard.
    """

    group: str
    start: int
    stop: int
    shard_points: int


@dataclass(frozen=True, slots=True)
class Block:
    """The points of one extract unit.

    Attributes
    ----------
    group, shard
        Group of the array that they are stored in, and the number of their shard.
    start
        Where they begin in that array.
    first, n_points
        The number of the first among all points of the representation, and how many they are.
    """

    group: str
    shard: int
    start: int
    first: int
    n_points: int


def are_tokens(item: Representation) -> bool:
    """Whether every token is a point; else every sample is one."""
    return item.pooling == TOKENS_POOLING


def tokens_of(model: ModelPlan, item: Representation) -> TokenPoints | None:
    """The tokens that are the points of a representation; None where its points are samples."""
    if not are_tokens(item):
        return None
    assert model.tokens is not None, model.name  # as `assemble` makes it
    return model.tokens


def point_arrays(plan: Plan, model: ModelPlan, item: Representation) -> tuple[PointArray, ...]:
    """The arrays of a representation, in the order of their points.

    Samples are one array. A range of samples has any number of tokens, and shards of one array are equal:
    the tokens of every extract unit are an array of their own.
    """
    group, tokens = paths.group(item.site, item.pooling), tokens_of(model, item)
    if tokens is None:
        return (PointArray(group, 0, plan.samples.n, plan.unit_rows),)
    edges = np.cumsum([0, *tokens.n_of_units]).tolist()
    return tuple(
        PointArray(f"{group}/{paths.rows(*rows)}", start, stop, stop - start)
        for rows, (start, stop) in zip(plan.row_ranges(), pairwise(edges), strict=True)
    )


def blocks(plan: Plan, model: ModelPlan, item: Representation) -> tuple[Block, ...]:
    """Where each extract unit stores its points, in the order of the units."""
    return tuple(
        Block(array.group, shard, first - array.start, first, min(array.shard_points, array.stop - first))
        for array in point_arrays(plan, model, item)
        for shard, first in enumerate(range(array.start, array.stop, array.shard_points))
    )


def n_points(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """How many points a representation has."""
    tokens = tokens_of(model, item)
    return plan.samples.n if tokens is None else sum(tokens.n_of_units)


def n_base_points(plan: Plan, model: ModelPlan, item: Representation) -> int:
    """How many points, the first ones, may be neighbors."""
    tokens = tokens_of(model, item)
    if tokens is None:
        return plan.samples.n_base
    return n_points(plan, model, item) if tokens.n_base is None else tokens.n_base


def is_standardized(plan: Plan, item: Representation) -> bool:
    """Whether the features of a representation are centered and scaled before neighbors are searched."""
    asked = plan.manifest["neighbors"]["standardize"]
    if isinstance(asked, bool):
        return asked
    base, head = split_head(item.site)
    is_one_of_all = head is not None and plan.manifest["representations"]["heads"] == "separate"
    return item.site in asked or (is_one_of_all and base in asked)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Layers of one site and pooling that have the same points, so that their neighbors are compared.

    Attributes
    ----------
    members
        Models, and what is read from them.
    layers
        Positions of their layers among all layers at the site and pooling, models in manifest order.
    n_points
        How many points they share; queries are not among them.
    """

    members: tuple[tuple[ModelPlan, Representation], ...]
    layers: tuple[int, ...]
    n_points: int


def members(plan: Plan, site: str, pooling: str) -> list[tuple[ModelPlan, Representation]]:
    """The models that have a representation at `site` with `pooling`, in manifest order."""
    return [
        (model, item)
        for model in plan.models
        for item in model.representations
        if (item.site, item.pooling) == (site, pooling)
    ]


def cohorts(plan: Plan, site: str, pooling: str) -> list[Cohort]:
    """The layers at `site` with `pooling`, by what is compared with each other.

    All models have the same samples; the same tokens only those whose tokenizers cut all samples alike. Where
    the manifest does not compare models, each is a cohort of its own.
    """
    cross_model = bool(plan.manifest["geometry"]["cross_model"])
    found: dict[tuple[str, str], tuple[list[tuple[ModelPlan, Representation]], list[int]]] = {}
    first = 0
    for model, item in members(plan, site, pooling):
        tokens = tokens_of(model, item)
        key = ("" if cross_model else model.name, "" if tokens is None else tokens.digest)
        ours, layers = found.setdefault(key, ([], []))
        ours.append((model, item))
        layers += range(first, first + len(item.layers))
        first += len(item.layers)
    return [
        Cohort(tuple(ours), tuple(layers), n_base_points(plan, *ours[0])) for ours, layers in found.values()
    ]
