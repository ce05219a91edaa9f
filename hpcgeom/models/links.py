"""Hidden states on their way from one process to the next, a few batches at a time.

Sends and receives are done by threads, so that a batch is computed while others travel. Before each tensor
goes a small header: gloo takes whatever comes, and would fill a larger buffer in part without a word.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from hpcgeom import trace
from hpcgeom.errors import InputError, ResourceError
from hpcgeom.models.failures import is_out_of_memory
from hpcgeom.models.peers import Peers
from hpcgeom.models.transport import TAG_HEADER, TAG_HIDDEN, first_line, wait

AT_ONCE = 3
"""Batches between two processes: one that travels, one that waits, and one that is run."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_HEADER_SIZE, _MAX_DIM = 8, 5
_MARK, _END = 0x6870636765, -1
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """Hidden states of one batch.

    Attributes
    ----------
    number
        Of the batch, counted over the life of the model.
    hidden
        (B, T, D), contiguous.
    ready
        On a GPU, the event after which `hidden` has its values; None on a CPU.
    failure
        What was raised where there was no memory for `hidden`.
    """

    number: int
    hidden: torch.Tensor
    ready: Any = None
    failure: Exception | None = None


class _Link:
    """One end of the way between two processes, with a thread that sends or receives.

    Parameters
    ----------
    other
        Number of the process at the other end.
    look
        Called now and then while that one is waited for; what it raises ends that.
    """

    def __init__(
        self, peers: Peers, other: int, device: torch.device, look: Callable[[], None], *, through_host: bool
    ) -> None:
        self._peers, self._other, self._device = peers, other, device
        self._look, self._through_host, self._stream = look, through_host, _side_stream(device)

    def _join(self, thread: threading.Thread) -> None:
        while thread.is_alive():
            self._peers.check()
            thread.join(LOOK_EVERY_S)


class Outbox(_Link):
    """Sends hidden states to the next process, in order; see `_Link`."""

    def __init__(
        self, peers: Peers, device: torch.device, look: Callable[[], None], *, through_host: bool
    ) -> None:
        super().__init__(peers, peers.index + 1, device, look, through_host=through_host)
        self._places, self._has_place = threading.Semaphore(AT_ONCE), False
        self._waiting: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()
        self._thread = _started(self._send_all, "send")

    def is_ready(self, timeout_s: float) -> bool:
        """Whether there is a place for one more batch, within some time; it is kept for the next `put`."""
        self._has_place = self._has_place or self._places.acquire(blocking=False)
        if not self._has_place:
            with trace.span("wait", for_="send"):
                self._has_place = self._places.acquire(timeout=timeout_s)
        return self._has_place

    def put(self, number: int, hidden: torch.Tensor) -> None:
        """Hand over what is to be sent; waits while `AT_ONCE` batches are under way."""
        _patiently(self._look, self.is_ready)
        parcel = Parcel(number, hidden.contiguous(), _recorded(self._stream))
        self._has_place = False
        self._waiting.put(parcel)

    def close(self) -> None:
        """Wait until all has been sent, and say that nothing more comes."""
        self._waiting.put(None)
        self._join(self._thread)

    def _send_all(self) -> None:
        try:
            while (parcel := self._waiting.get()) is not None:
                with trace.span("send", batch=parcel.number, bytes=parcel.hidden.nbytes):
                    self._send(parcel)
                self._places.release()
            wait(dist.isend(_header(_END), self._other, tag=TAG_HEADER))
        except RuntimeError as error:
            _tell(self._peers, self._other, error)

    def _send(self, parcel: Parcel) -> None:
        wait(dist.isend(_header(parcel.number, parcel.hidden), self._other, tag=TAG_HEADER))
        if self._stream is None:
            wait(dist.isend(parcel.hidden, self._other, tag=TAG_HIDDEN))
            return
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(parcel.ready)
            if self._through_host:
                wait(dist.isend(parcel.hidden.cpu(), self._other, tag=TAG_HIDDEN))
            else:
                wait(dist.isend(parcel.hidden, self._other, tag=TAG_HIDDEN))
            self._stream.synchronize()  # until then `parcel` keeps the memory


class Inbox(_Link):
    """Receives hidden states from the process before, in order and ahead of their use; see `_Link`."""

    def __init__(
        self, peers: Peers, device: torch.device, look: Callable[[], None], *, through_host: bool
    ) -> None:
        super().__init__(peers, peers.index - 1, device, look, through_host=through_host)
        self._first, self._has_room = 0, threading.Event()
        self._arrived: queue.Queue[Parcel] = queue.Queue(1)
        self._next: Parcel | None = None
        self._thread = _started(self._receive_all, "receive")

    def is_ready(self, timeout_s: float) -> bool:
        """Whether one more batch has come, within some time; it is kept for the next `get`."""
        if self._next is None:
            with trace.span("wait", for_="receive"), contextlib.suppress(queue.Empty):
                self._next = self._arrived.get(timeout=timeout_s)
        if self._next is not None and self._next.number < self._first:
            self._next = None
            self._has_room.set()
        return self._next is not None

    def get(self, number: int, like: torch.Tensor) -> torch.Tensor:
        """The hidden states of batch `number`, which have the shape and type of `like`.

        Raises
        ------
        InputError
            Something else came: the processes do not run the same batches.
        Exception
            There was no memory for it.
        """
        _patiently(self._look, self.is_ready)
        parcel, self._next = self._next, None
        assert parcel is not None
        if parcel.failure is not None:
            raise parcel.failure
        found = (parcel.number, tuple(parcel.hidden.shape), parcel.hidden.dtype)
        expected = (number, tuple(like.shape), like.dtype)
        if found != expected:
            raise InputError(
                f"{self._peers.name(self._other)} sent batch, shape and type {found}, but "
                f"{self._peers.name(self._peers.index)} is at {expected}: they read different samples, or "
                "with different versions; make sure that all machines see the same files"
            )
        if parcel.ready is not None:
            torch.cuda.current_stream().wait_event(parcel.ready)
            parcel.hidden.record_stream(torch.cuda.current_stream())
        return parcel.hidden

    def begin_at(self, number: int) -> None:
        """Drop the batches before `number`, which may still come."""
        self._first = number
        self._has_room.set()

    def close(self) -> None:
        """Wait for the word that nothing more comes."""
        self._join(self._thread)

    def _receive_all(self) -> None:
        header = torch.empty(_HEADER_SIZE, dtype=torch.int64)
        try:
            while True:
                wait(dist.irecv(header, self._other, tag=TAG_HEADER))
                number, shape, dtype = _read_header(header)
                if number == _END:
                    return
                with trace.span("receive", batch=number):
                    parcel = self._receive(number, shape, dtype)
                self._arrived.put(parcel)
        except RuntimeError as error:
            _tell(self._peers, self._other, error)

    def _receive(self, number: int, shape: tuple[int, ...], dtype: torch.dtype) -> Parcel:
        if self._stream is None:
            hidden = self._room(number, shape, dtype)
            wait(dist.irecv(hidden, self._other, tag=TAG_HIDDEN))
            return Parcel(number, hidden)
        with torch.cuda.stream(self._stream):
            hidden = self._room(number, shape, dtype)
            if self._through_host:
                on_host = torch.empty(shape, dtype=dtype)
                wait(dist.irecv(on_host, self._other, tag=TAG_HIDDEN))
                hidden.copy_(on_host)
            else:
                wait(dist.irecv(hidden, self._other, tag=TAG_HIDDEN))
            return Parcel(number, hidden, self._stream.record_event())

    def _room(self, number: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory for a batch that comes; where there is none, whoever takes it is told, and makes room."""
        try:
            return _memory(shape, dtype, self._device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failure = Parcel(number, torch.empty(0), failure=error)
        self._has_room.clear()
        self._arrived.put(failure)
        self._has_room.wait()
        return _memory(shape, dtype, self._device)


def _header(number: int, hidden: torch.Tensor | None = None) -> torch.Tensor:
    values = [_MARK, number]
    if hidden is not None:
        values += [DTYPES.index(hidden.dtype), hidden.dim(), *hidden.shape]
    return torch.tensor(values + [0] * (_HEADER_SIZE - len(values)))


def _read_header(header: torch.Tensor) -> tuple[int, tuple[int, ...], torch.dtype]:
    mark, number, dtype, n_dims, *dims = header.tolist()
    if mark != _MARK or not 0 <= dtype < len(DTYPES) or not 0 <= n_dims < _MAX_DIM:
        raise RuntimeError(f"it sent what is no header of hidden states: {header.tolist()}")
    return number, tuple(dims[:n_dims]), DTYPES[dtype]


def _patiently(look: Callable[[], None], is_ready: Callable[[float], bool]) -> None:
    """Wait until something is ready; in between, `look` is called."""
    while not is_ready(LOOK_EVERY_S):
        look()


def _memory(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


def _tell(peers: Peers, other: int, error: RuntimeError) -> None:
    """Let all end: a connection to another process is gone, or this one has no memory left for it."""
    if is_out_of_memory(error):
        peers.fail(
            ResourceError(
                f"{peers.name(peers.index)}: memory ran out between two processes ({error}): end what else "
                "takes memory there, or use a device with more"
            )
        )
    else:
        peers.lost(other, first_line(error))


def _side_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def _recorded(stream: Any) -> Any:
    """On a GPU, the event that what this thread has computed is there."""
    return None if stream is None else torch.cuda.current_stream().record_event()


def _started(function: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread
