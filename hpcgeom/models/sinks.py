"""Where pooled activations of one batch are collected, and refused when they are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hpcgeom.catalog.sites import EMBEDDING_SITES, TOKENS_POOLING, is_module_glob
from hpcgeom.errors import InputError
from hpcgeom.models.pooling import BatchMasks, pool
from hpcgeom.models.readings import SiteReading
from hpcgeom.models.reused_memory import ReusedMemory

Pooled = dict[tuple[str, str], npt.NDArray[np.float32]]
"""(site, pooling) to float32 (n_layers, B, D), layers in the order of the reading; for the pooling `tokens`
(n_layers, n_points, D), see `hpcgeom.models.pooling.pool`."""


class NonFiniteActivation(InputError):
    """A pooled activation is NaN or infinite.

    Parameters
    ----------
    row
        Row of the batch; the caller knows the sample id.
    layer, site, pooling
        Where it was read; the earliest layer of the batch is reported.
    dtype
        Type that the model computes in.

    Attributes
    ----------
    batch
        Number of the batch among those of one call of `run`, which sets it.
    """

    batch = 0

    def __init__(self, row: int, layer: int, site: str, pooling: str, dtype: str) -> None:
        advice = (
            "compute in float32 or bfloat16" if dtype == "float16" else "check the weights and this sample"
        )
        super().__init__(
            f"row {row} of a batch has NaN or infinite activations at site '{site}', layer {layer}, pooling "
            f"'{pooling}' (model computed in {dtype}): {advice}"
        )
        self.row, self.layer, self.site, self.pooling, self.dtype = row, layer, site, pooling, dtype


@dataclass(slots=True, eq=False)
class PooledSink:
    """Pools what the hooks hand over, at once, into arrays allocated at the first layer of each site.

    Parameters
    ----------
    readings
        What is wanted, by site.
    masks
        Masks of the batch.
    dtype
        Name of the model's dtype, for messages.
    memory
        Where the arrays of a CPU come from.
    """

    readings: Mapping[str, SiteReading]
    masks: BatchMasks
    dtype: str
    memory: ReusedMemory
    _pooled: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict, init=False)
    _read_by: dict[tuple[str, int], str] = field(default_factory=dict, init=False)
    _by_base: dict[str, list[SiteReading]] = field(default_factory=dict, init=False)
    _sent: list[Any] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for reading in self.readings.values():
            self._by_base.setdefault(reading.base, []).append(reading)

    def put(self, site: str, layer: int, hidden: torch.Tensor, source: str) -> None:
        """Pool `hidden`, if `site` or a head of it is wanted at `layer`.

        Parameters
        ----------
        site, layer
            Address of the activations.
        hidden
            (B, T, D); (B, D) too where the site is a glob of modules; (1, T, D) where it is a part of the
            embedding that is the same for all rows.
        source
            What gave them, for messages.

        Raises
        ------
        InputError
            The shape is another one, the width differs between layers, or a layer comes twice.
        """
        for reading in self._by_base.get(site, ()):
            if layer in reading.position:
                self._pool(reading, layer, hidden, source)

    def _pool(self, reading: SiteReading, layer: int, hidden: torch.Tensor, source: str) -> None:
        site = reading.site
        if (site, layer) in self._read_by:
            raise InputError(
                f"{source} ran more than once in one forward pass, so site '{site}' has no one value at "
                f"layer {layer}: read a module that runs once"
            )
        if reading.base in EMBEDDING_SITES and hidden.dim() == 3 and len(hidden) == 1:
            hidden = hidden.expand(len(self.masks.real), -1, -1)
        self._check_shape(site, hidden, source)
        if hidden.dim() == 3:
            hidden = reading.of_head(hidden)
        masks = self.masks.on(hidden.device)
        for pooling in reading.poolings:
            n_points = len(hidden) if hidden.dim() == 2 else masks.n_points(pooling)
            rows = self._rows(site, pooling, hidden, n_points, source)[reading.position[layer]]
            if hidden.dim() == 2:
                rows.copy_(hidden)
            else:
                pool(hidden, masks, pooling, out=rows)
        self._read_by[site, layer] = source

    def _rows(
        self, site: str, pooling: str, hidden: torch.Tensor, n_points: int, source: str
    ) -> torch.Tensor:
        """Where the points of all layers go."""
        shape = (len(self.readings[site].layers), n_points, hidden.shape[-1])
        rows = self._pooled.get((site, pooling))
        if rows is None:
            rows = self._pooled[site, pooling] = self._empty(shape, hidden.device)
        if rows.shape != shape:
            first = next(name for (known, _), name in self._read_by.items() if known == site)
            raise InputError(
                f"site '{site}' has layers of different width: {first} gives {rows.shape[-1]} features and "
                f"{source} gives {shape[-1]}: read them as two sites"
            )
        return rows

    def _empty(self, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        if device.type == "cpu":
            return torch.from_numpy(self.memory.empty(shape))
        return torch.empty(shape, dtype=torch.float32, device=device)

    def _check_shape(self, site: str, hidden: torch.Tensor, source: str) -> None:
        n_rows, n_tokens = self.masks.real.shape
        shape = tuple(hidden.shape)
        if len(shape) == 3 and shape[:2] == (n_rows, n_tokens):
            return
        is_pooled = is_module_glob(site) and len(shape) == 2 and shape[0] == n_rows
        if is_pooled and TOKENS_POOLING not in self.readings[site].poolings:
            return
        if is_pooled:
            raise InputError(
                f"site '{site}': {source} gives one point per sample, {shape}, so pooling '{TOKENS_POOLING}' "
                "has no tokens to keep: choose another pooling"
            )
        pooled = " or (B, D)" if is_module_glob(site) else ""
        raise InputError(
            f"site '{site}': {source} gives a tensor of shape {shape}; expected (B, T, D){pooled} with B = "
            f"{n_rows} and T = {n_tokens}: read another module"
        )

    def send(self) -> None:
        """Start to bring what was pooled to the host while a device computes on; `finish` waits for it."""
        devices = {rows.device for rows in self._pooled.values() if rows.is_cuda}
        self._pooled = {key: rows.to("cpu", non_blocking=True) for key, rows in self._pooled.items()}
        self._sent = [torch.cuda.current_stream(device).record_event() for device in devices]

    def finish(self, check_finite: bool = True) -> Pooled:
        """All that was asked for, on the host.

        Raises
        ------
        InputError
            A wanted layer was never read, because its module did not run.
        NonFiniteActivation
            A value is NaN or infinite.
        """
        for site, reading in self.readings.items():
            missing = [layer for layer in reading.layers if (site, layer) not in self._read_by]
            if missing:
                raise InputError(
                    f"site '{site}' was not read at layer {missing[0]}: {reading.source(missing[0])} did "
                    "not run "
                    "as a module in the forward pass (fused kernels skip submodules): read another module"
                )
        for sent in self._sent:
            sent.synchronize()
        pooled = {key: rows.cpu().numpy() for key, rows in self._pooled.items()}
        if check_finite:
            self._refuse_non_finite(pooled)
        return pooled

    def _refuse_non_finite(self, pooled: Pooled) -> None:
        found = []
        for (site, pooling), values in pooled.items():
            if not _are_finite(values):
                position, row = (int(place) for place in np.argwhere(~np.isfinite(values).all(axis=2))[0])
                if pooling == TOKENS_POOLING:
                    row = int(torch.nonzero(self.masks.ordinary)[row, 0])
                found.append((self.readings[site].layers[position], row, site, pooling))
        if found:
            layer, row, site, pooling = min(found)
            raise NonFiniteActivation(row, layer, site, pooling, self.dtype)


def _are_finite(values: npt.NDArray[np.float32]) -> bool:
    """Whether no value is NaN or infinite: then the sum is neither, unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())
