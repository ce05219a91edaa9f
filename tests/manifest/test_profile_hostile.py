"""Text that would change a script is refused with its line, in every field, before anything happens."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from profile_examples import check_refused

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest.profile import load_profile
from hpcgeom.manifest.shell_text import JOB_NAME, PATH

HOSTILE = {
    "line break": "a\ntouch canary",
    "line break at the end": "a\n",
    "carriage return": "a\rtouch canary",
    "other line breaks": "a\u2028touch canary\x85",
    "semicolon": "a;touch canary",
    "and": "a && touch canary",
    "pipe": "a | tee canary",
    "background": "a & touch canary",
    "backticks": "`touch canary`",
    "substitution": "$(touch canary)",
    "expansion": "${X:-$(touch canary)}",
    "process": "<(touch canary)",
    "redirection": "a > canary",
    "single quote": "a' ; touch canary ; '",
    "double quote": 'a" ; touch canary ; "',
    "backslash": "a\\",
    "option": "--wrap=touch canary",
    "option alone": "--uid=0",
    "NUL": "a\0b",
    "escape": "a\x1b[2J",
    "tab": "a\tb",
    "Cyrillic": "m\u0430in",
    "full-width": "ｍain",
    "Arabic digits": "a١٢",
    "joiner": "ma\u200din",
    "override": "a\u202ecb",
    "long": "a" * 10_000,
    "comment": "a #SBATCH --wrap=x",
    "history": "!!",
    "glob": "*?",
    "home": "~root/x",
    "blank": " ",
    "subscript": "a[$(touch canary)]",
}
FIELDS = {
    **{
        f"slurm.{key}": key for key in ("partition", "account", "qos", "constraint", "reservation", "exclude")
    },
    **{f"search.{key}": key for key in ("partition", "account", "qos", "constraint", "gpu_type", "walltime")},
    "environment.python": "/bin/python",
    **{f"environment.{key}": "x" for key in ("venv", "conda", "apptainer")},
    "environment.modules": "list",
    "environment.setup": "list",
    "environment.variables": "value",
    "environment.variables.names": "name",
    "dask.interface": "ib0",
    "logs": "logs",
    "name": "name",
}


def profile_with(field: str, value: str) -> dict[str, object]:
    """A profile in which one field holds `value`."""
    section, _, key = field.partition(".")
    if not key:
        return {"name": "demo", field: value}
    held: object = {"list": [value]}.get(FIELDS[field], value)
    if key.startswith("variables"):
        key, held = "variables", {"X": value} if FIELDS[field] == "value" else {value: "x"}
    return {"name": "demo", section: {key: held} | ({"gpus": 1} if key == "gpu_type" else {})}


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(*arguments, **_):
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for name in ("system", "posix_spawn", "execve", "fork"):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_refused_with_its_line_and_nothing_else_happens(
    tmp_path, monkeypatch, field, hostile
):
    monkeypatch.chdir(tmp_path)
    text = json.dumps(profile_with(field, HOSTILE[hostile]), indent=1)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ProblemsError, match=r"p\.yaml:\d+:.* expected .*, found ") as caught:
        load_profile(tmp_path / "p.yaml")
    problem = str(caught.value)
    line = int(re.search(r"p\.yaml:(\d+):", problem)[1])
    key = field.removesuffix(".names").rpartition(".")[2]
    assert any(
        word in text.split("\n")[line - 1] for word in (f'"{key}"', json.dumps(HOSTILE[hostile]), '"X"')
    )
    assert problem.isprintable()
    assert len(problem) < 1000
    assert os.listdir(tmp_path) == ["p.yaml"]


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        ('"a;b"', r"take out ';' \(U\+003B\)"),
        (r'"a\nb"', r"take out '\\n' \(U\+000A\)"),
        ("m\u0430in", r"take out '\\u0430' \(U\+0430\)"),
        ("-a", r"do not begin with '-' \(U\+002D\)"),
        ('""', "give it a value, or remove the key for the default"),
        ("a" * 10_000, "shorten it, it has 10000 characters"),
    ],
)
def test_the_message_names_the_characters_and_the_first_bad_one(tmp_path, value, mend):
    check_refused(
        tmp_path,
        f"slurm:\n  partition: {value}\n",
        r"3: slurm\.partition: expected a partition, or several with commas: 1 to 200 of A-Z a-z 0-9 _ \. \+ "
        rf", - \(the first a letter, a digit or one of _\), found the text .*: {mend}$",
    )


@pytest.mark.parametrize("path", ["~/env", "$HOME/env", "/scratch/${USER}/env"])
def test_shorthands_in_paths_are_not_expanded(tmp_path, path):
    check_refused(
        tmp_path,
        f"environment: {{venv: {json.dumps(path)}}}\n",
        r"2: environment\.venv: expected a path: .*: write it out, ~ and \$VARIABLES are not expanded here$",
    )


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_launcher_can_hold_its_own_text_to_the_same_rules(value):
    for kind in (JOB_NAME, PATH):
        with pytest.raises(InputError, match=r"^the run directory: expected .*, found the text .*: "):
            kind.required(value, "the run directory")
    assert PATH.required("/a/b-c", "the run directory") == "/a/b-c"
