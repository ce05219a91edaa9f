"""How fast each process extracts, from the records of the units that it did."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from hpcgeom.stages.run import Run
from hpcgeom.store.records import Record


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
