"""What a profile asks for, against what the scheduler says the cluster has."""

from __future__ import annotations

import difflib
import getpass
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from hpcgeom.api import job_shapes
from hpcgeom.api.cluster_requests import STAGES
from hpcgeom.api.doctor import Wrong
from hpcgeom.data.wording import counted
from hpcgeom.launch.slurm import commands
from hpcgeom.launch.slurm.commands import Node, Partition, SchedulerError
from hpcgeom.manifest.profile_sections import Profile

MAX_NAMES = 10
"""Of a message."""
ACCOUNTING_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the scheduler says.

    Attributes
    ----------
    settings
        Of ``scontrol show config``.
    """

    settings: Mapping[str, str]
    partitions: Mapping[str, Partition]
    nodes: tuple[Node, ...]

    @classmethod
    def asked(cls) -> Facts:
        """Ask for them.

        Raises
        ------
        SchedulerError
            It does not answer.
        """
        lines = commands.run("scontrol", "show", "config").splitlines()
        found = [re.fullmatch(r"(\w+)\s*=\s*(.*?)\s*", line) for line in lines]
        settings = {match[1]: match[2] for match in found if match}
        return cls(settings, commands.partitions(), commands.nodes())

    def enforces(self, what: str) -> bool:
        """Whether the cluster enforces ``associations`` (accounts), ``qos`` and so on."""
        return what in self.settings.get("AccountingStorageEnforce", "").split(",")


def check_accounting(facts: Facts) -> str:
    """Whether sacct answers; nothing depends on it."""
    instead = "states of jobs come from squeue and from the records of the run"
    if facts.settings.get("AccountingStorageType", "").endswith("/none"):
        return f"off: {instead}"
    try:
        commands.run("sacct", "-n", "-X", "-S", "now", timeout_s=ACCOUNTING_TIMEOUT_S)
    except SchedulerError as error:
        return f"does not answer now, and nothing depends on it: {instead} ({error})"
    return "sacct answers"


def check_array_size(profile: Profile) -> str:
    """Whether arrays of the profile's size are accepted."""
    size, ours = commands.max_array_size(), profile.slurm.max_array_size
    if ours is not None and ours > size:
        raise Wrong(
            f"slurm.max_array_size: expected at most the cluster's MaxArraySize {size}, found {ours}: "
            "lower it, or leave it out"
        )
    size, section = ours or size, profile.extract
    if section.units_per_job is None and section.jobs > size:
        n_arrays = ceil(section.jobs / size)
        return f"{size}: the {section.jobs} of extract.jobs are split into {n_arrays} arrays"
    return f"{size}: larger arrays are split"


def partition_keys(profile: Profile) -> dict[str | None, list[str]]:
    """The partitions that a profile names, and by which keys; None is the cluster's own."""
    found: dict[str | None, list[str]] = {}
    for stage in STAGES:
        own = profile.job(stage).partition
        keys = found.setdefault(own or profile.slurm.partition, [])
        key = f"{stage}.partition" if own else "slurm.partition"
        keys += [key] if key not in keys else []
    return found


def check_partition(facts: Facts, names: str | None, key: str) -> str:
    """Whether a partition, or one of several with commas, is there and starts jobs."""
    found = _partitions(facts, names, key)
    if not (up := [partition for partition in found if partition.state == "UP"]):
        states = ", ".join(f"{partition.name} {partition.state}" for partition in found)
        raise Wrong(
            f"{key}: expected a partition that is UP, found {states}: jobs would wait or be refused; "
            f"wait, ask the administrators, or name another ({_some(_up(facts))})"
        )
    return ", ".join(
        f"{partition.name} is {partition.state}, {counted(partition.n_nodes, 'node')}" for partition in up
    )


def _partitions(facts: Facts, names: str | None, key: str = "slurm.partition") -> list[Partition]:
    if names is None:
        default = [partition for partition in facts.partitions.values() if partition.default]
        if default:
            return default
        raise Wrong(
            f"{key}: expected a partition, because the cluster has no default, found none: name one of "
            f"{_some(list(facts.partitions))}"
        )
    for name in names.split(","):
        if name not in facts.partitions:
            raise Wrong(
                f"{key}: expected one of the cluster's partitions, found '{name}': "
                f"{_instead(name, list(facts.partitions))}"
            )
    return [facts.partitions[name] for name in names.split(",")]


def _up(facts: Facts) -> list[str]:
    return [partition.name for partition in facts.partitions.values() if partition.state == "UP"]


def check_walltime(facts: Facts, profile: Profile, stage: str) -> str:
    """Whether the partition of a stage lets jobs run that long."""
    section = profile.job(stage)
    up = [found for found in _partitions(facts, profile.slurm_of(stage)["partition"]) if found.state == "UP"]
    limits = [partition.max_time_s for partition in up]
    if None in limits:
        return f"{section.walltime}; there is no limit"
    longest = max((limit for limit in limits if limit is not None), default=0.0)
    if section.walltime_s <= longest:
        return f"{section.walltime}, at most {_hours(longest)}"
    others = [
        partition.name
        for partition in facts.partitions.values()
        if partition.state == "UP" and (partition.max_time_s or section.walltime_s) >= section.walltime_s
    ]
    raise Wrong(
        f"{stage}.walltime: expected at most {_hours(longest)}, MaxTime of {_some([p.name for p in up])}, "
        f"found {section.walltime}: lower it"
        + (f", or name a partition that allows it ({_some(others)})" if others else "")
    )


def _hours(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    return (f"{days}-" if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def check_nodes(facts: Facts, profile: Profile, stage: str) -> str:
    """Whether there are nodes for a job of a stage that are not down, and have what it asks for."""
    where, shape = profile.slurm_of(stage), job_shapes.largest(profile, stage)
    nodes = nodes_of(facts, where["partition"])
    names = _some([partition.name for partition in _partitions(facts, where["partition"])])
    constraint = where["constraint"]
    if constraint is not None and re.fullmatch(r"[\w.:=+-]+", constraint):
        features = sorted({feature for node in nodes for feature in node.features})
        nodes = [node for node in nodes if constraint in node.features]
        if not nodes:
            raise Wrong(
                f"constraint of {stage}: expected a feature of nodes of {names}, found '{constraint}': "
                + (_instead(constraint, features) if features else "leave it out, they have none")
            )
    large = [node for node in nodes if shape.fits(node)]
    needed = f"{counted(shape.nodes, 'node')} of {names} with {shape}"
    if len(large) < shape.nodes:
        raise Wrong(
            f"{stage}: expected {needed} for one job, found {len(large)} ({_largest(nodes)}): ask for less "
            f"in {stage}, or name another partition"
        )
    usable = [node for node in large if node.is_usable]
    if len(usable) < shape.nodes:
        states = _some([f"{node.name} {node.state}" for node in large if not node.is_usable])
        raise Wrong(
            f"{stage}: expected {needed} that can be used, found {len(usable)} ({states}): wait until they "
            "are back, or name another partition"
        )
    return f"{len(usable)} of {len(nodes)} nodes of {names} have {shape} and can be used"


def nodes_of(facts: Facts, partition: str | None) -> list[Node]:
    """The nodes of a partition, or of several."""
    names = {found.name for found in _partitions(facts, partition)}
    return [node for node in facts.nodes if names & set(node.partitions)]


def _largest(nodes: Sequence[Node]) -> str:
    if not nodes:
        return "it has no nodes"
    memory = max(node.memory_mb for node in nodes) / 1024
    return (
        f"the most that one has: {max(node.cpus for node in nodes)} CPUs, {memory:.2f} GiB, "
        f"{max(node.gres_gpus for node in nodes)} GPUs"
    )


def check_node_facts(facts: Facts, profile: Profile, stage: str) -> str:
    """Whether what the profile says of the nodes of a stage is not more than any of them has."""
    said, nodes = profile.node_of(stage), nodes_of(facts, profile.slurm_of(stage)["partition"])
    has: tuple[tuple[str, float | None, list[float]], ...] = (
        ("cpus", said.cpus, [node.cpus for node in nodes]),
        ("memory_gb", said.memory_gb, [node.memory_mb / 1024 for node in nodes]),
        ("gpus", said.gpus, [node.gres_gpus for node in nodes]),
    )
    wrong = [
        f"node.{key}: expected at most {max(real, default=0):.4g}, found {value:g}"
        for key, value, real in has
        if value is not None and value > max(real, default=0) + 0.005
    ]
    if wrong:
        raise Wrong(
            f"{'; '.join(wrong)} (no node of {stage} has more, as `scontrol show node` says): correct the "
            "profile, or jobs that cannot start are not refused"
        )
    return "no node is said to have more than it has"


def check_account(facts: Facts, account: str | None, qos: str | None) -> str:
    """Whether this user may use an account and a quality of service, where the cluster cares."""
    if not facts.enforces("associations"):
        return "the cluster does not enforce accounts"
    user = getpass.getuser()
    rows = _associations(user)
    accounts = sorted({row[0] for row in rows if row[0]})
    if not accounts or (account is not None and account not in accounts):
        raise Wrong(
            f"account: expected one that user {user} has, found {account or 'none'}: "
            + (_instead(account or "", accounts) if accounts else "ask the administrators for one")
        )
    allowed = sorted(
        {name for row in rows if account in (None, row[0]) for name in row[1].split(",") if name}
    )
    if qos is not None and facts.enforces("qos") and qos not in allowed:
        raise Wrong(f"qos: expected one that user {user} has, found '{qos}': {_instead(qos, allowed)}")
    return f"{account or 'the default account'}{f', {qos}' if qos else ''}"


def _associations(user: str) -> list[tuple[str, str]]:
    text = commands.run(
        *("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=Account,QOS"),
        timeout_s=ACCOUNTING_TIMEOUT_S,
    )
    rows = (line.split("|") for line in text.splitlines())
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def accounts_of(profile: Profile) -> Iterator[tuple[str | None, str | None]]:
    """The distinct pairs of account and quality of service of a profile."""
    where = [profile.slurm_of(stage) for stage in STAGES]
    yield from dict.fromkeys((place["account"], place["qos"]) for place in where)


def _instead(name: str, known: Sequence[str]) -> str:
    if near := difflib.get_close_matches(name, known, 1, 0.5):
        return f"write {near[0]}" + (f" (there are {_some(known)})" if len(known) > 1 else "")
    return f"name one of {_some(known)}" if known else "leave it out, there is none"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
