"""Tracing a run: spans of all processes end in one file, and a line a process says where the time went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcgeom import trace
from hpcgeom.api.progress import Progress
from hpcgeom.report import traces

FOLDER, FILE = "logs/trace", "logs/trace.json"
"""Below the run directory: one file a process, and all of them for Perfetto."""


@contextmanager
def tracing(root: Path, listener: Progress, *, wanted: bool) -> Iterator[None]:
    """Trace what the body and the processes that it starts do, if `wanted`; also where it fails.

    Traces of earlier attempts at the run are in the file too.
    """
    if not wanted:
        yield
        return
    trace.start(root / FOLDER)
    try:
        yield
    finally:
        trace.stop()
        if any((root / FOLDER).glob("*.json")):
            for line in traces.lines(traces.merge(root / FOLDER, root / FILE)):
                listener.say(f"time of {line}")
            listener.say(f"trace: {root / FILE} (open it in Perfetto)")
