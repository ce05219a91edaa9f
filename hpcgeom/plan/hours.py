"""Hours that a plan takes, where it is known how fast processes are; else nothing is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpcgeom.plan.costs import search_flops
from hpcgeom.plan.plan import ModelPlan, Plan

HOUR_S = 3600.0
Device = Literal["GPU", "core"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast one process does units of a stage.

    Attributes
    ----------
    flops_per_s
        Operations of the plan in all the time that its units take.
    of
        What its hours are of.
    n_of
        How many of these a process has.
    source
        Who says so, for people.
    """

    flops_per_s: float
    of: Device
    n_of: int
    source: str


Rates = Mapping[tuple[str, str], Rate]
"""By stage and model; of any model where the name is empty."""


@dataclass(frozen=True, slots=True)
class Hours:
    """What the units of a stage take together, without waiting for each other.

    Attributes
    ----------
    hours
        An upper estimate where operations are.
    of
        Of GPUs or of cores.
    sources
        Where the rates are from.
    """

    hours: float
    of: Device
    sources: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def hours_of(plan: Plan, rates: Rates, has_gpus: Mapping[str, bool]) -> dict[str, Hours]:
    """Hours of the stages of which all rates are known.

    Parameters
    ----------
    has_gpus
        Whether a model is to run on GPUs, by its name: a rate of cores says nothing of these.
    """
    work: dict[str, Callable[[ModelPlan], float]] = {
        "extract": lambda model: model.flops,
        "search": lambda model: search_flops(plan, model),
    }
    found = {stage: _of_stage(plan, stage, flops_of, rates, has_gpus) for stage, flops_of in work.items()}
    return {stage: hours for stage, hours in found.items() if hours is not None}


def _of_stage(
    plan: Plan,
    stage: str,
    flops_of: Callable[[ModelPlan], float],
    rates: Rates,
    has_gpus: Mapping[str, bool],
) -> Hours | None:
    hours, used = 0.0, list[Rate]()
    for model in plan.models:
        if stage == "extract" and model.family == "arrays":
            continue  # copied
        rate, flops = rates.get((stage, model.name), rates.get((stage, ""))), flops_of(model)
        if rate is None or not flops:
            return None
        if stage == "extract" and (rate.of == "GPU") != has_gpus.get(model.name, False):
            return None
        hours += rate.n_of * flops / rate.flops_per_s / HOUR_S
        used.append(rate)
    if len({rate.of for rate in used}) != 1:
        return None
    return Hours(hours, used[0].of, tuple(dict.fromkeys(rate.source for rate in used)))
