"""What others need from the scheduler, as functions with parsed answers.

Sources of the formats: the outputs of SLURM 22.05.8. Lines of another form, such as a banner that a site's
wrapper prints, are passed over; a fact that is not there is an error, never a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hpcgeom.launch.slurm.calling import SchedulerError, has, outside_a_job, run
from hpcgeom.launch.slurm.facts import Node, Partition, fields_of, node_of, partition_of

__all__ = [
    "Node",
    "Partition",
    "SchedulerError",
    "cancel",
    "controller_answers",
    "has",
    "max_array_size",
    "nodes",
    "outside_a_job",
    "partitions",
    "run",
]

PING_TIMEOUT_S = 10.0


def max_array_size() -> int:
    """One more than the largest index of an array job (``MaxArraySize``).

    Raises
    ------
    SchedulerError
        The controller does not answer, or does not say.
    """
    text = run("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", text, re.MULTILINE)
    if not found:
        raise SchedulerError(
            "`scontrol show config` does not say MaxArraySize: expected a line 'MaxArraySize = ...' among "
            f"the {len(text.splitlines())} that it wrote; call it by hand to see them"
        )
    return int(found[1])


def partitions() -> Mapping[str, Partition]:
    """The partitions which this user may see, by name.

    Raises
    ------
    SchedulerError
        The controller does not answer.
    """
    rows = _rows("partition", "PartitionName")
    return {row["PartitionName"]: partition_of(row) for row in rows}


def nodes() -> tuple[Node, ...]:
    """The nodes which this user may see.

    Raises
    ------
    SchedulerError
        The controller does not answer.
    """
    return tuple(node_of(row) for row in _rows("node", "NodeName"))


def _rows(kind: str, name: str) -> list[dict[str, str]]:
    lines = run("scontrol", "show", kind, "-o").splitlines()
    return [fields_of(line) for line in lines if line.startswith(f"{name}=")]


def controller_answers() -> bool:
    """Whether a controller of the cluster is up (``scontrol ping``); False where nobody can be asked."""
    try:
        text = run("scontrol", "ping", timeout_s=PING_TIMEOUT_S)
    except SchedulerError:
        return False
    return re.search(r"^Slurmctld\(.*\bis UP\s*$", text, re.MULTILINE) is not None


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs and elements of arrays, by id; one which is over or unknown is left as it is.

    Raises
    ------
    SchedulerError
        Some were not cancelled: the controller does not answer, or they belong to somebody else.
    """
    if ids:
        run("scancel", *ids)
