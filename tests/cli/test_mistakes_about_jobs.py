"""Mistakes about what jobs do: options that contradict each other, jobs that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_cluster import PROFILE, FakeCluster

from hpcgeom.store.jobs import Job, jobs_of, write_job

ARRAY = Job("hpcgeom-0123abcd-0000-extract-first", "extract", "first", elements=("0", "1"))
ALONE = "--job NAME says all that is to be done: leave the other options out"


@pytest.fixture(autouse=True)
def _no_job(monkeypatch):
    """The tests may themselves run in a job."""
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prepared(hpcgeom, manifest):
    """A run without any unit done, and a job of it."""
    assert hpcgeom("prepare", "-m", manifest, "--run-dir", "r").code == 0
    write_job(Path("r"), ARRAY)
    return Path("r")


def done_in(root: Path) -> list[str]:
    """The records of extract."""
    return sorted(path.name for path in (root / "records" / "extract").glob("0*.json"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("schema", "run"),
            "there is no schema 'run': expected one of manifest, profile, status: choose one of them",
        ),
        (
            ("submit", "-m", "m.yaml", "--samples", 5),
            "--samples and --length are for --dry-run, which need not have the data: leave them out",
        ),
        (
            ("submit", "-m", "m.yaml", "--length", 5),
            "--samples and --length are for --dry-run, which need not have the data: leave them out",
        ),
        (
            ("resume", "r", "--profile", "p.yaml", "--workers", 1),
            "--profile submits to SLURM, --workers and --dask do not: leave one of them out",
        ),
        (
            ("resume", "r", "--profile", "p.yaml", "--dask", "allocation"),
            "--profile submits to SLURM, --workers and --dask do not: leave one of them out",
        ),
        (
            ("task", "r"),
            (
                "a task needs --stage S (or --job NAME): expected extract, search, merge, geometry or "
                "collect: name one of these"
            ),
        ),
        (("task", "r", "--job", "x", "--stage", "extract"), ALONE),
        (("task", "r", "--job", "x", "--indices", "0"), ALONE),
        (("task", "r", "--job", "x", "--share", "0/2"), ALONE),
        (("task", "r", "--job", "x", "--workers", "2"), ALONE),
        (("task", "r", "--job", "x", "--dask", "allocation"), ALONE),
        (
            ("task", "r", "--stage", "search", "--dask", "local"),
            "--dask local: expected 'allocation'; other modes are in a profile: hpcgeom submit -p",
        ),
        (
            ("task", "r", "--stage", "search", "--dask", "allocation"),
            "--dask allocation: this is no job of SLURM (SLURM_JOB_ID is not set): submit it with sbatch, or",
        ),
        (
            ("task", "r", "--stage", "search,geometry", "--indices", "0"),
            "--stage search,geometry: indices and shares are those of one stage: name one, or all units",
        ),
        (
            ("task", "r", "--stage", "search", "--share", "2/2"),
            "--share '2/2': expected I/N with I from 0 to N-1",
        ),
        (("task", "r", "--stage", "search", "--share", "slurm/"), "--share 'slurm/': expected I/N"),
        (
            ("task", "r", "--job", "hpcgeom-0123abcd-0007-search"),
            "r has no job 'hpcgeom-0123abcd-0007-search' (there is no r/jobs/hpcgeom-0123abcd-0007-search",
        ),
        (
            ("task", "r", "--job", ARRAY.name),
            (
                f"job '{ARRAY.name}' is an array of 2, but SLURM_ARRAY_TASK_ID is '': expected 0 to 1, as "
                "its script sets it: submit that script as it is"
            ),
        ),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_to_do(hpcgeom, prepared, arguments, message):
    refused = hpcgeom(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"hpcgeom: {message}")
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [("run", "-m", "m.yaml"), ("resume", "r"), ("task", "r", "--stage", "search")],
    ids=["run", "resume", "task"],
)
def test_workers_here_and_workers_of_a_job_exclude_each_other(hpcgeom, prepared, command):
    refused = hpcgeom(*command, "--workers", 2, "--dask", "allocation")
    assert refused.code == 2
    assert refused.err == (
        "hpcgeom: --workers N are processes here, and --dask MODE are workers of a job: "
        "leave one of them out\n"
    )


@pytest.mark.parametrize("element", ["2", "-1", "x"])
def test_an_element_that_the_array_does_not_have_is_refused(hpcgeom, prepared, monkeypatch, element):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", element)
    refused = hpcgeom("task", "r", "--job", ARRAY.name)
    assert refused.code == 2
    assert f"is an array of 2, but SLURM_ARRAY_TASK_ID is '{element}': expected 0 to 1" in refused.err


def test_an_element_does_its_units_and_no_others(hpcgeom, prepared, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    done = hpcgeom("task", "r", "--job", ARRAY.name)
    assert (done.code, done.out) == (0, f"extract: the units of {ARRAY.name} are done\n")
    assert done_in(prepared) == ["000001.json"]


def test_a_share_is_done_and_named(hpcgeom, prepared):
    done = hpcgeom("task", "r", "--stage", "extract", "--share", "1/2")
    assert (done.code, done.out) == (0, "extract: units 1/2 of r are done\n")
    assert done_in(prepared) == ["000001.json"]


def test_the_share_of_slurm_is_that_of_the_task(hpcgeom, prepared, monkeypatch):
    for name, value in {"NTASKS": "2", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert hpcgeom("task", "r", "--stage", "extract", "--share", "slurm").code == 0
    assert done_in(prepared) == ["000001.json"]


def test_elements_with_gaps_have_no_share(hpcgeom, prepared, monkeypatch):
    for name, value in {"ARRAY_TASK_ID": "9", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_COUNT": "4"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    refused = hpcgeom("task", "r", "--stage", "extract", "--share", "slurm")
    assert refused.code == 2
    assert "element 9 of an array of 4 that begins at 1: number them without gaps, such as --array=0-3" in (
        refused.err
    )


def test_several_stages_are_done_one_after_the_other_and_end_with_the_results(hpcgeom, prepared):
    done = hpcgeom("task", "r", "--stage", "extract,search,geometry,collect", "--workers", 1)
    assert done.code == 0
    assert "results: r/results.zarr" in done.out


def test_a_damaged_file_of_a_job_says_how_to_go_on(hpcgeom, prepared):
    path = prepared / "jobs" / f"{ARRAY.name}.json"
    path.write_text("{")
    for command in (("status", "r"), ("logs", "r"), ("cancel", "r"), ("task", "r", "--job", ARRAY.name)):
        refused = hpcgeom(*command)
        assert refused.code == 3
        assert f"{path} cannot be read (" in refused.err
        assert "remove it, then hpcgeom resume r submits what is missing" in refused.err


def test_commands_about_jobs_of_a_run_that_has_none_say_so(hpcgeom, prepared, tmp_path, monkeypatch):
    FakeCluster(tmp_path / "bin", monkeypatch)
    for job in jobs_of(prepared):
        (prepared / "jobs" / f"{job.name}.json").unlink()
    assert hpcgeom("cancel", "r").out == "r: no job waits or runs\n"
    assert hpcgeom("logs", "r").out == "r: no job has written a log\n"


def test_a_profile_that_the_environment_names_is_said_to_be_from_there(
    hpcgeom, manifest, monkeypatch, tmp_path
):
    FakeCluster(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("HPCGEOM_PROFILE", str(tmp_path / "nothing.yaml"))
    refused = hpcgeom("submit", "-m", manifest)
    assert refused.code == 2
    assert "$HPCGEOM_PROFILE: " in refused.err
    (tmp_path / "nothing.yaml").write_text(PROFILE)
    assert hpcgeom("submit", "-m", manifest).code == 0
