"""The files of jobs: read as they were written, and what is said of those that were not written so."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from hpcgeom.errors import DamagedError, InputError
from hpcgeom.store.jobs import Job, forget_job, jobs_of, read_job, write_job

NAME = "hpcgeom-0123abcd-0000-extract-m"
ARRAY = Job(
    NAME,
    "extract",
    "m",
    elements=("0-3", "4,7"),
    processes=2,
    walltime_s=3600,
    max_requeues=5,
    depends_on=("hpcgeom-x",),
    job_id="12",
    submitted="2026-01-02T03:04:05",
    log="/r/logs/%A_%a_0_log.out",
)
SINGLE = Job(
    "hpcgeom-0123abcd-0001-search",
    "search",
    workers={"mode": "allocation", "n_workers": 2, "interface": None},
    job_id="13",
    log="/r/logs/%j_0_log.out",
)


@pytest.mark.parametrize("job", [ARRAY, SINGLE, Job("hpcgeom-a-0002-collect", "collect")])
def test_a_job_is_read_as_it_was_written(tmp_path, job):
    assert write_job(tmp_path, job) == job
    assert read_job(tmp_path, job.name) == job
    text = (tmp_path / "jobs" / f"{job.name}.json").read_text()
    assert json.loads(text)["name"] == job.name, "people can read it"
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [f"{job.name}.json"]


def test_jobs_come_in_the_order_of_their_numbers(tmp_path):
    names = [f"hpcgeom-0123abcd-{number:04d}-search" for number in (2, 0, 10, 1)]
    for name in names:
        write_job(tmp_path, Job(name, "search"))
    (tmp_path / "jobs" / "profile.json").write_text("{}")
    assert [job.name for job in jobs_of(tmp_path)] == sorted(names)
    assert jobs_of(tmp_path / "nothing") == []


def test_elements_have_ids_and_logs_of_their_own():
    assert ARRAY.ids == ("12_0", "12_1")
    assert [ARRAY.log_of(number) for number in (0, 1)] == [
        "/r/logs/12_0_0_log.out",
        "/r/logs/12_1_0_log.out",
    ]
    assert (SINGLE.ids, SINGLE.log_of(0)) == (("13",), "/r/logs/13_0_log.out")


def test_a_job_that_is_not_submitted_yet_has_no_ids():
    assert replace(ARRAY, job_id="").ids == replace(SINGLE, job_id="").ids == ()


def test_the_file_of_a_refused_job_goes(tmp_path):
    write_job(tmp_path, ARRAY)
    forget_job(tmp_path, ARRAY)
    forget_job(tmp_path, ARRAY)
    assert jobs_of(tmp_path) == []


def test_what_a_later_version_adds_is_passed_over(tmp_path):
    write_job(tmp_path, ARRAY)
    path = tmp_path / "jobs" / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "color": "blue"}))
    assert read_job(tmp_path, NAME) == ARRAY


def test_a_job_that_is_not_there_is_the_users_mistake(tmp_path):
    message = (
        f"{tmp_path} has no job '{NAME}' (there is no {tmp_path}/jobs/{NAME}.json): "
        f"hpcgeom status {tmp_path} lists them"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read_job(tmp_path, NAME)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "a\0b", "", "a\nb", "a" * 10_000, "--x", "$(x)"])
def test_a_name_that_no_job_can_have_is_refused_before_any_file_is_read(tmp_path, name):
    with pytest.raises(
        InputError, match=r"^a job of the run: expected the name of a job: .*, found the text"
    ):
        read_job(tmp_path, name)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", '{"name": "x"}', '{"name": "x", "stage": "s", "elements": 3}',
             "\udcff"]
)  # fmt: skip
def test_a_file_that_is_not_one_of_a_job_is_damaged(tmp_path, text):
    write_job(tmp_path, ARRAY)
    path = tmp_path / "jobs" / f"{NAME}.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    message = (
        rf"^{re.escape(str(path))} cannot be read \(.*\): remove it, then hpcgeom resume {tmp_path} submits"
    )
    with pytest.raises(DamagedError, match=message):
        read_job(tmp_path, NAME)
