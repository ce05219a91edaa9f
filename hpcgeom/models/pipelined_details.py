"""What is kept whole of one sample where several processes run a model: each reads its part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from hpcgeom.models.blocks import final_normed
from hpcgeom.models.details import (
    AttentionMaps,
    Details,
    WholeTokens,
    attention_layers,
    details_of_head,
    eager_attention,
    read_by_head,
    refuse_non_finite,
    whole_readings,
)
from hpcgeom.models.parts import own_readings
from hpcgeom.models.peers import Peers
from hpcgeom.models.readings import layers_by_site
from hpcgeom.models.transport import TAG_DETAILS, first_line, wait

if TYPE_CHECKING:
    from hpcgeom.models.pipeline import PipelinedModel


def read_together(model: PipelinedModel, inputs: Mapping[str, Any]) -> Details:
    """Read the details that the model's request names, of one sample; all processes call this.

    Returns
    -------
    dict
        As `hpcgeom.models.details.read_details` in the first process; nothing in the others.
    """
    wanted, found = model.request.details, _whole(model, inputs)
    if "attention" in wanted:
        found |= _attention(model, inputs)
    if model.request.needs_head:
        found |= _through_head(model, inputs)
    together = _gathered(model.peers, found)
    refuse_non_finite(together)
    return {site: together[site] for site in wanted if site in together}


def _whole(model: PipelinedModel, inputs: Mapping[str, Any]) -> Details:
    readings = whole_readings(model.skeleton.model, model.layout, model.request)
    if not readings:
        return {}
    part, n_blocks = model.part, len(model.layout.blocks_of(model.skeleton.model))
    own = own_readings(readings, part.blocks, part.n_run, model.layout, n_blocks, model.request.name)
    sink = WholeTokens(own)
    model.walk(inputs, layers_by_site(own), own, sink)
    return sink.found()


def _attention(model: PipelinedModel, inputs: Mapping[str, Any]) -> Details:
    layers = attention_layers(model.request, len(model.layout.blocks_of(model.skeleton.model)))
    own = [layer for layer in layers if layer - 1 in model.part.blocks]
    sink = AttentionMaps()
    with eager_attention(model.skeleton.model):
        model.walk(inputs, {"attention": own}, {}, _Only("attention", sink))
    return {"attention": {"attention": sink.at(own, model.request.name)}} if own else {}


def _through_head(model: PipelinedModel, inputs: Mapping[str, Any]) -> Details:
    """The last process does this, with the hidden states of the others where the logit lens is wanted."""
    sink = _Normed(model)
    model.walk(inputs, {}, {}, sink)
    normed, peers = sink.normed, model.peers
    if "logit_lens" in model.request.details:
        last = peers.n_processes - 1
        if not peers.is_last:
            _send(peers, last, {"normed": torch.stack(normed).cpu()})
            return {}
        others = [_receive(peers, index)["normed"].to(model.device) for index in range(last)]
        normed = [*(hidden.clone() for each in others for hidden in each), *normed]
    if not peers.is_last:
        return {}
    return details_of_head(model.skeleton.model, model.layout, normed, model.request.details)


@dataclass(frozen=True, slots=True)
class _Only:
    """Hands over one site."""

    site: str
    sink: AttentionMaps

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        if site == self.site:
            self.sink.put(site, layer, hidden, source)


@dataclass(slots=True, eq=False)
class _Normed:
    """Takes the hidden states of all layers of this process as the head reads them."""

    model: PipelinedModel
    normed: list[torch.Tensor] = field(default_factory=list)

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        del layer, source
        if site == "resid":
            normed = final_normed(self.model.skeleton.model, self.model.layout, hidden)
            self.normed.append(read_by_head(normed, self.model.layout))


def _gathered(peers: Peers, found: Details) -> Details:
    """What all processes found, in the first: layers follow each other as the processes do."""
    named = {f"{site}/{name}": value for site, of_site in found.items() for name, value in of_site.items()}
    if not peers.is_first:
        _send(peers, 0, {name: torch.from_numpy(value) for name, value in named.items()})
        return {}
    parts: dict[str, list[Any]] = {name: [value] for name, value in named.items()}
    for index in range(1, peers.n_processes):
        for name, value in _receive(peers, index).items():
            parts.setdefault(name, []).append(value.numpy())
    together: Details = {}
    for name, values in parts.items():
        site, _, variable = name.partition("/")
        together.setdefault(site, {})[variable] = np.concatenate(values)
    return together


def _send(peers: Peers, to: int, tensors: Mapping[str, torch.Tensor]) -> None:
    """Send tensors on the host to another process, which learns their shapes first."""
    about = [
        (name, str(value.dtype).removeprefix("torch."), list(value.shape)) for name, value in tensors.items()
    ]
    peers.board.post(to, json.dumps(about).encode())
    with _blaming(peers, to):
        for value in tensors.values():
            wait(dist.isend(value.contiguous(), to, tag=TAG_DETAILS))


def _receive(peers: Peers, sender: int) -> dict[str, torch.Tensor]:
    found = {}
    about = json.loads(peers.board.collect(sender))
    with _blaming(peers, sender):
        for name, dtype, shape in about:
            found[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            wait(dist.irecv(found[name], sender, tag=TAG_DETAILS))
    return found


@contextmanager
def _blaming(peers: Peers, index: int) -> Iterator[None]:
    """What fails in the body is that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        peers.lost(index, first_line(error))
        peers.check()
        raise
