"""The scripts of slurm/ on a real cluster, submitted by hand from the top of the project."""

from __future__ import annotations

import lab_jobs
import pytest
from lab_runs import ROOT, LabRun

from hpcgeom.stages.run import Run

pytestmark = pytest.mark.slurm

LITTLE = "--mem-per-cpu=1G"


@pytest.fixture
def run(lab, finished, tmp_path) -> LabRun:
    """A run that was not begun."""
    return LabRun(lab, tmp_path / "own", finished.manifest, finished.root)


def sbatch(run: LabRun, script: str, *options: str) -> str:
    """Submit a script of the project for the run; the id of its job."""
    output = f"--output={run.folder}/{script}-%A_%a.out"
    words = (f"slurm/{script}.sh", str(run.manifest), str(run.root))
    return lab_jobs.submit(run.lab, LITTLE, output, *options, *words, cwd=ROOT, environment=run.environment)


def ended(run: LabRun, job: str) -> dict[str, list[str]]:
    """Wait for a job and its elements: what each wrote, by how it ended."""
    found: dict[str, list[str]] = {}
    for record in lab_jobs.wait_until_over(run.lab, job, 120):
        found.setdefault(record["JobState"], []).append(lab_jobs.output(record))
    return found


def completed(run: LabRun, job: str, n_elements: int = 1) -> None:
    """Wait for a job that ends well."""
    found = ended(run, job)
    assert {state: len(logs) for state, logs in found.items()} == {"COMPLETED": n_elements}, found


def makers(run: LabRun, stage: str) -> set[tuple[str, int]]:
    """Job and process of each unit of a stage."""
    done = Run(run.root)
    found = [done.records(stage).load(unit).made_by for unit in done.units(stage)]
    return {(made_by["job"], made_by["pid"]) for made_by in found}


@pytest.mark.parametrize(
    ("options", "n_processes"),
    [
        pytest.param((), 1, id="alone"),
        pytest.param(("--ntasks=2",), 2, id="with two tasks", marks=pytest.mark.slow),
    ],
)
def test_activations_by_hand_are_those_of_run(run, options, n_processes):
    completed(run, sbatch(run, "extract", *options))
    assert run.missing("extract") == []
    assert (len(run.missing("search")), run.jobs()) == (6, [])
    paths = [path.relative_to(run.reference) for path in (run.reference / "activations").rglob("*")]
    files = [path for path in paths if (run.reference / path).is_file()]
    assert len(files) > 12
    for path in files:
        assert (run.root / path).read_bytes() == (run.reference / path).read_bytes(), path
    assert len(makers(run, "extract")) == n_processes
    assert run.times_computed()[:4] == [1] * 4


def test_an_array_and_two_jobs_on_dask_by_hand_are_a_whole_run(run):
    extract = sbatch(run, "extract", "--array=0-2")
    search = sbatch(run, "search", f"--dependency=afterany:{extract}")
    geometry = sbatch(run, "geometry", f"--dependency=afterany:{search}")
    completed(run, extract, 3)
    completed(run, search)
    completed(run, geometry)
    run.check()
    assert {job for job, _ in makers(run, "extract")} == {f"{extract}_{element}" for element in range(3)}
    assert {job for job, _ in makers(run, "search")} == {search}
    assert run.times_computed() == [1] * len(run.times_computed())
    assert (run.root / "report" / "figures").is_dir()


@pytest.mark.slow
def test_a_whole_run_in_one_job_by_hand_is_that_of_run(run):
    completed(run, sbatch(run, "pipeline"))
    run.check()
    assert (run.root / "report" / "figures").is_dir()


@pytest.mark.slow
def test_a_search_by_hand_without_activations_names_what_is_missing(run):
    run.call("prepare", "-m", str(run.manifest), "--run-dir", str(run.root))
    (log,) = ended(run, sbatch(run, "search"))["FAILED"]
    assert "stage 'extract' of" in log
    assert "is not finished: 4 of 4 units have no valid record (0 (" in log
    assert "Traceback" not in log
