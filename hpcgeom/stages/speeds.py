"""How fast processes were, from the records of the units that they did."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hpcgeom.data.wording import counted
from hpcgeom.plan.costs import unit_flops
from hpcgeom.plan.hours import Device, Rate
from hpcgeom.stages.run import Run
from hpcgeom.store.records import Record
from hpcgeom.types import Unit


@dataclass(frozen=True, slots=True)
class Speed:
    """What one process did of one model.

    Attributes
    ----------
    process
        Host and number of the process.
    tokens_per_s
        Real tokens, padding left out, in the time that forward passes took.
    flops_per_s
        Operations of these; 0 where the sizes of the model are not known.
    share_of_gemm
        The same, divided by what the process reached on one large product alone: the peak that its device
        has in practice; 0 where it is not known.
    """

    model: str
    process: str
    tokens_per_s: float
    flops_per_s: float
    share_of_gemm: float


def speeds_of(run: Run) -> list[Speed]:
    """Models in the order of their units, then processes by name."""
    records = run.records("extract")
    by_process: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for unit in run.units("extract"):
        record = records.load(unit)
        if record is not None and record.facts.get("compute_s"):
            process = f"{record.made_by.get('host')}, process {record.made_by.get('pid')}"
            by_process[unit.model, process].append(record)
    order = {unit.model: unit.index for unit in reversed(run.units("extract"))}
    keys = sorted(by_process, key=lambda key: (order[key[0]], key[1]))
    return [_speed(*key, by_process[key]) for key in keys]


def _speed(model: str, process: str, records: list[Record]) -> Speed:
    def total(fact: str) -> float:
        return sum(float(record.facts.get(fact, 0.0)) for record in records)

    taken = total("compute_s")
    rates = [float(record.facts.get("gemm_flops_per_s", 0.0)) for record in records]
    flops, fastest = total("flops") / taken, max(rates)
    return Speed(model, process, total("n_tokens") / taken, flops, flops / fastest if fastest else 0.0)


def rates_of(run: Run) -> dict[tuple[str, str], Rate]:
    """How fast a process does units of extract and of the search, by stage and model, all of their time told.

    Where units of a model were done on GPUs and without, those count that are more.
    """
    done: dict[tuple[str, str, Device], list[tuple[float, float]]] = defaultdict(list)
    for stage in ("extract", "search"):
        for unit in run.units(stage):
            record = run.records(stage).load(unit)
            flops = 0.0 if record is None else _flops(run, unit, record)
            if record is not None and flops:
                of: Device = "core" if record.made_by.get("device", "cpu") == "cpu" else "GPU"
                n_processes = len(record.facts.get("processes", ())) or 1
                done[stage, unit.model, of].append((flops, n_processes * float(record.facts["seconds"])))
    found: dict[tuple[str, str], Rate] = {}
    for (stage, model, of), parts in sorted(done.items(), key=lambda item: len(item[1])):
        flops, seconds = (sum(numbers) for numbers in zip(*parts, strict=True))
        n_of = run.plan.threads if of == "core" else 1
        source = f"{counted(len(parts), 'unit')} of {stage} of '{model}' in {run.root} took"
        found[stage, model] = Rate(flops / max(seconds, 1e-3), of, n_of, source)
    return found


def _flops(run: Run, unit: Unit, record: Record) -> float:
    """Operations of a unit; 0 where they are not known, or on how many GPUs they were done."""
    if unit.stage == "search":
        return unit_flops(run.plan, unit)
    on_several = record.facts.get("strategy") == "dispatch" and record.made_by.get("device") != "cpu"
    return 0.0 if on_several else float(record.facts.get("flops", 0.0))
