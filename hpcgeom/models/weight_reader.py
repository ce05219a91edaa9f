"""Tensors from safetensors files into memory that is there already, on the host or on a device.

Files are read, not mapped: pages of a mapping count as resident memory, and stay.
"""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

from hpcgeom import trace
from hpcgeom.models.checkpoint import Stored, byte_ranges
from hpcgeom.models.host_memory import PAGE_BYTES, large_pages
from hpcgeom.models.raw_files import bytes_of, read_at

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types that safetensors and torch name, of tensors that can be read into memory of another such type."""
STAGED_BYTES = 16 * 2**20
"""What is read at once of a tensor that goes to a device or changes its type."""
CACHED_SHARE = 0.5
"""Files that are larger than this share of the memory would only push each other out of the page cache: they
are read past it, which also costs the processor less."""
DEVICE_READERS = 4
"""Threads that read for a device; on the host one does, since the others compute."""


@dataclass(frozen=True, slots=True)
class _Source:
    descriptor: int
    is_direct: bool
    path: Path
    offset: int
    n_bytes: int
    dtype: torch.dtype


@dataclass(slots=True, eq=False)
class _Stage:
    """Memory of the host on the way to another place, and what says that it may be used again."""

    memory: torch.Tensor
    sent: Any = None


@dataclass(slots=True, eq=False)
class WeightReader:
    """Reads tensors in the background.

    Parameters
    ----------
    stored
        Where on disk each tensor is, by its name in the model.
    device
        Where the memory to be filled is.

    Attributes
    ----------
    n_bytes_read
        Bytes asked of the files so far.
    """

    stored: Mapping[str, Stored]
    device: torch.device
    n_bytes_read: int = field(default=0, init=False)
    _sources: dict[str, _Source] = field(default_factory=dict, init=False)
    _files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False)
    _stages: queue.SimpleQueue[_Stage] = field(default_factory=queue.SimpleQueue, init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _stream: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._open()
        on_device = self.device.type == "cuda"
        n_readers = DEVICE_READERS if on_device else 1
        self._threads = ThreadPoolExecutor(n_readers, thread_name_prefix="weights")
        self._stream = torch.cuda.Stream(self.device) if on_device else None
        for _ in range(2 * n_readers if on_device else 1):
            self._stages.put(_Stage(_staging(STAGED_BYTES + 2 * PAGE_BYTES, on_device)))

    def _open(self) -> None:
        paths = {place.file for place in self.stored.values()}
        past_cache = sum(path.stat().st_size for path in paths) > CACHED_SHARE * psutil.virtual_memory().total
        opened = {path: _open(path, past_cache) for path in paths}
        ranges = {path: byte_ranges(path) for path in paths}
        for descriptor, _ in opened.values():
            self._files.callback(os.close, descriptor)
        for name, place in self.stored.items():
            begin, end = ranges[place.file][place.key]
            where = (*opened[place.file], place.file)
            self._sources[name] = _Source(*where, begin, end - begin, FLOATS[place.dtype])

    def begin(self, targets: Mapping[str, torch.Tensor]) -> list[Future[None]]:
        """Start to read tensors into `targets`, contiguous memory of any floating type, by name.

        On a device, what is computed so far is waited for: it may still use that memory.
        """
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        self.n_bytes_read += sum(self._sources[name].n_bytes for name in targets)
        return [self._threads.submit(self._read, name, into) for name, into in targets.items()]

    def end(self, reads: list[Future[None]]) -> None:
        """Wait until what `begin` started can be computed with.

        Raises
        ------
        InputError
            A file cannot be read, or is shorter than when it was opened.
        """
        for read in reads:
            read.result()
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def close(self) -> None:
        """End the threads and close the files."""
        self._threads.shutdown(cancel_futures=True)
        self._files.close()

    def _read(self, name: str, target: torch.Tensor) -> None:
        with trace.span("read", tensor=name):
            self._read_from(self._sources[name], target)

    def _read_from(self, source: _Source, target: torch.Tensor) -> None:
        is_plain = self._stream is None and source.dtype == target.dtype
        if is_plain and not source.is_direct:
            read_at(source.descriptor, bytes_of(target), source.offset, source.path)
            return
        flat = target.flatten()
        for start in range(0, source.n_bytes, STAGED_BYTES):
            n_bytes = min(STAGED_BYTES, source.n_bytes - start)
            with self._stage() as stage, torch.inference_mode():
                raw = _staged(source, start, n_bytes, stage)
                if is_plain:
                    bytes_of(flat)[start : start + n_bytes] = bytes_of(raw)
                    continue
                if raw.storage_offset() % source.dtype.itemsize:
                    raw = raw.clone()
                values, first = raw.view(source.dtype), start // source.dtype.itemsize
                self._send(stage, values, flat[first : first + len(values)])

    @contextlib.contextmanager
    def _stage(self) -> Iterator[_Stage]:
        stage = self._stages.get()
        try:
            if stage.sent is not None:
                stage.sent.synchronize()
            yield stage
        finally:
            self._stages.put(stage)

    def _send(self, stage: _Stage, values: torch.Tensor, target: torch.Tensor) -> None:
        if self._stream is None:
            target.copy_(values)
            return
        with torch.cuda.stream(self._stream):
            target.copy_(values.to(self.device, non_blocking=True))
            stage.sent = self._stream.record_event()


def _open(path: Path, past_cache: bool) -> tuple[int, bool]:
    """A file to read from, and whether it is read past the page cache: not every file system can."""
    if past_cache:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_DIRECT), True
    return os.open(path, os.O_RDONLY), False


def _staging(n_bytes: int, pinned: bool) -> torch.Tensor:
    return torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True) if pinned else large_pages(n_bytes)


def _staged(source: _Source, start: int, n_bytes: int, stage: _Stage) -> torch.Tensor:
    """Bytes of a tensor, from its byte `start` on, in the memory of a stage; whole pages are read."""
    begin = source.offset + start
    before = begin % PAGE_BYTES
    whole = -(-(before + n_bytes) // PAGE_BYTES) * PAGE_BYTES
    memory = bytes_of(stage.memory[:whole])
    read_at(source.descriptor, memory, begin - before, source.path, before + n_bytes)
    return stage.memory[before : before + n_bytes]
