"""Traces of a run's processes: one file for Perfetto, and what their time went into."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcgeom.errors import InputError
from hpcgeom.store import files

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProcessTime:
    """What the time of one process went into.

    Attributes
    ----------
    name
        Host and process.
    seconds
        From the begin of its first span to the end of its last.
    shares
        By kind, the time inside spans of all threads, spans within them left out, divided by `seconds`.
        Threads work at the same time: the sum may exceed 1.
    """

    name: str
    seconds: float
    shares: Mapping[str, float]


def merge(folder: Path, target: Path) -> list[ProcessTime]:
    """Put the traces of a folder into one file that Perfetto opens, and add up where the time went.

    Processes are numbered in the order of their files: two hosts may know one number each.

    Raises
    ------
    InputError
        The folder holds no trace.
    """
    traces = [read(path) for path in sorted(folder.glob("*.json"))]
    if not traces:
        raise InputError(
            f"{folder} holds no trace: expected what hpcgeom run --profile-trace writes there: name its "
            "folder"
        )
    events = [{**event, "pid": number} for number, trace in enumerate(traces, 1) for event in trace]
    files.write_atomic(target, (json.dumps({"traceEvents": events}) + "\n").encode())
    return [time_of(trace) for trace in traces]


def read(path: Path) -> list[Event]:
    """The events of one process; a killed one left its last line incomplete, or no end."""
    found: list[Event] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line.rstrip(",")))
        except ValueError:
            continue
    return [event for event in found if isinstance(event, dict)]


def time_of(events: Sequence[Event]) -> ProcessTime:
    """What the time of a process went into."""
    names = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    threads: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["tid"]].append(event)
    spans = [span for each in threads.values() for span in each]
    if not spans:
        return ProcessTime(names[0] if names else "unknown", 0.0, {})
    total = max(span["ts"] + span["dur"] for span in spans) - min(span["ts"] for span in spans)
    inside: dict[str, float] = defaultdict(float)
    for each in threads.values():
        for kind, own in _own_times(each):
            inside[kind] += own
    shares = {kind: inside[kind] / total if total else 0.0 for kind in sorted(inside)}
    return ProcessTime(names[0] if names else "unknown", total / 1e6, shares)


def _own_times(spans: Iterable[Event]) -> list[tuple[str, float]]:
    """Kind and time of each span of a thread, without the spans inside it."""
    own: list[tuple[str, float]] = []
    around: list[tuple[float, int]] = []  # end, and place in `own`, of the spans that are open
    for span in sorted(spans, key=lambda span: (span["ts"], -span["dur"])):
        while around and around[-1][0] <= span["ts"]:
            around.pop()
        if around:
            kind, time = own[around[-1][1]]
            own[around[-1][1]] = (kind, time - span["dur"])
        around.append((span["ts"] + span["dur"], len(own)))
        own.append((span["name"], span["dur"]))
    return own


def lines(times: Iterable[ProcessTime]) -> list[str]:
    """One line a process, for people."""
    return [
        f"{each.name}: {each.seconds:.1f} s, "
        + ", ".join(f"{kind} {share:.0%}" for kind, share in each.shares.items())
        for each in times
    ]
