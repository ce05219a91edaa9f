"""What running a model takes, whatever it is laid over: upper estimates in bytes, from the plan alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpcgeom.plan import details, memory, points
from hpcgeom.plan.plan import ModelPlan, Plan

_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Sizes of a model and of what is read from it.

    Attributes
    ----------
    n_blocks
        Blocks that can be run one by one; 0 for a module, whose blocks need not be a chain.
    weights
        All weights in the type that they are used in, the head among them where it is read.
    block
        Weights of one block.
    drawn
        What drawing random weights takes in the host's memory: all of them, in float32. 0 for weights of
        files.
    working
        Of one batch inside a block.
    hidden, unit_hidden
        Hidden states of one batch, and of all batches of a unit, between two blocks.
    read
        Points of one batch at all layers, before they are put with those of its unit.
    pooled
        Points of two of the largest unit, one of which is written while the next is worked out; or what is
        kept whole of one sample, where that is more.
    """

    n_blocks: int
    weights: int
    block: int
    drawn: int
    working: int
    hidden: int
    unit_hidden: int
    read: int
    pooled: int

    @property
    def around(self) -> int:
        """Weights outside the blocks: embedding, last norm, head."""
        return self.weights - self.n_blocks * self.block

    def of_blocks(self, n_bytes: int, n_blocks: int) -> int:
        """The part of `n_bytes` of points of all layers that `n_blocks` of the blocks give."""
        return -(-n_bytes * (n_blocks + 1) // (self.n_blocks + 1))


def needs_of(plan: Plan, model: ModelPlan) -> Needs:
    """What a model of a plan takes; not of points that exist already."""
    itemsize = _FLOAT32_BYTES if model.dtype == "float32" else 2
    tokens = model.n_batch_tokens or int(plan.manifest["extract"]["tokens_per_batch"])
    n_parameters = model.n_parameters + model.n_head_parameters
    is_chain = model.n_block_parameters > 0
    is_random = _section(plan, model).get("weights") == "random"
    return Needs(
        n_blocks=model.n_layers if is_chain else 0,
        weights=itemsize * n_parameters,
        block=itemsize * model.n_block_parameters,
        drawn=_FLOAT32_BYTES * n_parameters if is_random else 0,
        working=tokens * model.values_per_token * itemsize,
        hidden=tokens * model.width * itemsize,
        unit_hidden=_tokens_of_unit(plan, model) * model.width * itemsize,
        read=_read(plan, model, tokens),
        pooled=max(2 * memory.unit_bytes(plan, model, "float32"), _kept_whole(model)),
    )


def _tokens_of_unit(plan: Plan, model: ModelPlan) -> int:
    """Tokens of a unit and their padding, as far as units are alike."""
    each = model.n_tokens / max(plan.samples.n, 1)
    return int(1.05 * each * min(plan.unit_rows, plan.samples.n))


def _section(plan: Plan, model: ModelPlan) -> dict[str, Any]:
    """What the manifest says of the model, or of the one that it is a checkpoint of."""
    sections: list[dict[str, Any]] = plan.manifest["models"]
    named = {section["name"]: section for section in sections}
    return named.get(model.name) or named.get(model.name.rpartition(".step")[0]) or {}


def _read(plan: Plan, model: ModelPlan, tokens: int) -> int:
    rows = min(model.n_batch_rows or plan.unit_rows, plan.unit_rows, plan.samples.n)
    return sum(
        memory.bytes_per_point(item, "float32") * (tokens if points.are_tokens(item) else rows)
        for item in model.representations
    )


def _kept_whole(model: ModelPlan) -> int:
    """Arrays of one sample as they are found layer by layer, and put together."""
    if model.details is None:
        return 0
    largest = max(details.size_bytes_of(model.details, row) for row in model.details.rows)
    return 2 * largest
