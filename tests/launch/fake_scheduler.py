"""A scheduler's commands that answer from a script: the only commands on the PATH.

The outputs below were recorded from SLURM 22.05.8 with two nodes; parts that nobody reads are left out.
Where times are numbers, `SLURM_TIME_FORMAT` was `%s`.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

CONTROLLER_IS_DOWN = "Unable to contact slurm controller (connect failure)"
ACCOUNTING_IS_OFF = (
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to "
    "host:localhost:21111: Connection refused\n"
    "sacct: error: Sending PersistInit msg: Connection refused\n"
    "sacct: error: Problem talking to the database: Connection refused"
)
BANNER = "*** Maintenance on Monday | 12 nodes | all | day ***\nWelcome to the cluster\n\n"

CONFIG = """Configuration data as of 1795606750
AccountingStorageBackupHost = (null)
ClusterName             = lab
KillWait                = 5 sec
MaxArraySize            = 20
SLURM_VERSION           = 22.05.8
"""
PARTITIONS = (
    "PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "DefaultTime=NONE DisableRootJobs=NO ExclusiveUser=NO GraceTime=0 Hidden=NO MaxNodes=UNLIMITED "
    "MaxTime=UNLIMITED MinNodes=0 LLN=NO Nodes=n[1-2] PreemptMode=OFF State=UP TotalCPUs=8 TotalNodes=2 "
    "SelectTypeParameters=NONE JobDefaults=(null) TRES=cpu=8,mem=8000M,node=2,billing=8\n"
    "PartitionName=low AllowGroups=ALL AllowAccounts=root,lab AllowQos=normal AllocNodes=ALL Default=NO "
    "QoS=N/A DefaultTime=NONE GraceTime=12 Hidden=NO MaxNodes=UNLIMITED MaxTime=1-12:00:00 MinNodes=0 "
    "Nodes=n[1-2] PreemptMode=REQUEUE State=UP TotalCPUs=8 TotalNodes=2 TRES=cpu=8,mem=8000M\n"
    "PartitionName=shut AllowGroups=ALL DenyAccounts=guests,poor AllowQos=ALL Default=NO GraceTime=0 "
    "MaxTime=01:00:00 Nodes=n2 PreemptMode=REQUEUE State=DOWN TotalCPUs=4 TotalNodes=1 TRES=cpu=4\n"
)
NODES = (
    "NodeName=n1 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=4 CPUTot=4 CPULoad=0.24 "
    "AvailableFeatures=a100,ib ActiveFeatures=a100,ib Gres=gpu:2 NodeAddr=127.0.0.1 NodeHostName=vm "
    "Port=21102 Version=22.05.8 OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=4000 AllocMem=0 "
    "FreeMem=21243 State=IDLE ThreadsPerCore=1 Owner=N/A Partitions=main,low  BootTime=1795593427 "
    "CfgTRES=cpu=4,mem=4000M,billing=4 AllocTRES= CapWatts=n/a\n"
    "NodeName=n2 Arch=x86_64 CoresPerSocket=1  CPUAlloc=0 CPUEfctv=4 CPUTot=4 CPULoad=0.24 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=(null) NodeAddr=127.0.0.1 NodeHostName=vm "
    "OS=Linux 6.18.44 #1 SMP PREEMPT_DYNAMIC @0  RealMemory=8000 State=DOWN*+DRAIN ThreadsPerCore=1 "
    "Partitions=main,low,shut  CfgTRES=cpu=4,mem=4000M Reason=State=IDLE is a lie CPUTot=99 [root@now]\n"
)
QUEUE = """3_[5,7,9%1]|PENDING|0|0|JobArrayTaskLimit|
4|PENDING|0|0|Dependency|
5|PENDING|0|0|JobHeldUser|
6|PENDING|0|0|PartitionDown|
48_[0-18:2]|PENDING|0|0|BeginTime|
49|PENDING|1|0|job requeued in held state|
1|RUNNING|0|0|None|
3_3|RUNNING|0|0|None|
32|COMPLETING|0|15|None|
2_0|COMPLETED|0|0|None|
2_1|FAILED|0|768|NonZeroExitCode|
7|FAILED|0|9|JobLaunchFailure|
34|TIMEOUT|0|15|TimeLimit|
36|CANCELLED|1|0|BeginTime|
40|PREEMPTED|0|15|None|
"""
# DBIndex, JobID, ExitCode, State; a requeued job has several rows, in no certain order.
ACCOUNTING = """3|2_1|3:0|FAILED
2|2_0|0:0|COMPLETED
32|3_3|0:0|CANCELLED by 0
21|3_[5,7,9%1]|0:0|CANCELLED by 0
74|39|0:0|PREEMPTED
79|39|0:0|COMPLETED
82|43|0:0|PREEMPTED
67|36|0:0|REQUEUED
64|58|0:0|TIMEOUT
"""
_JOB = (
    "JobId={job_id} {array}JobName={name} UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901750 "
    "Nice=0 Account=root QOS=normal JobState={state} Reason={reason} Dependency=(null) Requeue=1 "
    "Restarts={restarts} BatchFlag=1 Reboot=0 ExitCode={exit_code} RunTime={run_time} TimeLimit=00:10:00 "
    "TimeMin=N/A SubmitTime=1795606775 EligibleTime=1795606775 StartTime={start} EndTime={end} "
    "{preempt}Deadline=N/A SuspendTime=None SecsPreSuspend=0 LastSchedEval=1795606776 Scheduler=Main "
    "Partition=main AllocNode:Sid=localhost:18650 ReqNodeList=(null) NodeList=n1 BatchHost=n1 NumNodes=1 "
    "CPUs/Task=1 ReqB:S:C:T=0:0:*:* TRES=cpu=1,mem=50M,node=1,billing=1 Command=(null) WorkDir=/tmp/a b "
    "StdOut=/tmp/a b/requeue-31.log Power=\n"
)


def job_line(
    state: str,
    *,
    job_id: str = "31",
    elements: str = "",
    name: str = "requeue",
    reason: str = "None",
    restarts: int = 0,
    exit_code: str = "0:0",
    run_time: str = "00:00:00",
    start: int | str = 1795606776,
    end: int | str = 1795607376,
    preempt: int | str = "",
) -> str:
    """One line of ``scontrol show job -o``; `job_id` is the array's where there are `elements`."""
    array = f"ArrayJobId={job_id} ArrayTaskId={elements} ArrayTaskThrottle=1 " if elements else ""
    times = f"PreemptEligibleTime={start} PreemptTime={preempt} " if preempt != "" else ""
    return _JOB.format(**{**locals(), "preempt": times})


class FakeScheduler:
    """Commands in a folder that becomes the whole PATH.

    Parameters
    ----------
    folder
        An empty folder.
    monkeypatch
        Of the test.
    """

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self._answers: dict[str, list[str]] = {}
        monkeypatch.setenv("PATH", str(folder))

    def says(
        self,
        command: str,
        stdout: str = "",
        *,
        when: str = "",
        stderr: str = "",
        code: int = 0,
        then: str = "",
    ) -> None:
        """Let `command` answer; with `when`, only where its arguments contain that; the last rule wins.

        `then` is a line of shell that is executed before it ends.
        """
        name = f"{command}-{len(self._answers.setdefault(command, []))}"
        (self.folder / f"{name}.out").write_text(stdout)
        (self.folder / f"{name}.err").write_text(f"{stderr}\n" if stderr else "")
        here = shlex.quote(str(self.folder))
        self._answers[command].insert(
            0,
            f"*{shlex.quote(when)}*) /bin/cat {here}/{name}.out; /bin/cat {here}/{name}.err >&2; "
            f"{then or ':'}; exit {code};;",
        )
        script = [
            "#!/bin/sh",
            f'printf "%s\\n" "$*" >> {here}/{command}.calls',
            f"/usr/bin/env > {here}/{command}.env",
            'case "$*" in',
            *self._answers[command],
            "esac",
            'echo "no answer was prepared for $*" >&2; exit 99',
        ]
        path = self.folder / command
        path.write_text("\n".join(script) + "\n")
        path.chmod(0o755)

    def hangs(self, command: str, when: str = "") -> None:
        """Let `command` wait in a child of its own, as wrapper scripts do."""
        self.says(command, when=when, then="/bin/sleep 60")

    def calls(self, command: str) -> list[str]:
        """The arguments of every call of `command`, each as one text."""
        path = self.folder / f"{command}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self, command: str) -> dict[str, str]:
        """The variables that the last call of `command` got."""
        lines = (self.folder / f"{command}.env").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines if "=" in line)


USER = str(os.getuid())
