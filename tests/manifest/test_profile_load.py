"""Loading a profile: defaults, walltimes, paths, the one that holds, and contradictions."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_examples import check_refused, loaded

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.profile import default_profile, find_profile, load_profile
from hpcgeom.manifest.profile_sections import JobSection, Profile


def test_a_name_is_enough_and_the_rest_are_the_documented_defaults(tmp_path):
    profile = loaded(tmp_path, "").profile
    assert set(profile.slurm_of("extract").values()) == {None}
    assert (profile.slurm.signal_before_end_s, profile.slurm.max_requeues) == (120, 20)
    assert (profile.extract.jobs, profile.extract.jobs_at_once, profile.extract.processes) == (8, 256, 1)
    for stage in ("extract", "search", "geometry", "collect"):
        job = profile.job(stage)
        assert (job.walltime_s, job.cpus, job.memory_gb, job.gpus) == (4 * 3600, 1, None, 0)
    assert (profile.dask.mode, profile.dask.workers, profile.dask.nodes) == ("allocation", 4, 1)
    assert (profile.dask.start_timeout_s, profile.dask.refill_every_s) == (300, 30)
    assert (profile.logs, profile.setup_lines()) == (None, ())
    assert profile.model_copy(update={"name": "default"}) == default_profile().profile


def test_the_text_of_the_defaults_is_a_profile_that_says_the_same(tmp_path):
    default = default_profile()
    (tmp_path / "kept.yaml").write_text(default.text)
    kept = load_profile(tmp_path / "kept.yaml", default.folder)
    assert (kept.profile, kept.digest, kept.folder) == (default.profile, default.digest, default.folder)
    assert (default.path, default.logs) == (None, None)


def test_a_profile_survives_json(tmp_path):
    text = (
        "extract: {units_per_job: 5, node: {gpus: 1}}\nenvironment: {setup: [umask 027], variables: {A: b}}\n"
    )
    profile = loaded(tmp_path, text).profile
    assert Profile.model_validate_json(profile.model_dump_json(exclude_defaults=True)) == profile


def test_the_digest_is_that_of_what_is_written_and_not_of_where(tmp_path):
    (tmp_path / "other").mkdir()
    text = "environment: {venv: env}\nlogs: logs\n"
    one, two = loaded(tmp_path, text), loaded(tmp_path / "other", text)
    assert one.profile != two.profile
    assert one.digest == two.digest != loaded(tmp_path, "logs: other\n").digest
    written = Profile.model_validate({"name": "demo", "environment": {"venv": "env"}, "logs": "logs"})
    text = json.dumps(written.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert one.digest == hashlib.sha256(text.encode()).hexdigest()


@given(minutes=st.integers(1, 999 * 1440), by_days=st.booleans())
def test_walltimes_are_seconds(minutes, by_days):
    hours, rest = divmod(minutes, 60)
    days, hours = divmod(hours, 24) if by_days or hours > 9999 else (0, hours)
    text = (f"{days}-" if days else "") + f"{hours:02d}:{rest:02d}:00"
    job = JobSection(walltime=text)
    assert job.walltime_s == timedelta(minutes=minutes).total_seconds()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("12:30:00", 45000),
        ('"12:30:00"', 45000),
        ("4:00:00", 14400),
        ("2-00:30:00", 174600),
        ("100:00:00", 360000),
    ],
)
def test_a_walltime_needs_no_quotes(tmp_path, written, seconds):
    assert loaded(tmp_path, f"extract: {{walltime: {written}}}\n").profile.extract.walltime_s == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("60", "30:00", "1-12", "00:00:00", "00:00:30", "01:00:30", "00:60:00", "1-24:00:00", "-1:00:00"),
        *("UNLIMITED", "true", "1.5", "12:30:00 ", "٠١:٠٠:٠٠", "01:00:00\\n", "45000", "[]"),
    ],
)
def test_other_ways_to_write_a_walltime_are_refused(tmp_path, written):
    written = f'"{written}"' if written[-1] in " n" else written
    check_refused(
        tmp_path,
        f"dask: {{mode: local}}\nsearch:\n  walltime: {written}\n",
        r"4: search\.walltime: expected a walltime HH:MM:SS or D-HH:MM:SS of whole minutes, at least one, "
        r'found .*: write it as "04:00:00" or "2-12:30:00"',
    )


def test_relative_paths_start_at_the_profile_or_where_it_was(tmp_path):
    text = "environment: {venv: ../env}\nlogs: logs\n"
    here = loaded(tmp_path, text)
    assert here.profile.environment.venv == f"{tmp_path}/../env"
    assert (here.logs, here.path, here.folder) == (tmp_path / "logs", tmp_path / "p.yaml", tmp_path)
    assert load_profile(here.path, "/elsewhere").logs == Path("/elsewhere/logs")
    assert loaded(tmp_path, "environment: {conda: env}\n").profile.environment.conda == "env"
    assert loaded(tmp_path, "environment: {conda: ./env}\n").profile.environment.conda == f"{tmp_path}/env"
    assert loaded(tmp_path, "logs: /abs\n").logs == Path("/abs")


@pytest.mark.parametrize("folder", ["a b", "a%j", "a\nb", "é", "a'b", "$(touch canary)"])
def test_a_folder_that_no_script_may_hold_is_refused_where_a_path_starts_there(tmp_path, folder):
    (tmp_path / folder).mkdir()
    loaded(tmp_path / folder, "logs: /abs\n")
    with pytest.raises(ProblemsError, match="or write the path of a link to it, from / on") as caught:
        loaded(tmp_path / folder, "logs: logs\nenvironment: {python: bin/python}\n")
    assert [re.search(r"p\.yaml:(\d): ([\w.]+): from", each).groups() for each in caught.value.problems] == [
        ("2", "logs"),
        ("3", "environment.python"),
    ]


def test_the_profile_that_holds_is_the_nearest_that_is_named(tmp_path, monkeypatch):
    for name in ("given", "variable", "config/hpcgeom/profile", "home/.config/hpcgeom/profile"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {name.partition('/')[0]}\n")
    monkeypatch.setenv("HPCGEOM_PROFILE", str(tmp_path / "variable.yaml"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_profile(tmp_path / "given.yaml").profile.name == "given"
    assert find_profile().profile.name == "variable"
    monkeypatch.setenv("HPCGEOM_PROFILE", "")
    assert find_profile().profile.name == "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    assert find_profile().profile.name == "home"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert find_profile().path == tmp_path / "home/.config/hpcgeom/profile.yaml"
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    assert find_profile() == default_profile()


def test_a_profile_that_is_named_but_missing_or_wrong_is_never_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HPCGEOM_PROFILE", str(tmp_path / "none.yaml"))
    with pytest.raises(
        InputError, match=r"^\$HPCGEOM_PROFILE: .*none\.yaml: expected a YAML file, found nothing"
    ):
        find_profile()
    (tmp_path / "none.yaml").write_text("nam: x\n")
    with pytest.raises(
        ProblemsError, match=r"none\.yaml:1: name: expected the key name .*\n.*did you mean 'name'"
    ):
        find_profile()
    monkeypatch.delenv("HPCGEOM_PROFILE")
    (tmp_path / "hpcgeom").mkdir()
    (tmp_path / "hpcgeom/profile.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"profile\.yaml: expected a YAML file, found nothing of that name"):
        find_profile()


def test_a_profile_is_a_mapping(tmp_path):
    (tmp_path / "p.yaml").write_text("- a\n")
    with pytest.raises(
        InputError,
        match=r"p\.yaml:1: expected a mapping with the keys name, slurm, .*found a list: write these keys",
    ):
        load_profile(tmp_path / "p.yaml")


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path):
    check_refused(
        tmp_path,
        "extract: {cpus: 9, gpus: -1}\nsearch: {cpus: 3, walltime: 00:04:00}\nnode: {cpus: 8}\n"
        "slurm: {partitions: x}\ndask: {mode: remote}\n",
        r"2: extract\.gpus: expected a number of at least 0, found the number -1",
        r"5: slurm\.partitions: expected one of partition, .*found 'partitions': did you mean 'partition'\?",
        r"6: dask\.mode: expected 'local', 'allocation' or 'jobqueue', found the text 'remote'",
    )
