"""What is kept whole of one sample: activations of all tokens, attention maps, logits, the logit lens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hpcgeom.catalog.sites import DETAIL_SITES
from hpcgeom.errors import InputError
from hpcgeom.models.blocks import final_normed, first_tensor, replay
from hpcgeom.models.chain import run_chain
from hpcgeom.models.hooks import SiteHooks, hook_blocks, hook_embeddings
from hpcgeom.models.layout import BlockLayout
from hpcgeom.models.readings import SiteReading, layers_by_site, resolve_readings
from hpcgeom.models.request import ModelRequest, Reading
from hpcgeom.models.skeletons import Skeleton

Details = dict[str, dict[str, npt.NDArray[Any]]]
"""Site to variable to values."""
N_TOP = 10
"""Most probable tokens that the logit lens keeps."""


def read_details(skeleton: Skeleton, inputs: Mapping[str, Any], request: ModelRequest) -> Details:
    """Read the details that `request` names, of one sample.

    Parameters
    ----------
    inputs
        Keywords of the model's forward: one row, without padding.

    Returns
    -------
    dict
        A site of blocks: activations (layer, position, feature) of all tokens, special ones included.
        ``attention``: attention (layer, head, query, key). Both at the layers that they have, or at those of
        them in ``request.detail_layers``. ``logits``: logits (position, token); ``probabilities``: their
        softmax over tokens. ``logit_lens``, for the layers 0..L, each through the final norm and the head
        (nostalgebraist 2020): entropy (layer, position) in nats; kl_to_last (layer, position), the
        Kullback-Leibler divergence of the layer's distribution from that of layer L, in nats;
        cosine_to_last (layer, position) of the normed hidden states; top_token, top_probability (layer,
        position, top). All float32, tokens int64.

    Raises
    ------
    InputError
        There are several rows, padding, a layer that the model does not have, or a value that is not finite.
    """
    layout = skeleton.layout
    assert layout is not None  # resolve_details refuses models without blocks
    check_one_row(inputs, request.name)
    found: Details = {}
    found |= _whole(skeleton.model, layout, inputs, request)
    if "attention" in request.details:
        found["attention"] = {"attention": _attention(skeleton, layout, inputs, request)}
    if request.needs_head:
        found |= _through_head(skeleton.model, layout, inputs, request.details)
    refuse_non_finite(found)
    return found


def refuse_non_finite(found: Details) -> None:
    """Refuse details with NaN or infinite values.

    Raises
    ------
    InputError
        There is one.
    """
    for site, variables in found.items():
        for name, values in variables.items():
            if not np.isfinite(values).all():
                raise InputError(f"'{name}' of site '{site}' has NaN or infinite values: compute in float32")


def check_one_row(inputs: Mapping[str, Any], name: str) -> None:
    """Refuse several rows, and padding.

    Raises
    ------
    InputError
        There are some.
    """
    mask = inputs.get("attention_mask")
    rows = {len(value) for value in inputs.values() if isinstance(value, torch.Tensor)}
    if rows != {1} or (mask is not None and not bool((mask == 1).all())):
        raise InputError(
            f"model '{name}': details are read of one sample without padding at a time: give one alone"
        )


@dataclass(slots=True, eq=False)
class WholeTokens:
    """Takes activations (1, T, D) of the sites and layers that are wanted."""

    readings: Mapping[str, SiteReading]
    values: dict[tuple[str, int], torch.Tensor] = field(default_factory=dict)

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        reading = self.readings.get(site)
        if reading is None or layer not in reading.position:
            return
        if hidden.dim() != 3 or len(hidden) != 1:
            raise InputError(
                f"site '{site}': {source} gives a tensor of shape {tuple(hidden.shape)}; expected (1, T, D): "
                "read another module"
            )
        self.values[site, layer] = hidden[0].float().cpu()

    def found(self) -> Details:
        """Activations of all readings: (layer, position, feature)."""
        return {
            site: {"activations": torch.stack([self.values[site, layer] for layer in reading.layers]).numpy()}
            for site, reading in self.readings.items()
        }


def whole_readings(
    model: torch.nn.Module, layout: BlockLayout, request: ModelRequest
) -> dict[str, SiteReading]:
    """Sites of blocks of which `request` keeps all tokens, at the layers that are kept."""
    asked = [Reading(site, ("mean",)) for site in request.details if site not in DETAIL_SITES]
    if not asked:
        return {}
    return {
        site: reading.at(request.detail_layers)
        for site, reading in resolve_readings(asked, model, layout, request.name).items()
    }


def _whole(
    model: torch.nn.Module, layout: BlockLayout, inputs: Mapping[str, Any], request: ModelRequest
) -> Details:
    """Activations of all tokens at the sites of blocks that `request` names."""
    readings = whole_readings(model, layout, request)
    if not readings:
        return {}
    hooks, sink, layers = SiteHooks(), WholeTokens(readings), layers_by_site(readings)
    hook_embeddings(hooks, model, layout, layers)
    hook_blocks(hooks, model, layout, layers)
    try:
        with hooks.collecting(sink):
            run_chain(model, layout, inputs, readings, sink)
    finally:
        hooks.remove()
    return sink.found()


@dataclass(slots=True, eq=False)
class AttentionMaps:
    """Takes attention maps (1, n_heads, T, T), one a layer."""

    maps: dict[int, torch.Tensor] = field(default_factory=dict)

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        if hidden.dim() != 4 or hidden.shape[0] != 1 or hidden.shape[2] != hidden.shape[3]:
            raise InputError(
                f"site '{site}': {source} gives a tensor of shape {tuple(hidden.shape)}; expected an "
                "attention map (1, n_heads, T, T): name the module that gives it"
            )
        self.maps[layer] = hidden[0].float()

    def at(self, layers: Sequence[int], name: str) -> npt.NDArray[np.float32]:
        """The maps of some layers of model `name`: (layer, head, query, key).

        Raises
        ------
        InputError
            One was not taken.
        """
        missing = [layer for layer in layers if layer not in self.maps]
        if missing:
            raise InputError(
                f"model '{name}', site 'attention': the module that gives the map did not run in layer "
                f"{missing[0]}: name another one"
            )
        maps: npt.NDArray[np.float32] = torch.stack([self.maps[layer] for layer in layers]).cpu().numpy()
        return maps


def _attention(
    skeleton: Skeleton, layout: BlockLayout, inputs: Mapping[str, Any], request: ModelRequest
) -> npt.NDArray[np.float32]:
    model, hooks, sink = skeleton.model, SiteHooks(), AttentionMaps()
    n_layers = len(layout.blocks_of(model))
    layers = attention_layers(request, n_layers)
    hook_blocks(hooks, model, layout, {"attention": layers})
    try:
        with eager_attention(model), hooks.collecting(sink):
            for _ in replay(model, layout, inputs, max(layers)):
                pass
    finally:
        hooks.remove()
    return sink.at(layers, request.name)


def attention_layers(request: ModelRequest, n_layers: int) -> tuple[int, ...]:
    """Layers whose attention maps are read.

    Raises
    ------
    InputError
        The model does not have them.
    """
    layers = request.detail_layers
    if layers is None:
        return tuple(range(1, n_layers + 1))
    kept = tuple(layer for layer in layers if layer > 0)  # the embedding has no attention
    if not kept or list(layers) != sorted(set(layers)) or layers[0] < 0 or layers[-1] > n_layers:
        raise InputError(
            f"model '{request.name}', site 'attention': expected ascending layers out of 1 to {n_layers}; "
            f"found {list(layers)}: correct them"
        )
    return kept


@contextmanager
def eager_attention(model: torch.nn.Module) -> Iterator[None]:
    """Fused attention gives no maps."""
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if before is None or before == "eager":
        yield
        return
    model.set_attn_implementation("eager")  # type: ignore[operator]
    try:
        yield
    finally:
        model.set_attn_implementation(before)  # type: ignore[operator]


def _through_head(
    model: torch.nn.Module, layout: BlockLayout, inputs: Mapping[str, Any], wanted: tuple[str, ...]
) -> Details:
    n_layers = len(layout.blocks_of(model))
    reads_lens = "logit_lens" in wanted
    normed = [
        read_by_head(final_normed(model, layout, hidden), layout)
        for layer, hidden in replay(model, layout, inputs, n_layers)
        if reads_lens or layer == n_layers
    ]
    return details_of_head(model, layout, normed, wanted)


def details_of_head(
    model: torch.nn.Module, layout: BlockLayout, normed: list[torch.Tensor], wanted: tuple[str, ...]
) -> Details:
    """What the head makes of the hidden states that `read_by_head` gave.

    Parameters
    ----------
    normed
        After the final norm: of all layers where the logit lens is wanted, else of the last.
    """
    last = logits_of(model, layout, normed[-1])
    found: Details = {}
    if "logits" in wanted:
        found["logits"] = {"logits": last.cpu().numpy()}
    if "probabilities" in wanted:
        found["probabilities"] = {"probabilities": last.softmax(dim=-1).cpu().numpy()}
    if "logit_lens" in wanted:
        found["logit_lens"] = lens_of(model, layout, normed, last.log_softmax(dim=-1))
    return found


def read_by_head(normed: torch.Tensor, layout: BlockLayout) -> torch.Tensor:
    """The positions that the head reads."""
    assert layout.head is not None
    return normed[:, :1] if layout.head.reads == "first" else normed


def logits_of(model: torch.nn.Module, layout: BlockLayout, normed: torch.Tensor) -> torch.Tensor:
    """float32 (position, token)."""
    assert layout.head is not None
    head = model.get_submodule(layout.head.path)
    return first_tensor(head(normed), f"the head '{layout.head.path}'")[0].float()


def lens_of(
    model: torch.nn.Module, layout: BlockLayout, normed: list[torch.Tensor], log_last: torch.Tensor
) -> dict[str, npt.NDArray[Any]]:
    columns: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("entropy", "kl_to_last", "cosine_to_last", "top_token", "top_probability")
    }
    for hidden in normed:
        log_p = logits_of(model, layout, hidden).log_softmax(dim=-1)
        p = log_p.exp()
        top = p.topk(min(N_TOP, p.shape[-1]), dim=-1)
        columns["entropy"].append(-(p * log_p).sum(dim=-1))
        columns["kl_to_last"].append((log_last.exp() * (log_last - log_p)).sum(dim=-1))
        columns["cosine_to_last"].append(
            torch.cosine_similarity(hidden[0].float(), normed[-1][0].float(), dim=-1)
        )
        columns["top_token"].append(top.indices)
        columns["top_probability"].append(top.values)
    return {name: torch.stack(values).cpu().numpy() for name, values in columns.items()}
