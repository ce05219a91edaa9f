"""Values that a shell or sbatch would obey, in every place: refused before anything is written or run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from fake_cluster import PROFILE, FakeCluster

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
MANIFEST_FIELDS = {
    "name of the run": lambda value: {"name": value},
    "name of a model": lambda value: {"models": [{**MODEL, "name": value}]},
    "family": lambda value: {"models": [{**MODEL, "family": value}]},
    "label": lambda value: {"dataset": {"kind": "arrays", "labels": {value: {"file": "l.tsv"}}}},
    "source": lambda value: {"models": [{**MODEL, "source": value}]},
}
MANIFEST_PATHS = {
    "labels": lambda value: {"dataset": {"kind": "arrays", "labels": {"l": {"file": value}}}},
    "ids": lambda value: {"dataset": {"kind": "arrays", "ids": value}},
}
MODEL = {"name": "m", "family": "arrays", "source": "x{layer}.npy"}
EVERY = 4
"""A value is tried in every fourth field, a field with every fourth value; tests of profiles try all."""


def some(fields):
    """Pairs of a field and a value, so that each of both is there."""
    return [
        pytest.param(field, value, id=f"{field}-{name}")
        for i, field in enumerate(fields)
        for j, (name, value) in enumerate(HOSTILE.items())
        if (i + j) % EVERY == 0
    ]


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

    def calls(self) -> list[str]:
        """What would have changed something on the cluster."""
        return [*self.cluster.calls("sbatch"), *self.cluster.calls("scancel")]

    def check(self, outcome) -> None:
        assert outcome.code == 2, outcome.err
        assert outcome.out == ""
        assert "hpcgeom" in outcome.err
        assert self.found() == self.before
        assert self.calls() == []
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


@pytest.mark.parametrize(("field", "value"), some(PROFILE_FIELDS))
def test_a_hostile_value_in_a_profile_is_refused(submit, place, field, value):
    place.write("hostile.yaml", {"name": "demo", **PROFILE_FIELDS[field](value)})
    submit("--run-dir", "r", profile="hostile.yaml")


def write_manifest(place: Place, changes: dict[str, object]) -> None:
    place.write("m.yaml", {"name": "demo", "dataset": {"kind": "arrays"}, "models": [MODEL], **changes})


@pytest.mark.parametrize(("field", "value"), some(MANIFEST_FIELDS))
def test_a_hostile_value_in_a_manifest_is_refused(submit, place, field, value):
    write_manifest(place, MANIFEST_FIELDS[field](value))
    submit(manifest="m.yaml")


@pytest.mark.parametrize(("field", "value"), some(MANIFEST_PATHS))
def test_a_hostile_path_of_data_is_a_path_and_reaches_no_script(hpcgeom, place, field, value):
    write_manifest(place, MANIFEST_PATHS[field](value))
    refused = hpcgeom("submit", "-m", "m.yaml", "-p", "p.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert place.calls() == []
    assert not [path for path in place.found() if path.endswith(("canary", "plan.json"))]


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_run_directory_is_refused(submit, value):
    submit(f"--run-dir={value}")


NAMES = {
    name: value for name, value in HOSTILE.items() if name not in ("NUL", "long", "option", "short option")
}
"""Those of which a folder can have the name, and which mean something in the middle of a path."""


@pytest.mark.parametrize("value", NAMES.values(), ids=NAMES)
def test_where_the_name_of_a_folder_is_hostile_nothing_is_submitted(
    hpcgeom, place, finished, monkeypatch, value
):
    folder = place.folder / value.replace("/", "_")
    folder.mkdir()
    monkeypatch.chdir(folder)
    place.begin()
    refused = hpcgeom("submit", "-m", finished.manifest, "-p", "../p.yaml")
    place.check(refused)
    assert "hpcgeom: the run directory, which jobs have to name: expected a path: " in refused.err


@pytest.mark.parametrize("value", NAMES.values(), ids=NAMES)
def test_a_run_that_was_moved_to_a_hostile_place_is_not_submitted_again(hpcgeom, place, finished, value):
    assert hpcgeom("prepare", "-m", finished.manifest, "--run-dir", "r").code == 0
    name = value.replace("/", "_")
    Path("r").rename(name)
    place.begin()
    refused = hpcgeom("resume", f"./{name}", "-p", "p.yaml")
    place.check(refused)
    assert "hpcgeom: the run directory, which jobs have to name: expected a path: " in refused.err


OPTIONS = (
    *("--job", "--stage", "--share", "--indices", "--dask"),
    *("profile", "manifest"),
)


@pytest.mark.parametrize(("option", "value"), some(OPTIONS))
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


SINGING = ("line break", "semicolon", "and", "pipe", "backticks", "substitution", "expansion", "redirection")


@pytest.mark.parametrize("name", SINGING)
def test_a_shell_would_obey_these_values(tmp_path, name):
    subprocess.run(["/bin/bash", "-c", f"echo {HOSTILE[name]}"], cwd=tmp_path, capture_output=True)
    assert (tmp_path / "canary").exists()
