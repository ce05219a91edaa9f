"""How much memory this machine has for the process: of all of it, what its limits allow."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
USABLE_SHARE = 0.95
"""Of all memory: the system needs the rest."""
_LIMITS = ("memory.max", "memory.limit_in_bytes")
"""Names of the file in version 2 and in version 1."""


def memory_bytes() -> int:
    """Bytes of memory that processes like this one may have together, whatever is in use now.

    The least of what the machine's system leaves, the limits of the control groups that the process is in,
    and what its job of SLURM has asked for.
    """
    import psutil

    return min([int(USABLE_SHARE * psutil.virtual_memory().total), *_limits(), *_of_job()])


def _limits() -> list[int]:
    """Limits of the control groups of this process and of those above; ``max`` is none."""
    found = []
    for line in _read(_OWN_CGROUP).splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        top = _CGROUPS / kinds
        folder = top / path.strip("/")
        for each in (folder, *folder.parents):
            found += [int(text) for name in _LIMITS if (text := _read(each / name).strip()).isdecimal()]
            if each == top:
                break
    return found


def _of_job() -> list[int]:
    """What the job of this process has of this node, in bytes."""
    of_node, of_cpu = (os.environ.get(f"SLURM_MEM_PER_{what}", "") for what in ("NODE", "CPU"))
    if of_node.isdecimal() and int(of_node):
        return [int(of_node) * 2**20]
    n_cpus = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if of_cpu.isdecimal() and n_cpus.isdecimal():
        return [int(of_cpu) * int(n_cpus) * 2**20]
    return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
