"""The states of jobs from squeue, sacct and scontrol, each of which may be silent, late or wrong."""

from __future__ import annotations

import pytest
from fake_scheduler import (
    ACCOUNTING,
    ACCOUNTING_IS_OFF,
    BANNER,
    CONTROLLER_IS_DOWN,
    QUEUE,
    USER,
    FakeScheduler,
    job_line,
)

from hpcgeom.launch.slurm import job_records, states
from hpcgeom.launch.slurm.calling import SchedulerError
from hpcgeom.launch.slurm.states import JobState, alive_by_name, states_of

UNKNOWN_JOB = "slurm_load_jobs error: Invalid job id specified"


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    """All three answer, and know no job."""
    found = FakeScheduler(tmp_path, monkeypatch)
    found.says("squeue")
    found.says("sacct")
    found.says("scontrol", stderr=UNKNOWN_JOB, code=1)
    return found


def state_of(job_id: str) -> JobState:
    found = states_of([job_id])
    assert list(found) == [job_id]
    assert found[job_id].job_id == job_id
    return found[job_id]


@pytest.mark.parametrize(
    ("job_id", "state", "reason", "exit_code", "restarts", "is_alive", "is_held"),
    [
        ("4", "pending", "Dependency", "0:0", 0, True, False),
        ("5", "pending", "JobHeldUser", "0:0", 0, True, True),
        ("49", "pending", "job requeued in held state", "0:0", 1, True, True),
        ("1", "running", "", "0:0", 0, True, False),
        ("3_3", "running", "", "0:0", 0, True, False),
        ("3_9", "pending", "JobArrayTaskLimit", "0:0", 0, True, False),
        ("48_18", "pending", "BeginTime", "0:0", 0, True, False),
        ("32", "completing", "", "0:15", 0, True, False),
        ("2_0", "completed", "", "0:0", 0, False, False),
        ("2_1", "failed", "NonZeroExitCode", "3:0", 0, False, False),
        ("7", "failed", "JobLaunchFailure", "0:9", 0, False, False),
        ("34", "timeout", "TimeLimit", "0:15", 0, False, False),
        ("36", "cancelled", "BeginTime", "0:0", 1, False, False),
        ("40", "preempted", "", "0:15", 0, False, False),
    ],
)
def test_what_squeue_says_is_the_state(
    scheduler, job_id, state, reason, exit_code, restarts, is_alive, is_held
):
    scheduler.says("squeue", BANNER + QUEUE)
    found = state_of(job_id)
    assert found == JobState(job_id, state, reason, exit_code, restarts, "squeue")
    assert (found.is_alive, found.is_held) == (is_alive, is_held)
    assert scheduler.calls("sacct") == []


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("CONFIGURING", "pending", "CONFIGURING"),
        ("SUSPENDED", "running", "SUSPENDED"),
        ("STAGE_OUT", "completing", "STAGE_OUT"),
        ("OUT_OF_MEMORY", "out_of_memory", ""),
        ("NODE_FAIL", "node_fail", ""),
        ("BOOT_FAIL", "node_fail", "BOOT_FAIL"),
        ("DEADLINE", "timeout", "DEADLINE"),
        ("REQUEUED", "requeued", ""),
        ("REQUEUE_HOLD", "requeued", "REQUEUE_HOLD"),
        ("SPECIAL_EXIT", "requeued", "SPECIAL_EXIT"),
        ("A_NEW_WORD", "unknown", "A_NEW_WORD"),
    ],
)
def test_rarer_words_are_states_too_and_stay_visible(scheduler, word, state, reason):
    scheduler.says("squeue", f"12|{word}|0|0|None|\n")
    assert state_of("12") == JobState("12", state, reason, "0:0", 0, "squeue")


def test_a_failed_launch_is_held(scheduler):
    scheduler.says("squeue", "12|PENDING|1|0|launch failed requeued held|\n13|PENDING|0|0|Resources|\n")
    assert state_of("12").is_held
    assert not state_of("13").is_held
    assert not JobState("12", "cancelled", "JobHeldUser").is_held


def test_an_array_has_one_entry_for_each_element_in_their_order(scheduler):
    scheduler.says(
        "squeue", "3_[11,20-22%2]|PENDING|0|0|Resources|\n3_9|RUNNING|0|0|None|\n3_10|FAILED|0|256|None|\n"
    )
    found = states_of(["3", "3_9"])
    assert list(found) == ["3_9", "3_10", "3_11", "3_20", "3_21", "3_22"]
    assert {job: state.state for job, state in found.items() if state.state != "pending"} == {
        "3_9": "running",
        "3_10": "failed",
    }


def test_the_user_is_asked_for_by_number_and_lists_are_not_cut(scheduler):
    # squeue -j fails where one of the jobs is unknown, and -r leaves out elements.
    scheduler.says("squeue", QUEUE)
    states_of(["1"])
    words = scheduler.calls("squeue")[0].split()
    assert words[words.index("-u") + 1] == USER
    assert "-j" not in words
    assert "-r" not in words
    assert scheduler.environment("squeue")["SLURM_BITSTR_LEN"] == "0"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[3-5%2]", ["12_3", "12_4", "12_5"]),
        ("12_[0-18:6,20%1]", ["12_0", "12_6", "12_12", "12_18", "12_20"]),
        ("12_[7]", ["12_7"]),
        ("12+1", []),
        ("Welcome", []),
        ("12.batch", []),
    ],
)
def test_lists_of_elements_are_written_out(text, ids):
    assert job_records.ids_of(text) == ids


def test_a_list_that_is_cut_short_is_not_taken_for_the_whole(scheduler):
    with pytest.raises(SchedulerError, match=r"listed as '0-2,4,\.\.\.': expected numbers .* found '\.\.\.'"):
        job_records.ids_of("50_[0-2,4,...]")
    scheduler.says("squeue", "50_[0-2,4,...]|PENDING|0|0|None|\n")
    assert state_of("50").state == "unknown"


def test_jobs_that_the_controller_has_forgotten_are_known_to_the_accounting(scheduler):
    scheduler.says("squeue", "3_3|RUNNING|0|0|None|\n")
    scheduler.says("sacct", BANNER + ACCOUNTING)
    found = states_of(["2", "3", "58"])
    assert found == {
        "2_0": JobState("2_0", "completed", "", "0:0", 0, "sacct"),
        "2_1": JobState("2_1", "failed", "", "3:0", 0, "sacct"),
        "3_3": JobState("3_3", "running", "", "0:0", 0, "squeue"),  # sacct says that it was cancelled
        "3_5": JobState("3_5", "cancelled", "by user id 0", "0:0", 0, "sacct"),
        "3_7": JobState("3_7", "cancelled", "by user id 0", "0:0", 0, "sacct"),
        "3_9": JobState("3_9", "cancelled", "by user id 0", "0:0", 0, "sacct"),
        "58": JobState("58", "timeout", "", "0:0", 0, "sacct"),
    }


def test_a_row_of_a_whole_array_does_not_stand_for_its_elements(scheduler):
    scheduler.says("squeue", "12_[2,4]|PENDING|0|0|Resources|\n")
    scheduler.says("sacct", "5|12|0:0|PENDING\n6|12_1|0:0|COMPLETED\n7|13|0:0|CANCELLED by 0\n")
    assert {job: state.state for job, state in states_of(["12", "13"]).items()} == {
        "12_1": "completed",
        "12_2": "pending",
        "12_4": "pending",
        "13": "cancelled",
    }


@pytest.mark.parametrize("is_reversed", [False, True])
def test_of_a_requeued_job_the_last_run_counts_in_whichever_order_they_come(scheduler, is_reversed):
    rows = ACCOUNTING.splitlines()
    scheduler.says("sacct", "\n".join(rows[::-1] if is_reversed else rows))
    assert state_of("39") == JobState("39", "completed", "", "0:0", 1, "sacct")
    assert state_of("43") == JobState("43", "preempted", "", "0:0", 0, "sacct")


def test_a_job_that_went_on_with_fewer_nodes_was_not_restarted(scheduler):
    scheduler.says("sacct", "5|12|0:0|RESIZING\n6|12|0:0|COMPLETED\n")
    assert state_of("12") == JobState("12", "completed", "", "0:0", 0, "sacct")


@pytest.mark.parametrize("word", ["RUNNING", "PENDING", "REQUEUED", "SUSPENDED"])
def test_a_job_is_not_alive_because_the_accounting_alone_says_so(scheduler, word):
    scheduler.says("sacct", f"5|12|0:0|{word}\n")
    found = state_of("12")
    assert (found.state, found.source, found.is_alive) == ("unknown", "sacct", False)
    assert found.reason == f"sacct says {word}, but squeue does not know it"


def test_where_the_controller_does_not_answer_the_accounting_is_all_there_is(scheduler):
    scheduler.says("squeue", stderr=f"slurm_load_jobs error: {CONTROLLER_IS_DOWN}", code=1)
    scheduler.says("sacct", "5|12|0:0|RUNNING\n6|13|3:0|FAILED\n")
    found = states_of(["12", "13", "14"])
    assert found["12"] == JobState("12", "running", "", "0:0", 0, "sacct")
    assert found["13"] == JobState("13", "failed", "", "3:0", 0, "sacct")
    assert found["14"].state == "unknown"
    assert found["14"].reason == f"squeue does not answer (slurm_load_jobs error: {CONTROLLER_IS_DOWN})"
    assert scheduler.calls("scontrol") == []  # it would only wait for the same daemon


def test_without_accounting_the_controller_is_asked_for_a_job_of_somebody_else(scheduler):
    scheduler.says("sacct", stderr=ACCOUNTING_IS_OFF, code=1)
    lines = job_line("PENDING", job_id="79", elements="2,4%1", reason="JobArrayTaskLimit")
    lines += job_line("RUNNING", job_id="79", elements="0", restarts=2)
    scheduler.says("scontrol", BANNER + lines, when="show job -o 79")
    scheduler.says(
        "scontrol", job_line("PENDING", job_id="80", reason="launch_failed_requeued_held"), when="-o 80"
    )
    found = states_of(["79", "80", "81"])
    assert found == {
        "79_0": JobState("79_0", "running", "", "0:0", 2, "scontrol"),
        "79_2": JobState("79_2", "pending", "JobArrayTaskLimit", "0:0", 0, "scontrol"),
        "79_4": JobState("79_4", "pending", "JobArrayTaskLimit", "0:0", 0, "scontrol"),
        "80": JobState("80", "pending", "launch failed requeued held", "0:0", 0, "scontrol"),
        "81": JobState("81", "unknown", "neither squeue nor sacct knows it"),
    }
    assert found["80"].is_held


def test_a_job_of_somebody_else_that_runs_is_found_although_squeue_does_not_list_it(scheduler):
    scheduler.says("sacct", "5|12|0:0|RUNNING\n")
    scheduler.says("scontrol", job_line("RUNNING", job_id="12"), when="-o 12")
    assert state_of("12") == JobState("12", "running", "", "0:0", 0, "scontrol")


@pytest.mark.parametrize("trouble", ["empty", "absent", "failing", "hanging", "garbage"])
def test_trouble_with_the_accounting_is_never_an_error(scheduler, trouble, monkeypatch):
    monkeypatch.setattr(job_records, "SACCT_TIMEOUT_S", 0.3)
    if trouble == "absent":
        (scheduler.folder / "sacct").unlink()
    elif trouble == "failing":
        scheduler.says("sacct", stderr=ACCOUNTING_IS_OFF, code=1)
    elif trouble == "hanging":
        scheduler.hangs("sacct")
    elif trouble == "garbage":
        scheduler.says("sacct", "a|b|c|d\n1|2\n||||\n")
    scheduler.says("squeue", QUEUE)
    found = states_of(["1", "99", "2"])
    assert {job: state.state for job, state in found.items()} == {
        "1": "running",
        "99": "unknown",
        "2_0": "completed",
        "2_1": "failed",
    }


def test_without_any_command_all_jobs_are_unknown_and_the_reason_says_why(tmp_path, monkeypatch):
    FakeScheduler(tmp_path, monkeypatch)
    found = states_of(["12", "13_1"])
    assert [state.state for state in found.values()] == ["unknown", "unknown"]
    assert "`squeue` cannot be called on" in found["13_1"].reason


def test_a_late_answer_of_the_accounting_is_seen_when_it_is_there(scheduler):
    assert state_of("58").state == "unknown"
    scheduler.says("sacct", ACCOUNTING)
    assert state_of("58").state == "timeout"


def test_the_accounting_is_asked_from_before_the_submission_on_in_local_time(scheduler, monkeypatch):
    monkeypatch.setenv("TZ", "UTC-5")  # POSIX: five hours east
    import time

    time.tzset()
    try:
        states_of(["12_3", "12_4", "13"], since="2026-11-25T11:36:03+00:00")
        states_of(["12"], since="2026-11-25T11:36:03")
        states_of(["12"])
    finally:
        monkeypatch.undo()
        time.tzset()
    with_zone, without, never = scheduler.calls("sacct")
    assert "-j 12,13 -S 2026-11-25T15:36:03 " in with_zone
    assert "-S 2026-11-25T10:36:03 " in without
    assert "-S" not in never.split()


def test_nothing_is_asked_for_no_jobs(scheduler):
    assert states_of([]) == {}
    assert alive_by_name([]) == {}
    assert scheduler.calls("squeue") == []


def test_jobs_that_are_not_over_are_found_by_name(scheduler):
    scheduler.says(
        "squeue",
        f"{BANNER}6|PENDING|na me|x|\n50_[2-3]|PENDING|extract|\n50_1|RUNNING|extract|\n9|RUNNING|o|\n",
    )
    assert alive_by_name(["extract", "na me|x", "geometry"]) == {
        "extract": ["50_1", "50_2", "50_3"],
        "na me|x": ["6"],
        "geometry": [],
    }
    words = scheduler.calls("squeue")[0].split()
    assert "-t" not in words  # those that are over are not listed
    assert words[words.index("-u") + 1] == USER


def test_that_squeue_does_not_answer_does_not_mean_that_there_are_no_jobs(scheduler):
    scheduler.says("squeue", stderr=f"slurm_load_jobs error: {CONTROLLER_IS_DOWN}", code=1)
    with pytest.raises(SchedulerError, match=r"`squeue .*failed with code 1 .*connect failure"):
        alive_by_name(["extract"])


def test_every_state_of_the_interface_is_one_that_a_scheduler_can_be_in():
    from typing import get_args

    assert set(get_args(states.State)) == {*states.STATES.values(), "unknown"}
