"""`hpcgeom submit`, `resume` and `cancel`, with a scheduler that takes jobs and does none."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace

import arrays_run
import pytest
from fake_cluster import DOWN, FIRST_ID, PROFILE, FakeCluster, without_ids

from hpcgeom.store.jobs import SUBMISSION_LEASE, jobs_of, write_job
from hpcgeom.store.leases import lease

STAGES = ["extract", "extract", "search", "geometry", "collect"]
MODELS = ["wide", "deep", "", "", ""]
ALL = "5 jobs are submitted, 0 of before are under way\n"


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> FakeCluster:
    return FakeCluster(tmp_path / "bin", monkeypatch)


@pytest.fixture
def profile(tmp_path):
    """The path of the profile, and a way to write another one."""
    path = tmp_path / "p.yaml"
    path.write_text(PROFILE)
    return path


@pytest.fixture
def submit(hpcgeom, cluster, profile, finished):
    """Submit the run of the clouds into the folder `r`."""

    def call(*more):
        return hpcgeom("submit", "-m", finished.manifest, "-p", profile, "--run-dir", "r", *more)

    return call


@pytest.fixture
def root(tmp_path):
    return tmp_path / "r"


def test_every_stage_is_a_job_that_waits_for_those_before_it(submit, cluster, root):
    cluster.accepts(root=root)
    done = submit()
    assert (done.code, done.out) == (0, f"{ALL}status: hpcgeom status r --watch\n")
    jobs = jobs_of(root)
    assert [job.stage for job in jobs] == STAGES
    assert [job.model for job in jobs] == MODELS
    assert [job.job_id for job in jobs] == [str(FIRST_ID + number) for number in range(5)]
    assert [job.elements for job in jobs] == [("0", "1"), ("2", "3"), (), (), ()]
    waits = [cluster.directive(FIRST_ID + number, "dependency") for number in range(5)]
    assert waits == [[], [], ["afterany:100:101"], ["afterany:100:101:102"], ["afterany:100:101:102:103"]]
    assert [len(job.depends_on) for job in jobs] == [0, 0, 2, 3, 4]
    assert "extract wide: job 100, an array of 2" in done.err
    assert "collect: job 104, 1 job" in done.err
    for number, job in enumerate(jobs):
        assert cluster.directive(FIRST_ID + number, "job-name") == [job.name]
        assert f"main task {root} --job {job.name}" in cluster.script(FIRST_ID + number)
        checked = subprocess.run(["/bin/bash", "-n", cluster.folder / f"script-{FIRST_ID + number}.sh"])
        assert checked.returncode == 0


def test_a_job_is_in_the_run_before_it_is_submitted_and_gets_its_id_at_once(submit, cluster, root):
    cluster.accepts(root=root)
    assert submit().code == 0
    names = [job.name for job in jobs_of(root)]
    for number, name in enumerate(names):
        seen = cluster.seen(FIRST_ID + number)
        assert seen[name] == ""
        assert [seen[before] for before in names[:number]] == [str(FIRST_ID + n) for n in range(number)]


def test_what_is_under_way_is_not_submitted_again(submit, cluster, root):
    assert submit().code == 0
    cluster.knows_all(root)
    again = submit()
    assert (again.code, again.out.splitlines()[0]) == (0, "0 jobs are submitted, 5 of before are under way")
    assert cluster.n_submitted == 5
    assert cluster.calls("scancel") == []


def test_a_run_that_is_complete_needs_no_job(hpcgeom, cluster, profile, finished, run_copy):
    done = hpcgeom("submit", "-m", finished.manifest, "-p", profile, "--run-dir", run_copy)
    assert done.code == 0
    assert f"results: {run_copy}/results.zarr" in done.out
    assert cluster.calls("sbatch") == []


def test_what_another_run_has_is_taken_over_and_not_submitted(submit, cluster, root, finished):
    done = submit("--reuse", finished.root)
    assert done.code == 0
    assert "search: 6 of 6 units taken over" in done.err
    assert {job.stage for job in jobs_of(root)} <= {"geometry", "collect"}


def test_an_array_is_cut_at_the_size_that_the_cluster_allows(submit, cluster, root, profile):
    profile.write_text(PROFILE.replace("partition: main", "partition: main, max_array_size: 1"))
    assert submit().code == 0
    assert [job.elements for job in jobs_of(root)][:4] == [("0",), ("1",), ("2",), ("3",)]
    assert cluster.directive(FIRST_ID, "array") == ["0-0%1"]
    assert "show config" not in cluster.calls("scontrol")


def test_jobs_that_ended_are_submitted_again_for_what_they_lack(hpcgeom, submit, cluster, root):
    assert submit().code == 0
    arrays = {"100_0": "COMPLETED", "100_1": "RUNNING", "101_0": "RUNNING", "101_1": "PENDING|x"}
    cluster.knows(arrays | dict.fromkeys(("102", "103", "104"), "PENDING|Dependency"))
    again = hpcgeom("resume", root)
    assert again.code == 0
    assert again.out.startswith("4 jobs are submitted, 2 of before are under way\n")
    new = jobs_of(root)[5:]
    assert [(job.stage, job.elements) for job in new] == [
        ("extract", ("0",)), ("search", ()), ("geometry", ()), ("collect", ())
    ]  # fmt: skip
    # What waited would have begun without the new element.
    assert cluster.calls("scancel") == ["102", "103", "104"]
    assert "search: job 102 is taken back: it waited for too little" in again.err
    assert cluster.directive(106, "dependency") == ["afterany:100:101:105"]


def test_a_stage_that_runs_already_is_left_to_its_job(hpcgeom, submit, cluster, root):
    assert submit().code == 0
    cluster.knows({"102": "RUNNING", "103": "COMPLETING"})
    assert hpcgeom("resume", root).out.startswith("3 jobs are submitted, 2 of before are under way\n")
    assert [job.stage for job in jobs_of(root)[5:]] == ["extract", "extract", "collect"]
    assert cluster.calls("scancel") == []


def test_resume_submits_with_the_profile_of_the_submission(hpcgeom, submit, cluster, root, profile):
    assert submit().code == 0
    profile.write_text("name: another\nslurm: {partition: other}\n")
    assert hpcgeom("resume", root).code == 0
    assert cluster.directive(105, "partition") == ["main"]
    assert hpcgeom("resume", root, "--profile", profile).code == 0
    assert cluster.directive(110, "partition") == ["other"]
    names = [job.name for job in jobs_of(root)]
    assert len(names) == len(set(names)) == 15


def test_resume_with_workers_goes_on_here(hpcgeom, submit, cluster, root, finished, profile):
    assert submit().code == 0
    for options in (["--strategy", "stream"], ["--host-memory-gb", 2], ["-p", profile, "--strategy", "auto"]):
        refused = hpcgeom("resume", root, *options)
        assert refused.code == 2
        assert "add --workers N to go on here, or leave them out" in refused.err
    done = hpcgeom("resume", root, "--workers", 1)
    assert done.code == 0
    assert f"results: {root}/results.zarr" in done.out
    assert cluster.n_submitted == 5
    assert hpcgeom("compare", root, finished.root).code == 0


def test_a_run_that_was_not_submitted_is_submitted_with_a_profile_alone(hpcgeom, cluster, profile, finished):
    assert hpcgeom("prepare", "-m", finished.manifest, "--run-dir", "r").code == 0
    assert hpcgeom("resume", "r", "-p", profile).out.startswith(ALL)
    assert cluster.n_submitted == 5


def test_cancel_cancels_what_lives_under_its_own_name(hpcgeom, submit, cluster, root):
    assert submit().code == 0
    names = [job.name for job in jobs_of(root)]
    cluster.knows({}, {"100_1": names[0], "102": names[2], "103": "somebody-elses"})
    cancelled = hpcgeom("cancel", root)
    assert (cancelled.code, cancelled.out) == (
        0,
        f"{root}: jobs 100, 102 are cancelled; hpcgeom resume {root} goes on\n",
    )
    assert cluster.calls("scancel") == ["100 102"]
    cluster.knows({})
    assert hpcgeom("cancel", root).out == f"{root}: no job waits or runs\n"
    assert len(cluster.calls("scancel")) == 1


def test_a_job_whose_submission_was_cut_off_is_found_by_its_name(submit, cluster, root):
    assert submit().code == 0
    cut_off = without_ids(root, 4)
    ids = {number: "PENDING|Resources" for job in jobs_of(root) for number in job.ids}
    cluster.knows({**ids, "777": "PENDING|Dependency"}, {"777": cut_off.name})
    assert submit().out.startswith("0 jobs are submitted, 5 of before are under way\n")
    assert jobs_of(root)[4].job_id == "777"


def test_a_job_of_which_nobody_knows_was_never_submitted(submit, cluster, root):
    assert submit().code == 0
    forgotten = without_ids(root, 4)
    cluster.knows_all(root)
    assert submit().out.startswith("1 jobs are submitted, 4 of before are under way\n")
    assert (jobs_of(root)[-1].name, jobs_of(root)[-1].job_id) == (forgotten.name, "105")
    assert cluster.directive(105, "dependency") == ["afterany:100:101:102:103"]


def test_nothing_is_submitted_twice_because_the_scheduler_does_not_say_what_runs(submit, cluster):
    assert submit().code == 0
    cluster.says("squeue", stderr="slurm_load_jobs error: Socket timed out", code=1)
    refused = submit()
    assert (refused.code, refused.out) == (4, "")
    assert (
        "it is not known which jobs of before still run: squeue does not answer (slurm_load_jobs error: "
        "Socket timed out); nothing was submitted, try again later"
    ) in refused.err
    assert cluster.n_submitted == 5


@pytest.mark.parametrize("command", ["submit", "resume", "cancel"])
def test_several_jobs_of_one_name_are_for_the_user_to_end(hpcgeom, submit, cluster, root, command):
    assert submit().code == 0
    name = without_ids(root, 4).name
    cluster.knows({}, {"8": name, "7": name})
    refused = submit() if command == "submit" else hpcgeom(command, root)
    assert (refused.code, refused.out) == (2, "")
    assert f"the scheduler knows several jobs called '{name}' (7, 8): cancel all but one" in refused.err
    assert cluster.n_submitted == 5
    assert cluster.calls("scancel") == []


def test_without_sbatch_nothing_is_prepared(submit, cluster, root):
    (cluster.folder / "sbatch").unlink()
    refused = submit()
    assert (refused.code, refused.out) == (4, "")
    assert (
        "hpcgeom: sbatch is not found: submit where SLURM is, run everything on this machine" in refused.err
    )
    assert not root.exists()


def test_while_the_controller_is_down_nothing_is_prepared(hpcgeom, submit, cluster, root):
    cluster.says("scontrol", DOWN, when="ping")
    refused = submit()
    assert (refused.code, refused.out) == (4, "")
    assert "SLURM's controller does not answer (scontrol ping): nothing was prepared" in refused.err
    assert not root.exists()
    assert cluster.calls("sbatch") == []


@pytest.mark.parametrize(
    ("node", "more", "message"),
    [
        (
            "{memory_gb: 0.5}",
            "",
            r"of model 'wide' needs 0.5\d GiB on a node, but node.memory_gb of profile 'fake' is 0.5",
        ),
        (
            "{memory_gb: 3}",
            "",
            r"a job of stage 'search' needs 4.6\d GiB on a node, but node.memory_gb of profile 'fake' is 3:",
        ),
        (
            "{cpus: 4}",
            "dask: {mode: local, workers: 8}",
            r"p.yaml:\d: search.cpus: expected at most the 4 CPUs of a node \(node.cpus\), found 8 \(8 proce",
        ),
    ],
)
@pytest.mark.parametrize("is_rehearsal", [True, False])
def test_what_no_node_can_hold_is_refused_before_any_job_is_submitted(
    submit, cluster, root, profile, node, more, message, is_rehearsal
):
    profile.write_text(f"name: fake\nnode: {node}\n{more or 'dask: {workers: 4}'}\n")
    refused = submit(*["--dry-run"] * is_rehearsal)
    assert (refused.code, refused.out) == (2, "")
    assert re.search(message, refused.err), refused.err
    assert cluster.calls("sbatch") == []
    assert jobs_of(root) == []


def test_a_job_that_sbatch_refuses_is_an_error_and_the_same_command_goes_on(submit, cluster, root):
    cluster.says("sbatch", stderr="sbatch: error: invalid partition specified: main", code=1)
    refused = submit()
    assert (refused.code, refused.out) == (4, "")
    assert "was not accepted: sbatch: error: invalid partition specified: main: correct the" in refused.err
    assert [job.job_id for job in jobs_of(root)] == [""]
    cluster.accepts()
    assert submit().out.startswith(ALL)
    assert [job.stage for job in jobs_of(root)] == STAGES


def test_jobs_get_nothing_of_the_job_that_submits_them(submit, cluster, monkeypatch):
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_X", "PMIX_RANK", "PMI_RANK", "SUBMITIT_EXECUTOR"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("MINE", "kept")
    assert submit().code == 0
    given = cluster.environment("sbatch")
    assert (given["SLURM_CONF"], given["MINE"]) == ("/etc/slurm.conf", "kept")
    assert [
        name for name in given if name.startswith(("SLURM_", "SBATCH_", "SRUN_", "PMI", "SUBMITIT_"))
    ] == ["SLURM_CONF"]


def test_two_submissions_of_one_run_do_not_mix(submit, cluster, root):
    assert submit().code == 0
    with lease(root / SUBMISSION_LEASE):
        refused = submit()
    assert refused.code == 3
    assert "submission is being done by process" in refused.err
    assert cluster.n_submitted == 5


def test_a_rehearsal_shows_everything_and_leaves_nothing(submit, cluster, root, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    shown = submit("--dry-run")
    assert (shown.code, shown.err) == (0, "")
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["extract", "wide", "2", "0;", "1", "1", "1", "0.75", "GiB", "0", "1:00:00"] in rows
    headings = [line for line in shown.out.splitlines() if line.startswith("# ---- ")]
    assert [heading.split("-")[-2:] for heading in headings[:2]] == [["extract", "wide"], ["extract", "deep"]]
    first = headings[0].removeprefix("# ---- ")
    assert f"#SBATCH --job-name={first}" in shown.out
    assert f"afterany:<{first}>:<" in shown.out
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert cluster.calls("sbatch") == []


def test_a_rehearsal_of_a_run_shows_what_is_missing(submit, cluster, finished, hpcgeom, profile, run_copy):
    shown = hpcgeom("submit", "-m", finished.manifest, "-p", profile, "--run-dir", run_copy, "--dry-run")
    assert shown.code == 0
    assert "every unit is done: no job" in shown.out


def test_a_rehearsal_without_a_scheduler_says_what_it_assumes(submit, cluster):
    cluster.says("scontrol", DOWN, code=1)
    shown = submit("--dry-run")
    assert shown.code == 0
    assert "note: no scheduler answers here: arrays are cut at 1001, SLURM's own MaxArraySize" in shown.out


def test_the_profile_is_kept_with_the_run(submit, root, profile):
    assert submit().code == 0
    assert (root / "jobs" / "profile.yaml").read_text() == PROFILE
    assert (root / "jobs" / "profile-folder.txt").read_text() == f"{profile.parent}\n"
    assert json.loads((root / "jobs" / f"{jobs_of(root)[0].name}.json").read_text())["processes"] == 1


def test_numbers_of_jobs_go_on_where_they_ended(submit, cluster, root):
    assert submit().code == 0
    last = jobs_of(root)[-1]
    write_job(root, replace(last, name=last.name.replace("-0004-", "-0041-")))
    (root / "jobs" / f"{last.name}.json").unlink()
    assert submit().code == 0
    assert arrays_run.N == 300
    assert [job.name.split("-")[2] for job in jobs_of(root)][5:] == [f"{n:04d}" for n in range(42, 47)]
