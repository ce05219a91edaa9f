"""Calling a scheduler's commands: what they answer, and what happens where they do not."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from fake_scheduler import BANNER, CONFIG, CONTROLLER_IS_DOWN, NODES, PARTITIONS, FakeScheduler

from hpcgeom.errors import ResourceError
from hpcgeom.launch.slurm import commands
from hpcgeom.launch.slurm.calling import NOT_THERE
from hpcgeom.launch.slurm.commands import SchedulerError
from hpcgeom.launch.slurm.facts import duration_s, fields_of, node_of


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    return FakeScheduler(tmp_path, monkeypatch)


def test_a_command_gives_its_standard_output(scheduler):
    scheduler.says("scontrol", "hello\n", stderr="a warning")
    assert commands.run("scontrol", "show", "x y") == "hello\n"
    assert scheduler.calls("scontrol") == ["show x y"]


def test_output_that_is_no_text_is_no_error(scheduler):
    scheduler.says("scontrol", then="printf '\\377x'")
    assert commands.run("scontrol") == "\ufffdx"


def test_a_command_that_is_not_there_is_named_with_the_machine(scheduler):
    assert not commands.has("squeue")
    with pytest.raises(
        SchedulerError, match=r"`squeue` cannot be called on \S+ \(No such file.*login node"
    ) as found:
        commands.run("squeue", "-h")
    assert found.value.code == NOT_THERE
    assert isinstance(found.value, ResourceError)
    scheduler.says("squeue")
    assert commands.has("squeue")


@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        (f"slurm_load_jobs error: {CONTROLLER_IS_DOWN}", r"try again in a few minutes \(`scontrol ping`"),
        ("Unexpected message received for job 72", "try again in a few minutes"),
        ("sacct: error: Problem talking to the database: Connection refused", "try again in a few minutes"),
        ("sacct: fatal: Could not establish a configuration source", "login nodes, or set SLURM_CONF"),
        ("scancel: error: Kill job error on job id 3: Access/permission denied", "ask its administrators"),
        ("slurm_load_jobs error: Invalid job id specified", "`hpcgeom status`"),
        ("something else", "call it by hand"),
    ],
)
def test_a_command_that_fails_is_an_error_with_its_words_and_advice(scheduler, stderr, advice):
    scheduler.says("squeue", "half of it", stderr=stderr, code=8)
    with pytest.raises(SchedulerError, match=r"`squeue -h` failed with code 8 \(.*" + advice) as found:
        commands.run("squeue", "-h")
    assert found.value.code == 8
    assert found.value.stderr == stderr
    assert stderr in str(found.value)


def test_a_failure_without_a_word_says_so(scheduler):
    scheduler.says("squeue", code=1)
    with pytest.raises(SchedulerError, match=r"failed with code 1 \(no message\)"):
        commands.run("squeue")


def test_many_arguments_are_cut_short_in_a_message(scheduler):
    scheduler.says("scancel", stderr="no", code=1)
    with pytest.raises(SchedulerError) as found:
        commands.cancel([str(number) for number in range(1000)])
    assert "`scancel 0 1 2 3" in str(found.value)
    assert "...` failed" in str(found.value)
    assert len(str(found.value)) < 250


def test_a_command_that_hangs_is_ended_with_all_that_it_started(scheduler, tmp_path):
    scheduler.says("squeue", then=f"/bin/sleep 60 & echo $! > {tmp_path}/child; wait")
    start = time.monotonic()
    with pytest.raises(
        SchedulerError, match=r"`squeue -h` did not answer within 0\.5 s.*`scontrol ping`"
    ) as found:
        commands.run("squeue", "-h", timeout_s=0.5)
    assert time.monotonic() - start < 2.5
    assert found.value.code is None
    child = int((tmp_path / "child").read_text())
    assert _ends(child)


def _ends(pid: int) -> bool:
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_the_signals_that_end_a_job_do_not_end_the_command(scheduler, tmp_path):
    # SLURM sends them to every process of a step, and several times: also to what a handler has called.
    (tmp_path / "scontrol").write_text(
        f"#!{sys.executable} -IS\nimport os, signal\n"
        "for name in ('SIGTERM', 'SIGUSR1', 'SIGUSR2'):\n    os.kill(os.getpid(), getattr(signal, name))\n"
        "print('done')\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    assert commands.run("scontrol") == "done\n"
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)  # this process still hears them
    signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_commands_are_called_as_from_outside_of_a_job(scheduler, monkeypatch):
    for name, value in _IN_A_JOB.items():
        monkeypatch.setenv(name, value)
    scheduler.says("scontrol")
    commands.run("scontrol", variables={"SLURM_TIME_FORMAT": "%s"})
    found = scheduler.environment("scontrol")
    theirs = {name for name in found if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "PMI", "SUBMITIT_"))}
    assert theirs == {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_TIME_FORMAT"}
    assert "SQUEUE_PARTITION" not in found
    assert found["SLURM_CONF"] == "/etc/here"
    assert found["LC_ALL"] == "C"
    assert os.environ["SLURM_JOB_ID"] == "7"


_IN_A_JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_RESTART_COUNT": "2",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_MEM_PER_NODE": "100",
    "SLURM_CLUSTERS": "other",
    "SBATCH_PARTITION": "low",
    "SRUN_DEBUG": "3",
    "PMIX_RANK": "0",
    "PMI_RANK": "0",
    "SUBMITIT_EXECUTOR": "slurm",
    "SQUEUE_PARTITION": "low",
    "SLURM_CONF": "/etc/here",
    "SLURM_CONF_SERVER": "head:6817",
    "SLURM_JWT": "token",
}


def test_other_variables_stay_and_the_given_ones_are_not_changed():
    given = {**_IN_A_JOB, "HOME": "/home/me", "SLURMISH": "1", "PMIX": "1"}
    found = commands.outside_a_job(given)
    assert set(found) == {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "HOME", "SLURMISH", "PMIX"}
    assert len(given) == len(_IN_A_JOB) + 3


def test_facts_of_the_configuration(scheduler):
    scheduler.says("scontrol", BANNER + CONFIG, when="show config")
    assert commands.max_array_size() == 20


def test_a_fact_that_the_configuration_does_not_have_is_not_guessed(scheduler):
    scheduler.says("scontrol", CONFIG.replace("MaxArraySize", "OtherArraySize"))
    with pytest.raises(SchedulerError, match=r"does not say MaxArraySize: expected a line 'MaxArraySize = "):
        commands.max_array_size()
    scheduler.says("scontrol", stderr=f"slurm_load_ctl_conf error: {CONTROLLER_IS_DOWN}", code=1)
    with pytest.raises(SchedulerError, match=r"`scontrol show config` failed with code 1"):
        commands.max_array_size()


def test_partitions_with_their_limits(scheduler):
    scheduler.says("scontrol", BANNER + PARTITIONS, when="show partition -o")
    found = commands.partitions()
    assert list(found) == ["main", "low", "shut"]
    assert found["main"] == commands.Partition("main", "UP", None, True, 2)
    low = found["low"]
    assert (low.max_time_s, low.default) == (129600.0, False)
    shut = found["shut"]
    assert (shut.state, shut.max_time_s, shut.n_nodes) == ("DOWN", 3600.0, 1)


def test_nodes_with_what_they_have(scheduler):
    scheduler.says("scontrol", BANNER + NODES, when="show node -o")
    one, two = commands.nodes()
    assert one == commands.Node("n1", "IDLE", 4, 4000, ("a100", "ib"), 2, ("main", "low"))
    assert one.is_usable
    assert two == commands.Node("n2", "DOWN*+DRAIN", 4, 8000, (), 0, ("main", "low", "shut"))
    assert not two.is_usable


@pytest.mark.parametrize(
    ("state", "is_usable"),
    [
        ("IDLE", True),
        ("MIXED+PLANNED", True),
        ("ALLOCATED", True),
        ("IDLE+CLOUD+POWERED_DOWN", True),
        ("IDLE+DRAIN", False),
        ("IDLE*", False),
        ("DOWN+NOT_RESPONDING", False),
        ("IDLE+MAINT+RESERVED", False),
    ],
)
def test_jobs_start_on_nodes_that_are_up(state, is_usable):
    assert node_of({"NodeName": "n", "State": state}).is_usable is is_usable


@pytest.mark.parametrize(
    ("gres", "n_gpus"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu:a100:4(S:0-1)", 4),
        ("gpu:a100:4(S:0,1),gpu:v100:2,shard:16", 6),
        ("gpu:1g.5gb:7", 7),
        ("gpu", 1),
        ("gpu:a100", 1),
        ("shard:8,nic:2", 0),
    ],
)
def test_gpus_of_a_node_are_counted_over_their_kinds(gres, n_gpus):
    assert node_of({"NodeName": "n", "Gres": gres}).gres_gpus == n_gpus


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-12:00:00", 129600), ("01:00:00", 3600), ("30:05", 1805), ("UNLIMITED", None), ("NONE", None)],
)
def test_times_are_read_in_seconds(text, seconds):
    assert duration_s(text) == seconds


def test_the_name_of_a_job_cannot_pass_for_other_keys():
    found = fields_of(
        "JobId=3 JobName=a JobState=DONE b UserId=me(5) GroupId=us(5) JobState=RUNNING Reason=None"
    )
    assert found == {
        "JobId": "3",
        "UserId": "me(5)",
        "GroupId": "us(5)",
        "JobState": "RUNNING",
        "Reason": "None",
    }


def test_whether_the_controller_answers(scheduler):
    assert not commands.controller_answers()
    scheduler.says("scontrol", "Slurmctld(primary) at vm is UP\n", when="ping")
    assert commands.controller_answers()
    scheduler.says("scontrol", "Slurmctld(primary) at vm is DOWN\n***\n** RESTORE SLURMCTLD DAEMON **\n")
    assert not commands.controller_answers()
    scheduler.says("scontrol", "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n")
    assert commands.controller_answers()


def test_jobs_are_cancelled_in_one_call_and_none_without_ids(scheduler):
    commands.cancel([])
    scheduler.says("scancel")
    commands.cancel(["12", "13_4"])
    assert scheduler.calls("scancel") == ["12 13_4"]
