"""Which strategy a model is run with: the fastest of those that it fits with.

Nothing that is computed depends on it, so it is chosen where a run is carried out, by what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcgeom.errors import InputError
from hpcgeom.manifest.sections import Manifest
from hpcgeom.plan.footprints import Devices, Footprint, footprints, writes_beside
from hpcgeom.plan.needs import Needs, needs_of
from hpcgeom.plan.plan import Plan
from hpcgeom.types import Means

AUTO = "auto"
UNITS_OF_A_SET = {"replicate": 4, "pipeline": 16}
"""Units that are done together where each is written while the next one is worked out.

Those of `replicate` are shared out over processes, a set at a time; those of `pipeline` are all done by one
group, whose first processes wait for the last ones between two sets.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """The strategy of one model on some devices.

    Attributes
    ----------
    model
        Its name.
    needs
        What it takes, whatever it is laid over.
    wish
        What is asked for: a strategy, or `auto`.
    devices
        What it is to run on.
    strategy
        What it is run with; empty where nothing that is asked for can be used.
    footprints
        What each strategy takes there, from the fastest to the slowest.
    """

    model: str
    needs: Needs
    wish: str
    devices: Devices
    strategy: str
    footprints: tuple[Footprint, ...]

    def of(self, strategy: str) -> Footprint:
        """What `strategy` takes."""
        return next(found for found in self.footprints if found.strategy == strategy)

    @property
    def why(self) -> str:
        """Why no faster one, or why none at all, with what it needs and what there is."""
        if self.wish != AUTO:
            return self.of(self.wish).problem or "as asked for"
        passed = [found for found in self.footprints if found.problem]
        if self.strategy:
            passed = [found for found in passed if self._is_faster(found)]
        return "; ".join(f"{found.strategy}: {found.problem}" for found in passed) or "it fits"

    def _is_faster(self, found: Footprint) -> bool:
        return self.footprints.index(found) < self.footprints.index(self.of(self.strategy))

    @property
    def refusal(self) -> str:
        """A sentence that says why it cannot be run, and what to do; empty where it can."""
        if self.strategy:
            return ""
        other = "" if self.wish == AUTO else "strategy: auto, "
        how = "" if self.wish == AUTO else f" with strategy {self.wish}"
        return (
            f"model '{self.model}' cannot be run on {self.devices.where}{how} ({self.why}): use {other}a "
            "smaller dtype of the model, a smaller extract.tokens_per_batch, fewer processes, or devices "
            "with more memory"
        )

    @property
    def footprint(self) -> Footprint:
        """What the chosen strategy takes.

        Raises
        ------
        InputError
            None can be used; says what it needs and what there is.
        """
        if self.refusal:
            raise InputError(self.refusal)
        return self.of(self.strategy)

    def means(self) -> Means:
        """What a process is told that runs the model.

        Raises
        ------
        InputError
            As `footprint`.
        """
        found, devices = self.footprint, self.devices
        if found.strategy == "stream":
            return _streaming(self.needs, self._spare_bytes)
        if found.strategy == "dispatch":
            if devices.gpu_bytes is None or found.gpu_bytes is None:
                spare = self._spare_bytes
                return Means("dispatch", None, None if spare is None else spare + found.weights_bytes)
            on_gpu = devices.gpu_bytes - found.gpu_bytes + found.weights_bytes
            return Means("dispatch", on_gpu, self._spare_bytes)
        return (
            written_beside(found.strategy)
            if writes_beside(found.strategy, devices)
            else Means(found.strategy)
        )

    @property
    def _spare_bytes(self) -> int | None:
        """Memory that each process has beyond the least that it can do with; None where nobody knows."""
        if self.devices.host_bytes is None:
            return None
        return self.devices.host_bytes // self.footprint.n_processes - self.footprint.host_bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "strategy": self.strategy,
            "asked_for": self.wish,
            "why": self.why,
            "footprints": [
                {
                    "strategy": found.strategy,
                    "n_processes": found.n_processes,
                    "gpu_bytes": found.gpu_bytes,
                    "host_bytes": found.host_bytes,
                    "problem": found.problem,
                }
                for found in self.footprints
            ],
        }


def written_beside(strategy: str) -> Means:
    """What a process is told that writes each unit while the next one is worked out."""
    return Means(strategy, n_units=UNITS_OF_A_SET[strategy])


def _streaming(needs: Needs, spare_bytes: int | None) -> Means:
    """As many units at once as there is memory for, so that weights are read seldom."""
    if spare_bytes is None:
        return Means("stream")
    n_more = max(spare_bytes - needs.unit_hidden, 0) // max(needs.unit_hidden + needs.pooled, 1)
    return Means("stream", None, spare_bytes - n_more * needs.pooled, 1 + n_more)


def choose(model: str, needs: Needs, wish: str, devices: Devices) -> Choice:
    """The strategy that a model is run with.

    Parameters
    ----------
    model
        Its name.
    wish
        A strategy, or ``auto`` for the fastest that can be used.
    """
    found = footprints(needs, devices)
    usable = [each.strategy for each in found if not each.problem and wish in (AUTO, each.strategy)]
    return Choice(model, needs, wish, devices, usable[0] if usable else "", found)


def choose_all(plan: Plan, wishes: Mapping[str, str], devices: Devices) -> dict[str, Choice]:
    """The strategy of every model of a plan that `wishes` names, by its name."""
    return {
        model.name: choose(model.name, needs_of(plan, model), wishes[model.name], devices)
        for model in plan.models
        if model.name in wishes
    }


def wishes_of(manifest: Manifest) -> dict[str, str]:
    """The strategy that a manifest asks for, by model; points that exist already have none."""
    return {model.name: model.strategy for model in manifest.all_models if model.family != "arrays"}
