"""What every process does when: spans of time in the Chrome trace format, which Perfetto opens.

Nothing is measured unless `start` was called, here or in the process that started this one; then every
process writes a file of its own as it goes, so that a killed one leaves what it did.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Kind = Literal["compute", "read", "write", "wait", "send", "receive"]

VARIABLE = "HPCGEOM_TRACE"
"""Environment variable with the folder of the traces: processes that this one starts write theirs too."""

FLUSH_NS = 10**9
_OFF: AbstractContextManager[None] = nullcontext()


class _Writer:
    """The file of this process; it appears with the first spans."""

    def __init__(self, folder: Path) -> None:
        host, self._pid = socket.gethostname(), os.getpid()
        # Monotonic clocks of two hosts have nothing in common: times count from the epoch.
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._path = folder / f"{host}-{self._pid}-{time.time_ns()}.json"
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._descriptor: int | None = None
        self._is_closed = False
        self._flushed_ns = time.monotonic_ns()
        # Lines wait here, not in a file object: a forked process would write those of its parent again.
        self._lines: list[str] = []
        self._line(_name("process_name", self._pid, f"{host}, process {self._pid}"))

    def add(self, kind: str, began_ns: int, ended_ns: int, about: dict[str, Any]) -> None:
        """Note one span of this thread."""
        thread = threading.get_native_id()
        event = {
            "ph": "X",
            "name": kind,
            "pid": self._pid,
            "tid": thread,
            "ts": (began_ns + self._offset_ns) / 1000,
            "dur": (ended_ns - began_ns) / 1000,
            "args": about,
        }
        with self._lock:
            if self._is_closed:  # meanwhile, by another thread
                return
            if thread not in self._threads:
                self._threads.add(thread)
                name = threading.current_thread().name
                self._line({**_name("thread_name", self._pid, name), "tid": thread})
            self._line(event)
            if ended_ns - self._flushed_ns > FLUSH_NS:
                self._flush()

    def _line(self, event: dict[str, Any]) -> None:
        self._lines.append(json.dumps(event, default=str))

    def _flush(self, end: str = "") -> None:
        is_first = self._descriptor is None
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        begin = "[\n" if is_first else ",\n" if self._lines else ""
        os.write(self._descriptor, (begin + ",\n".join(self._lines) + end).encode())
        self._lines.clear()
        self._flushed_ns = time.monotonic_ns()

    def close(self) -> None:
        """End the file as JSON; no file where there was no span."""
        with self._lock:
            if self._threads and not self._is_closed:
                self._flush("\n]\n")
                assert self._descriptor is not None
                os.close(self._descriptor)
            self._is_closed = True


def _name(what: str, pid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "args": {"name": name}}


_writer: _Writer | None = None


class _Span:
    """Times its body."""

    __slots__ = ("_about", "_began_ns", "_kind", "_writer")

    def __init__(self, writer: _Writer, kind: str, about: dict[str, Any]) -> None:
        self._writer, self._kind, self._about = writer, kind, about
        self._began_ns = 0

    def __enter__(self) -> None:
        self._began_ns = time.monotonic_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.add(self._kind, self._began_ns, time.monotonic_ns(), self._about)


def start(folder: Path) -> None:
    """Write the spans of this process, and of all that it starts from now on, into files of `folder`."""
    os.environ[VARIABLE] = str(folder)
    _begin()


def stop() -> None:
    """Close the file of this process; processes that it starts from now on write none."""
    os.environ.pop(VARIABLE, None)
    _end()


def span(kind: Kind, **about: Any) -> AbstractContextManager[None]:
    """Time the body as one span of this thread; nothing at all happens where no trace was started.

    Parameters
    ----------
    kind
        What the time goes into. A span inside another takes its time from it.
    about
        What it is about, such as ``unit=3, batch=7``; shown beside the span.
    """
    writer = _writer
    return _OFF if writer is None else _Span(writer, kind, about)


def _begin() -> None:
    global _writer
    folder = os.environ.get(VARIABLE)
    if folder and _writer is None:
        _writer = _Writer(Path(folder).absolute())


def _end() -> None:
    global _writer
    writer, _writer = _writer, None
    if writer is not None:
        writer.close()


def _after_fork() -> None:
    """A forked process writes a file of its own: that of its parent is not its to write to."""
    global _writer
    if _writer is not None:
        _writer = None
        _begin()


_begin()
atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
