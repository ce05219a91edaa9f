"""Values that a shell or sbatch would obey, in every place: refused before anything is written, run or submitted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from fake_cluster import PROFILE, FakeCluster

MANIFEST = Path(__file__).parent / "never-read.yaml"
HOSTILE = {
    "line break": "a\ntouch canary",
    "line break at the end": "a\n",
    "carriage return": "a\rtouch canary",
    "semicolon": "a;touch canary",
    "and": "a&&touch canary",
    "background": "a&touch canary&",
    "pipe": "a|touch canary",
    "backticks": "`touch canary`",
    "substitution": "$(touch canary)",
    "expansion": "${X:-$(touch canary)}",
    "process": "<(touch canary)",
    "redirection": "a>canary",
    "single quote": "a';touch canary;'",
    "double quote": 'a";touch canary;"',
    "backslash": "a\\\ntouch canary",
    "option": "--wrap=touch canary",
    "short option": "-D/tmp",
    "directive": "a\n#SBATCH --wrap='touch canary'",
    "name of a log": "a%j",
    "NUL": "a\0b",
    "escape": "a\x1b[2J",
    "long": "a" * 10_000,
    "space": "a b",
    "glob": "*",
    "home": "~/a",
    "variable": "$HOME/a",
    "look-alike": "m\u0430in",
}
PROFILE_FIELDS = {
    "name": lambda value: {"name": value},
    "partition": lambda value: {"slurm": {"partition": value}},
    "account": lambda value: {"slurm": {"account": value}},
    "qos of a job": lambda value: {"search": {"qos": value}},
    "constraint": lambda value: {"extract": {"constraint": value}},
    "exclude": lambda value: {"slurm": {"exclude": value}},
    "reservation": lambda value: {"slurm": {"reservation": value}},
    "type of GPU": lambda value: {"extract": {"gpus": 1, "gpu_type": value}},
    "walltime": lambda value: {"collect": {"walltime": value}},
    "python": lambda value: {"environment": {"python": value}},
    "venv": lambda value: {"environment": {"venv": value}},
    "module": lambda value: {"environment": {"modules": [value]}},
    "setup": lambda value: {"environment": {"setup": [value]}},
    "name of a variable": lambda value: {"environment": {"variables": {value: "1"}}},
    "interface": lambda value: {"dask": {"interface": value}},
    "logs": lambda value: {"logs": value},
    "number": lambda value: {"extract": {"jobs": value}},
}
MEANT_OTHERWISE = {("constraint", "glob"), ("constraint", "pipe of features")}
"""What is no danger in a field, because sbatch has it in that field."""
MANIFEST_FIELDS = {
    "name of the run": lambda value: {"name": value},
    "name of a model": lambda value: {
        "models": [{"name": value, "family": "arrays", "source": "x{layer}.npy"}]
    },
    "family": lambda value: {"models": [{"name": "m", "family": value, "source": "x{layer}.npy"}]},
    "label": lambda value: {"dataset": {"kind": "arrays", "labels": {value: {"file": "l.tsv"}}}},
    "file of labels": lambda value: {"dataset": {"kind": "arrays", "labels": {"l": {"file": value}}}},
    "path of ids": lambda value: {"dataset": {"kind": "arrays", "ids": value}},
    "source": lambda value: {"models": [{"name": "m", "family": "arrays", "source": value}]},
}


class Place:
    """A folder in which nothing may happen, and what happened in it."""

    def __init__(self, folder: Path, cluster: FakeCluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.before: set[str] = set()

    def write(self, name: str, value: object) -> None:
        (self.folder / name).write_text(json.dumps(value))

    def begin(self) -> None:
        self.before = self.found()

    def found(self) -> set[str]:
        return {
            str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if "bin" not in path.parts
        }

    def check(self, outcome) -> None:
        assert outcome.code == 2, outcome.err
        assert outcome.out == ""
        assert "hpcgeom" in outcome.err
        assert self.found() == self.before
        for command in ("sbatch", "scancel", "srun", "timeout"):
            assert self.cluster.calls(command) == []
        assert not Path("canary").exists()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    found = Place(tmp_path, FakeCluster(tmp_path / "bin", monkeypatch))
    (tmp_path / "p.yaml").write_text(PROFILE)
    return found


@pytest.fixture
def submit(hpcgeom, place, finished):
    """Submit, really or in a rehearsal, and check that nothing happens."""

    def call(*more: object, manifest: object = finished.manifest, profile: object = "p.yaml") -> None:
        place.begin()
        for rehearsal in ((), ("--dry-run",)):
            place.check(hpcgeom("submit", "-m", manifest, "-p", profile, *rehearsal, *more))

    return call


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", PROFILE_FIELDS)
def test_a_hostile_value_in_a_profile_is_refused(submit, place, field, value):
    if (field, value) == ("constraint", "*"):
        pytest.skip("a feature may be followed by a number of nodes: *")
    place.write("hostile.yaml", {"name": "demo", **PROFILE_FIELDS[field](value)})
    if field == "logs" and value == "a b":
        value = "a b"
    submit("--run-dir", "r", profile="hostile.yaml")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", MANIFEST_FIELDS)
def test_a_hostile_value_in_a_manifest_is_refused(submit, place, field, value):
    whole = {
        "name": "demo",
        "dataset": {"kind": "arrays"},
        "models": [{"name": "m", "family": "arrays", "source": "x{layer}.npy"}],
        **MANIFEST_FIELDS[field](value),
    }
    place.write("m.yaml", whole)
    submit(manifest="m.yaml")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_run_directory_is_refused(submit, value):
    submit(f"--run-dir={value}")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_folder_below_which_runs_would_be_has_no_hostile_name(hpcgeom, place, finished, monkeypatch, value):
    folder = place.folder / value.replace("/", "_")[:200].replace("\0", " ")
    if folder.name.isalnum() and folder.name.isascii():
        pytest.skip("a long name of a folder is no danger")
    folder.mkdir()
    monkeypatch.chdir(folder)
    place.begin()
    outcome = hpcgeom("submit", "-m", finished.manifest, "-p", "../p.yaml")
    if folder.name in {"-D_tmp"}:
        assert outcome.code == 0, "no script begins a word with it"
        return
    place.check(outcome)
    assert "the run directory, which jobs have to name: expected a path: " in outcome.err


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_run_that_was_moved_to_a_hostile_place_is_not_submitted_again(hpcgeom, place, finished, value):
    outcome = hpcgeom("submit", "-m", finished.manifest, "-p", "p.yaml", "--run-dir", "r")
    assert outcome.code == 0
    name = value.replace("/", "_")[:200].replace("\0", " ").lstrip("-")
    Path("r").rename(name)
    calls = len(place.cluster.calls("sbatch"))
    place.begin()
    refused = hpcgeom("resume", f"./{name}")
    if name.isalnum() and name.isascii() or name == "D_tmp":
        assert refused.code == 0
        return
    assert (refused.code, refused.out) == (2, "")
    assert "the run directory, which jobs have to name: expected a path: " in refused.err
    assert len(place.cluster.calls("sbatch")) == calls
    assert place.found() == place.before


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "option", ["--job", "--stage", "--share", "--indices", "--dask", "profile", "manifest"]
)
def test_a_hostile_option_is_refused(hpcgeom, place, finished, run_copy, option, value):
    if option in ("profile", "manifest"):
        given = {"profile": "p.yaml", "manifest": finished.manifest} | {option: value}
        command = [
            "submit",
            f"--manifest={given['manifest']}",
            f"--profile={given['profile']}",
            "--run-dir",
            "r",
        ]
    else:
        before = [] if option in ("--job", "--stage") else ["--stage", "extract"]
        command = ["task", str(run_copy), *before, f"{option}={value}"]
    place.begin()
    place.check(hpcgeom(*command))


def test_the_canary_would_sing(tmp_path, monkeypatch):
    """The values above do what they are feared for."""
    monkeypatch.chdir(tmp_path)
    sang = set()
    for name, value in HOSTILE.items():
        if "\0" in value:
            continue
        os.system(f"echo {value} >/dev/null 2>&1")
        if Path("canary").exists():
            sang.add(name)
            Path("canary").unlink()
    assert {
        "line break",
        "semicolon",
        "and",
        "background",
        "pipe",
        "backticks",
        "substitution",
        "expansion",
    } <= sang
    assert sys.platform == "linux"
