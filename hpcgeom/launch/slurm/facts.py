"""What `scontrol show` says about a partition and a node, and the text forms in which it says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_UNUSABLE = frozenset(
    {"DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL", "INVALID_REG"}
    | {"MAINT", "NOT_RESPONDING", "UNKNOWN"}
)
_ABSENT = frozenset({"", "(null)", "N/A", "NONE", "UNLIMITED", "INFINITE"})


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition.

    Parameters
    ----------
    state
        ``UP``, ``DOWN`` (jobs wait), ``DRAIN`` or ``INACTIVE`` (nothing can be submitted).
    max_time_s
        The longest walltime, in seconds; None where there is no limit.
    default
        Whether it is the one of jobs that name none.
    n_nodes
        How many nodes it has.
    """

    name: str
    state: str
    max_time_s: float | None
    default: bool
    n_nodes: int


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Parameters
    ----------
    state
        As SLURM writes it, such as ``IDLE``, ``MIXED``, ``DOWN*+DRAIN``.
    memory_mb
        What jobs may have of it (``RealMemory``), in MiB.
    gres_gpus
        How many GPUs it has.
    """

    name: str
    state: str
    cpus: int
    memory_mb: int
    features: tuple[str, ...]
    gres_gpus: int
    partitions: tuple[str, ...]

    @property
    def is_usable(self) -> bool:
        """Whether jobs can start on it: now, when those on it are over, or when its power is switched on."""
        words = re.split(r"[^A-Z_]+", self.state)
        return "*" not in self.state and _UNUSABLE.isdisjoint(words)


def fields_of(line: str) -> dict[str, str]:
    """The ``Key=Value`` pairs of one line of ``scontrol show ... -o``.

    Values may have spaces inside. Of a key that comes twice the first is taken; the name of a job, in which a
    user may write what looks like other keys, is left out.
    """
    line = re.sub(r"(?<= )JobName=.* (?=UserId=\S+\(\d+\) GroupId=)", "", line, count=1)
    found: dict[str, str] = {}
    starts = list(re.finditer(r"(?:^|(?<=\s))([A-Za-z][\w:/]*)=", line))
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        value = line[start.end() : following.start() if following else len(line)]
        found.setdefault(start[1], value.strip())
    return found


def duration_s(text: str) -> float | None:
    """Seconds of a time such as ``1-12:00:00``, ``01:00:00`` or ``30:00``; None where there is no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def partition_of(fields: Mapping[str, str]) -> Partition:
    """A partition from the line that describes it."""
    return Partition(
        name=fields["PartitionName"],
        state=fields.get("State", ""),
        max_time_s=duration_s(fields.get("MaxTime", "")),
        default=fields.get("Default") == "YES",
        n_nodes=int(fields.get("TotalNodes", "0")),
    )


def node_of(fields: Mapping[str, str]) -> Node:
    """A node from the line that describes it."""
    return Node(
        name=fields["NodeName"],
        state=fields.get("State", ""),
        cpus=int(fields.get("CPUTot", "0")),
        memory_mb=int(fields.get("RealMemory", "0")),
        features=_names(fields.get("ActiveFeatures", "")),
        gres_gpus=_n_gpus(fields.get("Gres", "")),
        partitions=_names(fields.get("Partitions", "")),
    )


def _n_gpus(gres: str) -> int:
    """The GPUs of a list such as ``gpu:a100:4(S:0-1),shard:16``; a kind without a number is one."""
    without_sockets = re.sub(r"\([^)]*\)", "", gres)
    gpus = (part.split(":") for part in without_sockets.split(",") if part.split(":")[0] == "gpu")
    return sum(int(words[-1]) if words[-1].isdecimal() else 1 for words in gpus)


def _names(text: str) -> tuple[str, ...]:
    return () if text in _ABSENT else tuple(text.split(","))
