"""A loaded model, and the batches that one unit of extract feeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcgeom import trace
from hpcgeom.ahead import read_ahead
from hpcgeom.catalog.families import FAMILIES, ModelFacts, facts_of, read_facts
from hpcgeom.errors import InputError
from hpcgeom.plan.plan import ModelPlan, Representation
from hpcgeom.stages import inputs, splits
from hpcgeom.stages.contents import Contents
from hpcgeom.stages.requests import request_of, settings_of
from hpcgeom.stages.run import Run
from hpcgeom.stages.scratch import ScratchFolders
from hpcgeom.stages.together import Crew
from hpcgeom.types import WHOLE, Unit

if TYPE_CHECKING:
    from hpcgeom.models import Encoding, OpenModel, Splits, TokenBatch
    from hpcgeom.models.details import Details
    from hpcgeom.models.pipeline import PipelinedModel

Pooled = Mapping[tuple[str, str], npt.NDArray[np.float32]]
"""(site, pooling) to (layers, sequences, features); (layers, points, features) where tokens are points."""


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward pass.

    Attributes
    ----------
    unit
        The unit of extract that its sequences belong to.
    members
        (B,) positions of the sequences in `Forward.sequences`.
    pooled
        What was read.
    """

    unit: Unit
    members: npt.NDArray[np.intp]
    pooled: Pooled


@dataclass(frozen=True, slots=True)
class OwnLayers:
    """The layers of one representation that this process has.

    Attributes
    ----------
    positions
        Among the layers of `item`.
    """

    item: Representation
    positions: range


class Forward:
    """A model of a run with its encoder and its samples; weights load once.

    Parameters
    ----------
    crew
        The processes that run the model together: the leader tells the others what it does. None where this
        process has the whole model.

    Attributes
    ----------
    plan
        Of the model.
    strategy
        How it is laid over devices.
    sequences
        All sequences of the run, in order.
    parts
        What this process has, by site and pooling; no entry where it has no layer.
    memory
        For the activations of units.
    """

    def __init__(self, run: Run, model: ModelPlan, crew: Crew | None = None) -> None:
        from hpcgeom.models import (
            Pipeline,
            ReusedMemory,
            chosen_device,
            encoder_of,
            gemm_flops_per_s,
            open_model,
        )

        self.plan, self.crew = model, crew
        self._order("open", model=model.name)
        manifest = inputs.manifest_of(run)
        self._run = run
        request, device = request_of(run.plan, model, manifest), chosen_device()
        self._model: OpenModel
        if crew is None:
            means = run.means.get(model.name, WHOLE)
            self.strategy, self._model = means.strategy, open_model(request, means, device, run.plan.threads)
            self.parts = {(item.site, item.pooling): OwnLayers(item, range(len(item.layers)))
                          for item in model.representations}  # fmt: skip
        else:
            part = Pipeline().open_model(request, crew.peers, device, run.plan.threads)
            self.strategy, self._model, self.parts = "pipeline", part, _parts_of(part, model)
        self._device = device
        self._encoder = encoder_of(request, settings_of(manifest))
        self._facts = _facts_of(model)
        self._gemm_flops_per_s = 0.0 if self._facts is None else gemm_flops_per_s(device, model.dtype)
        self._samples = inputs.samples_of(run)
        self._contents = Contents(manifest, run.folder, self._samples)
        self.sequences, self._batch = inputs.read_sequences(run, model.name)
        self._scratch = ScratchFolders(run, model.name)
        self.memory = ReusedMemory()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self.crew is not None and kind is not None:
            return  # the others may be in the middle of a batch, and are told otherwise
        self._order("close")
        self._model.close()
        if self.strategy == "stream":
            self._scratch.forget_recorded()

    def _order(self, what: str, **about: Any) -> None:
        """Let the processes that this one leads, if any, do the same."""
        if self.crew is not None:
            self.crew.order(what, **about)

    def run(self, units: Sequence[Unit]) -> Iterator[Pass]:
        """Run the batches of some units, unit after unit, in their order.

        Raises
        ------
        InputError
            A sample does not suit the model, has changed, or gives a value that is not finite.
        """
        from hpcgeom.models import NonFiniteActivation, Pieces

        self._order("run", units=[unit.index for unit in units])
        scratch, whole_set = None, list(units)
        if self.strategy == "stream":
            self._scratch.forget_recorded()
            scratch, whole_set = self._scratch.of(units)
        planned = [(unit, *each) for unit in whole_set for each in enumerate(self._batches(unit))]
        batches = read_ahead(self._padded(members) for _, _, members in planned)
        known = self._splits([(unit, number) for unit, number, _ in planned])
        pieces = Pieces(partial(self._model.run, scratch=scratch), self.plan.name, self._device)
        try:
            for (unit, _, members), pooled in zip(planned, pieces.run(batches, known), strict=True):
                if unit in units:
                    yield Pass(unit, members, pooled)
        except NonFiniteActivation as error:
            row = self.sequences.row[planned[error.batch][2][error.row]]
            raise InputError(
                f"model '{self.plan.name}', sample '{self._samples.ids[row]}': {error}: leave it out with "
                "dataset.exclude, or choose a wider dtype"
            ) from error

    def _splits(self, planned: Sequence[tuple[Unit, int]]) -> Splits:
        """How batches are cut that did not fit; where there is a leader, it says so, and keeps new cuts."""
        known = splits.of_batches(self._run, planned)
        if self.crew is not None:
            known.n_pieces = dict(self.crew.agreed(list(known.n_pieces.items())))
            known.keep = known.keep if self.crew.leads else lambda batch, n_pieces: None
        return known

    def work_of(self, unit: Unit) -> dict[str, float]:
        """What the forward passes of a unit are: facts for its record.

        `flops` is that of real tokens, without padding; left out where the sizes of the model are not known.
        `gemm_flops_per_s` is what this process reaches on one large product alone, times the processes that
        run the model together.
        """
        first, last = np.searchsorted(self.sequences.row, (unit.start, unit.stop))
        lengths = self.sequences.n_tokens[first:last]
        found: dict[str, float] = {"n_tokens": int(lengths.sum())}
        if self._facts is None:
            return found
        flops = sum(self._facts.forward_flops(length, length) for length in lengths.tolist())
        n_processes = 1 if self.crew is None else self.crew.peers.n_processes
        return {**found, "flops": flops, "gemm_flops_per_s": n_processes * self._gemm_flops_per_s}

    def _padded(self, members: npt.NDArray[np.intp]) -> TokenBatch:
        from hpcgeom.models import pad

        with trace.span("read", n_sequences=len(members)):
            return pad(self.encodings(members), self._encoder.pad_id)

    def _batches(self, unit: Unit) -> Iterator[npt.NDArray[np.intp]]:
        """Positions in `sequences` of what shares a forward pass."""
        first, last = (int(edge) for edge in np.searchsorted(self.sequences.row, (unit.start, unit.stop)))
        batches = self._batch[first:last]
        for number in range(int(batches.max(initial=-1)) + 1):
            yield first + np.flatnonzero(batches == number)

    def details(self, row: int) -> tuple[Encoding, Details]:
        """What is kept whole of the sample at `row`, and what it was encoded as.

        Raises
        ------
        InputError
            As `run`.
        """
        from hpcgeom.models import pad

        self._order("details", row=row)
        encoding = self.encodings(np.flatnonzero(self.sequences.row == row))[0]
        try:
            return encoding, self._model.details(pad([encoding], self._encoder.pad_id))
        except InputError as error:
            raise InputError(
                f"model '{self.plan.name}', details of sample '{self._samples.ids[row]}': {error}"
            ) from error

    def encodings(self, members: npt.NDArray[np.intp]) -> list[Encoding]:
        """Encodings of some sequences.

        Raises
        ------
        InputError
            One has another length than prepare counted.
        """
        rows = self.sequences.row[members].tolist()
        distinct = list(dict.fromkeys(rows))
        ids = [self._samples.ids[row] for row in distinct]
        windows = dict(zip(distinct, self._encoder.encode(ids, self._contents.of(distinct)), strict=True))
        found = []
        for row, position in zip(rows, members.tolist(), strict=True):
            own, window = windows[row], int(self.sequences.window[position])
            expected = tuple(int(n[position]) for n in (self.sequences.n_tokens, self.sequences.n_ordinary))
            n_found = (len(own[window].ids), own[window].n_ordinary) if window < len(own) else (0, 0)
            if n_found != expected:
                raise InputError(
                    f"sample '{self._samples.ids[row]}' has {n_found[0]} tokens ({n_found[1]} of its own), "
                    f"but prepare counted {expected[0]} ({expected[1]}): the tokenizer has changed since; "
                    "start another run"
                )
            found.append(own[window])
        return found


def _facts_of(model: ModelPlan) -> ModelFacts | None:
    """Sizes of a model of the catalog; None for a user's module."""
    if model.family not in FAMILIES:
        return None
    if model.config is not None:
        return facts_of(model.config, model.family, f"the configuration of '{model.name}'")
    return read_facts(Path(model.folder), model.family)


def _parts_of(model: PipelinedModel, plan: ModelPlan) -> dict[tuple[str, str], OwnLayers]:
    found = {}
    for item in plan.representations:
        if layers := model.layers_of(item.site):
            first = item.layers.index(layers[0])
            found[item.site, item.pooling] = OwnLayers(item, range(first, first + len(layers)))
    return found
