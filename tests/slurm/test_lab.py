"""The cluster that the other tests here run on: what it does as SLURM, and what can be done to its nodes."""

from __future__ import annotations

import pytest
from lab_jobs import (
    output,
    records,
    submit,
    submit_and_wait,
    wait_for,
    wait_for_state,
    wait_for_text,
    wait_until_over,
)
from lab_processes import LabError, wait_until
from live_processes import is_alive

pytestmark = pytest.mark.slurm

BOTH_NODES = ("-N2", "--exclusive")
RUNS_ON = 'echo "run ${SLURM_RESTART_COUNT:-0}"; exec sleep 600'


def test_two_idle_nodes_have_more_cpus_than_the_machine_may_have_and_two_gpus_each(lab):
    seen = lab.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %c %m %G %T").stdout.splitlines()
    assert seen == ["n1 4 16000 gpu:2 idle", "n2 4 16000 gpu:2 idle"]


def test_elements_of_an_array_run_with_their_indices(lab):
    done = submit_and_wait(lab, "--array=0-2", script="echo element $SLURM_ARRAY_TASK_ID")
    assert {record["ArrayTaskId"]: output(record) for record in done} == {
        str(index): f"element {index}\n" for index in range(3)
    }


def test_an_array_index_of_max_array_size_is_refused(lab):
    with pytest.raises(LabError, match=r"sbatch .* ended with 1: .*Invalid job array specification"):
        submit(lab, "--array=20", script="true")


def test_jobs_and_tasks_are_told_their_gpus(lab):
    script = 'echo "job $CUDA_VISIBLE_DEVICES"; srun sh -c \'echo "task $CUDA_VISIBLE_DEVICES"\''
    both, one = (submit(lab, f"--gres=gpu:{n}", script=script) for n in (2, 1))
    assert output(wait_until_over(lab, both)[0]) == "job 0,1\ntask 0,1\n"
    assert output(wait_until_over(lab, one)[0]) == "job 0\ntask 0\n"


def test_a_job_of_low_gives_way_to_one_of_high_and_runs_again(lab_without_accounting):
    lab = lab_without_accounting
    with lab.reconfigured(grace_time_s=0):
        low = submit(lab, "-p", "low", "--open-mode=append", *BOTH_NODES, script=RUNS_ON)
        wait_for_text(wait_for_state(lab, low, "RUNNING")[0], "run 0")
        high = submit(lab, "-p", "high", *BOTH_NODES, script="sleep 0.1")
        (waiting,) = wait_for(lab, low, lambda record: record["Restarts"] == "1", timeout_s=20)
        assert waiting["JobState"] in {"PENDING", "COMPLETING"}
        assert wait_until_over(lab, high)[0]["JobState"] == "COMPLETED"
        (again,) = wait_for_state(lab, low, "RUNNING", timeout_s=30)
        assert "run 0" in wait_for_text(again, "run 1")


def test_a_preempted_job_gets_its_own_signal_only_if_the_lab_is_told_so(lab_without_accounting):
    lab = lab_without_accounting
    script = "trap 'echo heard' USR2; echo ready; while true; do sleep 0.1; done"
    with lab.reconfigured(preempt_send_user_signal=True, grace_time_s=30):
        low = submit(lab, "-p", "low", "--signal=B:USR2@60", *BOTH_NODES, script=script)
        (record,) = wait_for_state(lab, low, "RUNNING")
        wait_for_text(record, "ready")
        submit(lab, "-p", "high", *BOTH_NODES, script="true")
        wait_for_text(record, "heard", timeout_s=10)
        assert records(lab, low)[0]["JobState"] == "RUNNING"
    assert "preempt_send_user_signal" not in lab.run("scontrol", "show", "config").stdout


def test_jobs_of_a_node_set_down_are_requeued_and_the_node_comes_back(lab_without_accounting):
    lab = lab_without_accounting
    job = submit(lab, "-w", "n1", script=RUNS_ON)
    wait_for_text(wait_for_state(lab, job, "RUNNING")[0], "run 0")
    lab.node_down("n1")
    (waiting,) = wait_for(lab, job, lambda record: record["Restarts"] == "1", timeout_s=20)
    assert waiting["JobState"] in {"PENDING", "COMPLETING"}
    assert "DOWN" in lab.node_state("n1")
    lab.node_resume("n1")
    assert lab.node_state("n1").startswith(("IDLE", "MIXED"))


@pytest.mark.slow
def test_jobs_of_a_killed_node_die_with_it_or_live_on(lab_without_accounting):
    lab = lab_without_accounting
    script = "echo pid $$; exec sleep 600"
    jobs = [submit(lab, "-w", name, script=script) for name in ("n1", "n2")]
    said = [wait_for_text(wait_for_state(lab, job, "RUNNING")[0], "pid") for job in jobs]
    dies, lives = (int(text.split()[1]) for text in said)
    lab.kill_node("n1")
    lab.kill_node("n2", steps=False)
    assert (is_alive(dies), is_alive(lives)) == (False, True)
    assert not {"n1", "n2"} & lab.running.keys()
    lab.start_node("n1")
    lab.start_node("n2")
    assert is_alive(lives)  # its node was not away for long enough to be missed
    assert records(lab, jobs[1])[0]["JobState"] == "RUNNING"


def test_a_partition_that_is_down_starts_no_job_until_it_is_up(lab_without_accounting):
    lab = lab_without_accounting
    lab.partition_down("main")
    job = submit(lab, script="true")
    wait_for(lab, job, lambda record: record["Reason"] == "PartitionDown")
    lab.partition_up("main")
    assert wait_until_over(lab, job)[0]["JobState"] == "COMPLETED"


def test_accounting_tells_of_jobs_and_may_be_down_for_a_while(lab):
    job = submit_and_wait(lab, script="exit 3")[0]["JobId"]
    row = ("sacct", "-X", "-n", "-P", "-j", job, "-o", "state,exitcode")
    wait_until(lambda: lab.run(*row).stdout == "FAILED|3:0\n", "sacct does not know the job", 10)
    lab.stop_accounting()
    assert lab.run(*row, check=False).returncode == 1
    assert submit_and_wait(lab, script="true")[0]["JobState"] == "COMPLETED"
    lab.start_accounting()
    assert lab.run(*row).stdout == "FAILED|3:0\n"


def test_without_accounting_sacct_fails(lab_without_accounting):
    done = lab_without_accounting.run("sacct", check=False)
    assert (done.returncode, done.stderr) == (1, "Slurm accounting storage is disabled\n")
    with pytest.raises(LabError, match="the lab was started without accounting"):
        lab_without_accounting.stop_accounting()


@pytest.mark.slow
def test_a_job_outlives_a_restart_of_the_controller_that_changes_max_array_size(lab_without_accounting):
    lab = lab_without_accounting
    job = submit(lab, script=RUNS_ON)
    wait_for_text(wait_for_state(lab, job, "RUNNING")[0], "run 0")
    with lab.reconfigured(max_array_size=30):
        submit(lab, "--array=29", "--hold", script="true")
        assert records(lab, job)[0]["JobState"] == "RUNNING"
    with pytest.raises(LabError, match="cpus cannot change while the lab runs"):
        lab.reconfigure(cpus=2)


def test_labs_side_by_side_do_not_see_each_other(lab, lab_without_accounting):
    job = submit(lab, "--hold", script="true")
    assert job in lab.run("squeue", "-h", "-o", "%A").stdout
    assert lab_without_accounting.run("squeue", "-h").stdout == ""


def test_a_reset_ends_jobs_that_ignore_signals_and_starts_what_was_stopped(lab_without_accounting):
    lab = lab_without_accounting
    job = submit(lab, script="trap '' TERM; echo ready; while true; do sleep 1; done")
    wait_for_text(wait_for_state(lab, job, "RUNNING")[0], "ready")
    lab.partition_down("low")
    lab.node_down("n2")
    lab.kill_node("n2")
    lab.stop_controller()
    lab.reset()
    assert lab.run("sinfo", "-h", "-p", "low", "-o", "%a").stdout == "up\n"
    assert [lab.node_state(name) for name in ("n1", "n2")] == ["IDLE", "IDLE"]
    assert lab.run("squeue", "-h").stdout == ""
