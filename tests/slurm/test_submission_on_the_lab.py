"""Runs that are handed to a real cluster, in every way that users do: each ends as `hpcgeom run` does."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import lab_jobs
import pytest
from lab_runs import LOCAL, LabRun, ids_as_names, scripts_shown, scripts_submitted, with_more_samples

from hpcgeom.plan.packing import unpack
from hpcgeom.stages.run import Run

pytestmark = pytest.mark.slurm

MODES = {"allocation": {}, "jobqueue": {"mode: allocation": "mode: jobqueue"}, "local": LOCAL}
STAGES_OF_JOBS = ["extract", "extract", "search", "geometry", "collect"]
"""An array for each of the two models, then one job a stage."""


@pytest.fixture
def run(lab, finished, tmp_path) -> LabRun:
    """A run that was not begun."""
    return LabRun(lab, tmp_path / "own", finished.manifest, finished.root)


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def try_mode(run: LabRun) -> None:
    """Rehearse, submit, wait, compare, and submit what is finished."""
    before = files_of(run.folder)
    shown = scripts_shown(run.rehearse())
    assert files_of(run.folder) == before
    assert run.queue() == set()
    said = run.submit()
    assert "5 jobs are submitted, 0 of before are under way" in said
    found = {name: ids_as_names(text, run.jobs()) for name, text in scripts_submitted(run.root).items()}
    assert found == shown
    assert [job.stage for job in run.jobs()] == STAGES_OF_JOBS
    run.finish()
    assert run.times_computed() == [1] * len(run.times_computed())
    assert (run.root / "report" / "figures").is_dir()
    kept = files_of(run.root)
    assert "jobs are submitted" not in run.submit()
    assert run.queue() == set()
    assert files_of(run.root) == kept


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["allocation", "jobqueue"])
def test_what_is_rehearsed_is_submitted_and_ends_as_run_does_and_then_there_is_no_job(
    lab, finished, tmp_path, mode
):
    try_mode(LabRun(lab, tmp_path / "own", finished.manifest, finished.root, MODES[mode]))


@pytest.mark.slow
def test_without_accounting_a_submitted_run_ends_as_run_does(lab_without_accounting, finished, tmp_path):
    try_mode(
        LabRun(lab_without_accounting, tmp_path / "own", finished.manifest, finished.root, MODES["local"])
    )


@pytest.mark.slow
def test_two_submissions_at_once_and_one_more_do_every_unit_once(run):
    run.lab.partition_down("main")
    processes = [run.start(*run.words) for _ in range(2)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    codes = sorted(code for _, _, code in ended)
    assert codes in ([0, 0], [0, 3]), ended
    for _, complaint, code in ended:
        assert code == 0 or "is being done by process" in complaint, complaint
    assert [job.stage for job in run.jobs()] == STAGES_OF_JOBS
    assert run.queue() == {job.name for job in run.jobs()}
    assert "0 jobs are submitted, 5 of before are under way" in run.submit()
    assert "0 jobs are submitted, 5 of before are under way" in run.resume()
    assert run.queue() == {job.name for job in run.jobs()}
    assert len(run.jobs()) == 5
    run.lab.partition_up("main")
    run.finish()
    assert run.times_computed() == [1] * len(run.times_computed())


DYING = """#!/bin/sh
# sbatch, but for the second job: the cluster accepts it, and who submits it dies before hearing so.
{sbatch} "$@" > {folder}/said || exit
echo >> {folder}/calls
[ "$(wc -l < {folder}/calls)" -eq 2 ] || exec cat {folder}/said
read -r _ _ _ submitter _ < /proc/$PPID/stat
kill -KILL "$submitter"
"""


def test_a_submission_killed_before_it_heard_of_its_job_is_gone_on_with(run, tmp_path):
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "sbatch"
    command.write_text(DYING.format(sbatch=shutil.which("sbatch"), folder=tmp_path))
    command.chmod(0o755)
    run.lab.partition_down("main")
    run.submit(code=-signal.SIGKILL, PATH=f"{command.parent}:{run.environment['PATH']}")
    first, second = run.jobs()
    assert (first.job_id != "", second.job_id) == (True, "")
    assert run.queue() == {first.name, second.name}
    assert run.status()["jobs"][1]["job_id"] == ""
    assert "3 jobs are submitted, 2 of before are under way" in run.submit()
    jobs = run.jobs()
    assert [job.stage for job in jobs] == STAGES_OF_JOBS
    assert jobs[0] == first
    assert run.lab.run("squeue", "-h", "-j", jobs[1].job_id, "-o", "%j").stdout.split()[0] == second.name
    assert jobs[2].depends_on == (first.name, second.name)
    assert run.queue() == {job.name for job in jobs}
    units = [unit for job in jobs for text in job.elements for unit in unpack(text)]
    assert units == [0, 1, 2, 3]


@pytest.mark.slow
def test_more_units_than_an_array_may_have_are_several_arrays(lab, tmp_path):
    run = with_more_samples(lab, tmp_path, 600, {**LOCAL, "jobs: 4": "units_per_job: 1"})
    with lab.reconfigured(max_array_size=2):
        run.submit()
        extract = run.jobs("extract")
        assert [job.elements for job in extract] == [("0", "1"), ("2",), ("3", "4"), ("5",)]
        (search,) = run.jobs("search")
        assert search.depends_on == tuple(job.name for job in extract)
        run.finish()
    assert run.times_computed() == [1] * len(run.times_computed())


def submitted_within(run: LabRun, *options: str, start: str = "exec") -> str:
    """Submit the run from within a job of partition `low`; the number of that job."""
    script = f"{start} hpcgeom {' '.join(run.words)}\n"
    outer = lab_jobs.submit(
        run.lab, "-plow", *options, script=script, cwd=run.folder, environment=run.environment
    )
    (state,) = lab_jobs.wait_until_over(run.lab, outer)
    assert state["JobState"] == "COMPLETED", lab_jobs.output(state)
    return state["JobId"]


def test_jobs_submitted_within_a_job_are_those_submitted_outside(run, finished, tmp_path):
    run.lab.partition_down("main")
    outside = LabRun(run.lab, tmp_path / "outside", finished.manifest, finished.root)
    outside.submit()
    submitted_within(run, "-c2", "--mem=2G", "--time=7", "--nodes=1", "--gres=gpu:1")
    shown = [[_asked_for(run.lab, job.job_id) for job in one.jobs()] for one in (run, outside)]
    assert shown[0] == shown[1]
    assert [asked["TimeLimit"] for asked in shown[0]] == ["00:10:00"] * 5


def _asked_for(lab, job_id: str) -> dict[str, str]:
    """What the scheduler was asked for, but for names."""
    keys = ("Partition", "NumNodes", "NumCPUs", "NumTasks", "CPUs/Task", "MinMemoryNode", "TimeLimit")
    more = ("Requeue", "TresPerNode", "ArrayTaskId", "Reason", "ExcNodeList", "Features")
    (found,) = lab_jobs.records(lab, job_id)
    return {key: found.get(key, "") for key in keys + more}


@pytest.mark.slow
def test_a_run_submitted_within_a_step_of_an_element_of_an_array_does_its_own_units(run):
    submitted_within(run, "--array=1", "--mem=500", start="exec srun")
    run.finish()
    assert run.times_computed() == [1] * len(run.times_computed())
    done = Run(run.root)
    for unit in done.units("extract"):
        (job,) = run.jobs("extract", unit.model)
        assert done.records("extract").load(unit).made_by["job"] in job.ids
