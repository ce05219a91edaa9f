"""What a lab can be told, and the configuration files that follow from it."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab_processes import MARK, LabError

NODES = ("n1", "n2")
PARTITIONS = ("main", "low", "high")
# Seconds that a credential outlives the longest kill: a job that comes back to a node sooner than its own
# processes are gone there is held for ever as a duplicate.
_CREDENTIAL_MARGIN_S = 7


@dataclass(frozen=True, slots=True)
class LabOptions:
    """One cluster.

    Attributes
    ----------
    accounting
        Whether there are slurmdbd and its database; without them `sacct` fails.
    cpus
        CPUs of each node; more than the machine has are fine.
    memory_mb
        RealMemory of each node in MiB, which need not be there either. A job that asks for none gets an equal
        share for each CPU.
    max_array_size
        MaxArraySize: the largest array index is one less.
    grace_time_s
        GraceTime of the partition `low`.
    kill_wait_s
        KillWait: seconds between SIGTERM and SIGKILL. A requeued job may start 8 seconds after that.
    preempt_send_user_signal
        Whether a preempted job that was submitted with --signal gets that signal when the grace begins.
    over_memory_kill
        Whether a step that uses more memory than its job asked for is killed (looked at every second).
    """

    accounting: bool = True
    cpus: int = 4
    memory_mb: int = 16000
    max_array_size: int = 20
    grace_time_s: int = 6
    kill_wait_s: int = 5
    preempt_send_user_signal: bool = False
    over_memory_kill: bool = True

    def __post_init__(self) -> None:
        smallest = {
            "cpus": 1,
            "memory_mb": self.cpus,
            "max_array_size": 2,
            "grace_time_s": 0,
            "kill_wait_s": 1,
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise LabError(f"{name} is {getattr(self, name)}: give at least {least}")


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of the daemons."""

    controller: int
    accounting: int
    n1: int
    n2: int


def write_configuration(folder: Path, options: LabOptions, ports: Ports, first_job_id: int) -> None:
    """Write slurm.conf, gres.conf, the task prolog and, with accounting, slurmdbd.conf, for us alone."""
    texts = {
        "slurm.conf": _slurm(folder, options, ports, first_job_id),
        "gres.conf": f"NodeName={','.join(NODES)} Name=gpu File={_two_devices()}\n",
    }
    if options.accounting:
        texts["slurmdbd.conf"] = _slurmdbd(folder, ports)
    for name, text in texts.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    prolog = folder / "task_prolog.sh"
    prolog.write_text(f'#!/bin/sh\necho "export {MARK}={folder}:$SLURMD_NODENAME"\n', encoding="utf-8")
    prolog.chmod(0o700)


def _slurm(folder: Path, options: LabOptions, ports: Ports, first_job_id: int) -> str:
    host = socket.gethostname().partition(".")[0]
    user = pwd.getpwuid(os.geteuid()).pw_name
    sections = [
        _daemons(folder, options, ports, host, user),
        _scheduling(options, first_job_id),
        _accounting(folder, options, ports),
    ]
    lines = [f"{key}={value}" for section in sections for key, value in section.items()]
    for name in NODES:
        lines.append(
            f"NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={getattr(ports, name)} "
            f"CPUs={options.cpus} RealMemory={options.memory_mb} Gres=gpu:2 State=UNKNOWN"
        )
    nodes = f"Nodes={','.join(NODES)} MaxTime=INFINITE State=UP"
    lines += [
        f"PartitionName=main {nodes} Default=YES PriorityTier=1 PreemptMode=OFF",
        f"PartitionName=low {nodes} PriorityTier=1 PreemptMode=REQUEUE GraceTime={options.grace_time_s}",
        f"PartitionName=high {nodes} PriorityTier=10 PreemptMode=OFF",
    ]
    return "".join(f"{line}\n" for line in lines)


def _daemons(folder: Path, options: LabOptions, ports: Ports, host: str, user: str) -> Mapping[str, object]:
    expires_s = options.kill_wait_s + _CREDENTIAL_MARGIN_S
    return {
        "ClusterName": "lab",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports.controller,
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/run/munge.socket,cred_expire={expires_s}",
        "StateSaveLocation": f"{folder}/state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/run/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/run/slurmd-%n.pid",
        "SlurmctldLogFile": f"{folder}/log/slurmctld.log",
        "SlurmdLogFile": f"{folder}/log/%n.log",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "TaskProlog": f"{folder}/task_prolog.sh",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "SlurmdParameters": "config_overrides",
        "ReturnToService": 1,  # with 2, a node set down by hand would be up again at once
        "SlurmdTimeout": 10,
        "KillWait": options.kill_wait_s,
        "MinJobAge": 3600,
    }


def _scheduling(options: LabOptions, first_job_id: int) -> Mapping[str, object]:
    settings: dict[str, object] = {
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=2,bf_interval=2",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": options.memory_mb // options.cpus,
        "GresTypes": "gpu",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "MaxArraySize": options.max_array_size,
        "FirstJobId": first_job_id,
        "JobAcctGatherType": "jobacct_gather/linux",
        "JobAcctGatherFrequency": 1,
    }
    if options.over_memory_kill:
        settings["JobAcctGatherParams"] = "OverMemoryKill"
    if options.preempt_send_user_signal:
        settings["SlurmctldParameters"] = "preempt_send_user_signal"
    return settings


def _accounting(folder: Path, options: LabOptions, ports: Ports) -> Mapping[str, object]:
    if not options.accounting:
        return {"AccountingStorageType": "accounting_storage/none"}
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": ports.accounting,
        # Where the controller finds munge when it speaks with slurmdbd: AuthInfo is not asked there.
        "AccountingStoragePass": f"{folder}/run/munge.socket",
        "AccountingStorageTRES": "gres/gpu",
    }


def _slurmdbd(folder: Path, ports: Ports) -> str:
    settings = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder}/run/munge.socket",
        "DbdHost": "localhost",
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports.accounting,
        "SlurmUser": pwd.getpwuid(os.geteuid()).pw_name,
        "LogFile": f"{folder}/log/slurmdbd.log",
        "PidFile": f"{folder}/run/slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm_acct_db",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _two_devices() -> str:
    """Two character devices that stand for GPUs; jobs are told their numbers, nobody opens them."""
    for pair in (("/dev/tty10", "/dev/tty11"), ("/dev/null", "/dev/zero")):
        if all(Path(path).is_char_device() for path in pair):
            return ",".join(pair)
    raise LabError("neither /dev/tty10 and /dev/tty11 nor /dev/null and /dev/zero are character devices")
