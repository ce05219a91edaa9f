"""The doctor of a cluster, with commands of a scheduler that say what the tests tell them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "launch"))

from fake_scheduler import ACCOUNTING_IS_OFF, CONFIG, CONTROLLER_IS_DOWN, NODES, PARTITIONS, FakeScheduler

from hpcgeom.api import cluster_requests, probe_answers, probing
from hpcgeom.api.cluster_doctor import examine_cluster
from hpcgeom.api.doctor import Finding

HERE = {"hpcgeom": "0.1.0", "torch": "2.9.0+cpu"}
JOB = "job on the default partition"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name, value in {"WAIT_S": 1.0, "POLL_S": 0.01, "ASK_EVERY_S": 0.0, "SHARED_WITHIN_S": 0.0}.items():
        monkeypatch.setattr(probing, name, value)
    monkeypatch.setattr(probe_answers, "versions_here", lambda: HERE)
    monkeypatch.setattr(probe_answers.node_probe, "code", lambda: {"folder": "/here", "digest": "d"})


@pytest.fixture
def scheduler(tmp_path, monkeypatch) -> FakeScheduler:
    """A scheduler without accounting, whose jobs answer at once that all is well on node n1."""
    folder = tmp_path / "bin"
    folder.mkdir()
    found = FakeScheduler(folder, monkeypatch)
    found.says("scontrol", f"{CONFIG}AccountingStorageType = accounting_storage/none\n", when="show config")
    found.says("scontrol", PARTITIONS, when="show partition")
    found.says("scontrol", NODES, when="show node")
    found.says("sacct", stderr=ACCOUNTING_IS_OFF, code=1)
    found.says("squeue")
    found.says("scancel")
    found.says("srun")
    found.says("sbatch", when="--test-only")
    answers(found)
    return found


def answers(scheduler: FakeScheduler, sbatch_says: str = "17\n", **changes: object) -> None:
    """Let the next jobs answer, through their folder."""
    given = {
        "began": 0.5,
        "host": "vm",
        "node": "n1",
        "python": "3.11.2",
        "executable": "/bin/python",
        "versions": {**HERE, "torch": "2.9.0+cu128"},
        "code": {"folder": "/there", "digest": "d"},
        "gpus": [{"name": "A100", "bytes": 40 * 2**30}],
        "interfaces": {"lo": "127.0.0.1", "eth0": "10.0.0.7", "ib0": ""},
        "sbatch": "",
        "greeting": "GREETING",
        "trouble": "",
        "ended": 0.5,
        **changes,
    }
    text = json.dumps(given).replace('"', '\\"').replace("GREETING", '"$(/bin/cat $at/greeting)"')
    text = text.replace("0.5", '"$(/bin/date +%s.%N)"')
    then = f'at=${{2%/*}}; echo "{text}" > $at/new; /bin/mv $at/new $at/answer.json'
    scheduler.says("sbatch", sbatch_says, when="--parsable", then=then)


@pytest.fixture
def examine(scheduler, tmp_path):
    """Examine with a profile; what is wrong, by check."""

    def examine(profile: str = "", *, wrong: bool = True) -> dict[str, str]:
        path, runs = tmp_path / "profile.yaml", tmp_path / "runs"
        path.write_text(f"name: test\n{profile}\n")
        runs.mkdir(exist_ok=True)
        found = examine_cluster(path, runs / "new")
        assert list(runs.iterdir()) == []
        return {item.check: item.says for item in found if item.is_fine != wrong}

    return examine


def test_where_all_is_well_nothing_is_wrong_and_nothing_is_left(examine, scheduler):
    assert examine() == {}
    said = examine(wrong=False)
    assert said["controller"] == "cluster lab answers, SLURM 22.05.8"
    assert said["accounting"].startswith("off: states of jobs come from squeue")
    assert said["partition (default)"] == "main is UP, 2 nodes"
    assert said["search nodes"] == "1 of 2 nodes of main have 4 CPUs and can be used"
    assert said["search request"] == "sbatch takes a job with 4 CPUs and 04:00:00"
    assert said[JOB] == "job 17 ran on n1"
    assert said["packages on the default partition"] == "hpcgeom 0.1.0, torch 2.9.0+cu128, as here"
    assert scheduler.calls("scancel") == ["17", "17"]


def test_a_profile_that_is_wrong_is_the_only_finding(tmp_path, scheduler):
    path = tmp_path / "profile.yaml"
    path.write_text("name: test\nslurm: {partitoin: main}\n")
    (found,) = examine_cluster(path, tmp_path)
    assert (found.check, found.is_fine) == ("profile", False)
    assert "partitoin" in found.says
    assert scheduler.calls("scontrol") == []


def test_commands_that_are_not_there(examine, scheduler):
    (scheduler.folder / "squeue").unlink()
    (scheduler.folder / "srun").unlink()
    assert examine() == {
        "scheduler commands": "expected sbatch, squeue, scontrol, scancel, srun on the PATH, found no "
        "squeue, srun: "
        "run this on a login node, or load the module that has them"
    }


def test_a_controller_that_does_not_answer(examine, scheduler):
    scheduler.says("scontrol", stderr=CONTROLLER_IS_DOWN, code=1)
    found = examine()
    assert list(found) == ["controller"]
    assert f"failed with code 1 ({CONTROLLER_IS_DOWN}): " in found["controller"]
    assert scheduler.calls("sbatch") == []


def test_accounting_that_is_down_is_fine(examine, scheduler):
    scheduler.says(
        "scontrol", f"{CONFIG}AccountingStorageType = accounting_storage/slurmdbd\n", when="show config"
    )
    assert examine() == {}
    said = examine(wrong=False)["accounting"]
    assert said.startswith("does not answer now, and nothing depends on it: states of jobs come from squeue")


@pytest.fixture
def associations(scheduler):
    """A cluster that enforces accounts, in which we have two."""
    text = f"{CONFIG}AccountingStorageEnforce = associations,limits,qos\nAccountingStorageType = x/slurmdbd\n"
    scheduler.says("scontrol", text, when="show config")
    scheduler.says("sacct")
    scheduler.says("sacctmgr", "physics|normal,long\nlabs|normal\n", when="show assoc user=")


@pytest.mark.parametrize(
    ("slurm", "says"),
    [
        ("account: physics, qos: long", {}),
        ("qos: long", {}),
        ("account: phisics", {"account phisics": "found phisics: write physics (there are labs, physics)"}),
        ("account: labs, qos: lon", {"account labs lon": "found 'lon': name one of normal"}),
        ("qos: lon", {"account lon": "found 'lon': write long (there are long, normal)"}),
    ],
)
def test_accounts_that_a_user_has_or_has_not(examine, associations, slurm, says):
    found = examine(f"slurm: {{{slurm}}}")
    assert set(found) == set(says)
    for check, end in says.items():
        assert found[check].endswith(end)


def test_a_user_without_an_account(examine, associations, scheduler):
    scheduler.says("sacctmgr", when="show assoc user=")
    assert examine()["account"].endswith("found none: ask the administrators for one")


def test_a_cluster_without_a_default_partition(examine, scheduler):
    scheduler.says("scontrol", PARTITIONS.replace("Default=YES", "Default=NO"), when="show partition")
    assert examine()["partition (default)"] == (
        "slurm.partition: expected a partition, because the cluster has no default, found none: name one "
        "of main, "
        "low, shut"
    )


@pytest.mark.parametrize(
    ("partition", "says"),
    [
        ("shut,low", {}),
        ("shut", "slurm.partition: expected a partition that is UP, found shut DOWN: jobs would wait or be"),
        (
            "zzz",
            "slurm.partition: expected one of the cluster's partitions, found 'zzz': name one of",
        ),
    ],
)
def test_partitions_that_can_be_used_or_not(examine, scheduler, partition, says):
    found = examine(f"slurm: {{partition: '{partition}'}}")
    if not says:
        assert found == {}
    else:
        assert found[f"partition {partition}"].startswith(says)
        assert found[f"job on {partition}"].startswith("not tried, because of what is wrong with partition")
        assert scheduler.calls("sbatch") == []


def test_a_walltime_that_only_another_partition_allows(examine):
    assert examine('extract: {partition: low, walltime: "1-12:01:00"}') == {
        "extract walltime": "extract.walltime: expected at most 1-12:00:00, MaxTime of low, found "
        "1-12:01:00: "
        "lower it, or name a partition that allows it (main)"
    }


def test_features_and_sizes_of_nodes(examine):
    found = examine(
        "extract: {constraint: a10}\nsearch: {constraint: 'a100&ib'}\ngeometry: {memory_gb: 1.25}\n"
        "collect: {gpus: 2, memory_gb: 3.90625}\n"
    )
    assert found == {
        "extract nodes": "constraint of extract: expected a feature of nodes of main, found 'a10': write "
        "a100 "
        "(there are a100, ib)",
        # Four workers of 1.25 GiB and what watches over them are more than n1 has, and n2 is down.
        "geometry nodes": "geometry: expected 1 node of main with 4 CPUs, 7 GiB that can be used, found 0 "
        "(n2 "
        "DOWN*+DRAIN): wait until they are back, or name another partition",
    }


def test_a_request_that_the_scheduler_refuses(examine, scheduler):
    scheduler.says("sbatch", when="--test-only", stderr="allocation failure: Job violates accounting", code=1)
    found = examine()
    assert set(found) == {f"{stage} request" for stage in ("extract", "search", "geometry", "collect")}
    assert found["collect request"] == (
        "collect: expected that sbatch takes a job with 1 CPU and 04:00:00, found: allocation failure: Job "
        "violates accounting: correct collect of the profile"
    )


def test_a_scheduler_that_takes_too_long_to_judge_a_request_is_no_fault_of_the_profile(
    examine, scheduler, monkeypatch
):
    monkeypatch.setattr(cluster_requests, "SBATCH_TIMEOUT_S", 0.3)
    scheduler.hangs("sbatch", when="--test-only")
    assert examine() == {}
    assert examine(wrong=False)["collect request"] == "1 CPU; sbatch --test-only takes too long to say more"


def test_an_array_size_that_the_cluster_does_not_allow(examine):
    assert examine("slurm: {max_array_size: 21}")["array size"].startswith(
        "slurm.max_array_size: expected at most the cluster's MaxArraySize 20, found 21"
    )
    assert examine("extract: {jobs: 41}", wrong=False)["array size"] == (
        "20: the 41 of extract.jobs are split into 3 arrays"
    )


def test_a_small_job_that_is_refused(examine, scheduler):
    scheduler.says("sbatch", when="--parsable", stderr="sbatch: error: Invalid account", code=1)
    assert examine() == {
        JOB: "expected that sbatch takes a small job, found: sbatch: error: Invalid account: correct "
        "partition, "
        "account, qos, constraint and reservation of the profile"
    }


def test_a_small_job_whose_id_is_not_said_is_cancelled_by_its_name(examine, scheduler, monkeypatch):
    monkeypatch.setattr(cluster_requests, "SBATCH_TIMEOUT_S", 0.5)
    scheduler.hangs("sbatch", when="--parsable")
    monkeypatch.setattr(probing, "secrets", SimpleNamespace(token_hex=lambda n: "ab"))
    scheduler.says("squeue", "18|RUNNING|hpcgeom-doctor-ab|\n19|RUNNING|other|\n", when="Name")
    assert "did not answer within 0.5 s" in examine()[JOB]
    assert scheduler.calls("scancel") == ["18"]


def test_an_sbatch_that_names_no_job(examine, scheduler):
    scheduler.says("sbatch", "welcome\n", when="--parsable")
    assert examine() == {JOB: "sbatch names no job ('welcome'): see what stands in front of sbatch here"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            "FAILED|0|10496|NonZeroExitCode",
            "is not there on the node: name a --run-dir on a file system that",
        ),
        (
            "FAILED|0|10752|NonZeroExitCode",
            "cannot be written on the node: name a --run-dir on a file system",
        ),
        ("FAILED|0|53|JobLaunchFailure", "17: the node cannot write the log "),
        ("COMPLETED|0|0|None", "17: it ended well, but what it wrote into "),
        (
            "FAILED|0|32512|NonZeroExitCode",
            "(failed (NonZeroExitCode), exit code 127:0): correct environment of the profile; its log ends:",
        ),
        (
            "PENDING|0|0|Priority",
            "within 1 s, found none (it is pending, reason Priority): it is cancelled; the nodes are busy",
        ),
        (
            "PENDING|0|0|QOSMaxCpuPerUserLimit",
            "(it is pending, reason QOSMaxCpuPerUserLimit): it is cancelled; man squeue says what",
        ),
        (
            "RUNNING|0|0|None",
            "(it is running): it is cancelled; the node or its file systems are slow; its log",
        ),
    ],
)
def test_a_small_job_that_does_not_answer(examine, scheduler, row, says):
    log = 'at=${2%/*/*}; printf "line 3\\npython: not found\\n\\n" > $at/17_0_log.out'
    scheduler.says("sbatch", "17\n", when="--parsable", then=log)
    scheduler.says("squeue", f"17|{row}|\n")
    found = examine()
    assert list(found) == [JOB]
    assert says in found[JOB]
    assert scheduler.calls("scancel") == ["17"]


def test_a_small_job_that_nobody_knows_any_more(examine, scheduler):
    scheduler.says("sbatch", "17\n", when="--parsable")
    scheduler.says(
        "scontrol", stderr="slurm_load_jobs error: Invalid job id specified", code=1, when="show job"
    )
    assert examine()[JOB].startswith(
        "job 17: the scheduler took it and does not know it (neither squeue nor sacct"
    )


def test_a_job_that_cannot_be_cancelled(examine, scheduler):
    scheduler.says("sbatch", "17\n", when="--parsable")
    scheduler.says("squeue", "17|PENDING|0|0|Resources|\n")
    scheduler.says("scancel", stderr=CONTROLLER_IS_DOWN, code=1)
    assert "; it could not be cancelled (`scancel 17` failed with code 1" in examine()[JOB]


def test_rest_that_cannot_be_removed(scheduler, tmp_path, monkeypatch):
    removes_nothing = SimpleNamespace(rmtree=lambda folder, ignore_errors: None)
    monkeypatch.setattr(probing, "shutil", removes_nothing)
    (tmp_path / "profile.yaml").write_text("name: test\n")
    found = [item for item in examine_cluster(tmp_path / "profile.yaml", tmp_path) if not item.is_fine]
    (left,) = tmp_path.glob(".hpcgeom-doctor-*")
    assert found == [Finding(f"rest {left.name}", False, f"{left} cannot be removed: remove it")]
