"""Hidden states between the host and the device that computes: at once, or while the device goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

SLAB_BYTES = 256 * 2**20
"""Pinned memory is taken in pieces of this size: the allocator rounds each up to a power of two."""
ALIGNMENT_BYTES = 512


class Transfers(Protocol):
    """Takes hidden states to the host and back."""

    def to_host(self, hidden: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        """`hidden` on the host, in `memory` (that an earlier call gave for this batch) where that serves."""

    def on_host(self, hidden: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """The same for what is on the host, in any memory."""

    def to_device(self, kept: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start to bring `kept` to the device; the function returned waits for it."""

    def settle(self) -> None:
        """Wait until everything that is on its way to the host is there."""


def transfers_of(device: torch.device) -> Transfers:
    """How hidden states get from and to `device`."""
    return _Copies(device) if device.type == "cuda" else _Nothing()


class _Nothing:
    """The host computes: a tensor is where it should be."""

    def to_host(self, hidden: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        del memory
        return hidden.contiguous()

    def on_host(self, hidden: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.to_host(hidden, memory)

    def to_device(self, kept: torch.Tensor) -> Callable[[], torch.Tensor]:
        return lambda: kept

    def settle(self) -> None:
        pass


@dataclass(slots=True, eq=False)
class _Copies:
    """Copies to and from pinned memory, on a stream of their own.

    One stream in both directions: what comes back of a batch is what went last.
    """

    device: torch.device
    _stream: Any = field(init=False)
    _slab: torch.Tensor | None = field(default=None, init=False)
    _n_used: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._stream = torch.cuda.Stream(self.device)

    def to_host(self, hidden: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        hidden = hidden.contiguous()
        kept = self._pinned(hidden) if memory is None else memory
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            kept.copy_(hidden, non_blocking=True)
        hidden.record_stream(self._stream)  # its memory is not used again before the copy is done
        return kept

    def on_host(self, hidden: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        self.settle()
        return memory.copy_(hidden)

    def to_device(self, kept: torch.Tensor) -> Callable[[], torch.Tensor]:
        with torch.cuda.stream(self._stream):
            hidden = kept.to(self.device, non_blocking=True)
            arrived = self._stream.record_event()

        def wait() -> torch.Tensor:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(arrived)
            hidden.record_stream(computing)
            return hidden

        return wait

    def settle(self) -> None:
        self._stream.synchronize()

    def _pinned(self, like: torch.Tensor) -> torch.Tensor:
        n_bytes = like.numel() * like.element_size()
        if self._slab is None or self._n_used + n_bytes > len(self._slab):
            self._slab = torch.empty(max(n_bytes, SLAB_BYTES), dtype=torch.uint8, pin_memory=True)
            self._n_used = 0
        part = self._slab[self._n_used : self._n_used + n_bytes]
        self._n_used += -(-n_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return part.view(like.dtype).view(like.shape)
