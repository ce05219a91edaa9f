"""The commands and their options: whoever adds one changes this list with it."""

from __future__ import annotations

import re

import pytest
import typer.main

from hpcgeom.cli.main import app

COMMANDS = {
    "init": ["[name]", "--profile"],
    "models": ["--json"],
    "schema": ["[of]"],
    "validate": ["-m --manifest*"],
    "plan": ["-m --manifest*", "--samples", "--length", "-p --profile", "--devices", "--like", "--json"],
    "prepare": ["-m --manifest*", "--run-dir"],
    "run": [
        *("-m --manifest*", "--run-dir", "--workers", "--reuse", "--dask", "--strategy", "--host-memory-gb"),
        *("--allow-code-change", "--profile-trace"),
    ],
    "submit": [
        *("-m --manifest*", "-p --profile", "--run-dir", "--reuse", "--dry-run", "--samples", "--length"),
        "--allow-code-change",
    ],
    "task": [
        *("run*", "--stage", "--indices", "--share", "--workers", "--dask", "--job"),
        *("--strategy", "--host-memory-gb", "--allow-code-change"),
    ],
    "status": ["run*", "--watch", "--json"],
    "logs": ["run*", "--stage", "--lines"],
    "cancel": ["run*"],
    "resume": [
        *("run*", "--workers", "--dask", "-p --profile", "--strategy", "--host-memory-gb"),
        "--allow-code-change",
    ],
    "measure": [
        "--points",
        "--distances",
        "--indices",
        "--mus",
        "--labels",
        "--layers",
        "--self-column",
        "--squared",
        "--estimators",
        "--mu-fraction",
        "--mu-fractions",
        "--gride-range-max",
        "--levina-bickel-k",
        "--local-dimension-k",
        "--clusters",
        "--spectrum",
        "-k --overlap-k",
        "--exclude-same",
        "--jaccard",
        "--error-splits",
        "--information-imbalance",
        "--cka",
        "--neighbors",
        "--metric",
        "--backend",
        "--out",
        "--json",
    ],
    "verify": ["run*", "--json"],
    "compare": ["run*", "other*"],
    "show": ["run*", "--json"],
    "plot": ["run*", "--reference"],
    "doctor": ["--run-dir", "-p --profile", "-m --manifest", "--json"],
}
OPTIONS = ["-v --verbose", "--version"]


def signature(command) -> list[str]:
    """Options and arguments in order; * where one must be given, [] around an argument that need not."""
    found = []
    for parameter in command.params:
        name = " ".join(parameter.opts)
        is_option = name.startswith("-")
        found.append(f"{name}*" if parameter.required else name if is_option else f"[{name}]")
    return found


@pytest.fixture(scope="module")
def group():
    return typer.main.get_command(app)


def test_the_commands_are_these(group):
    added, gone = set(group.commands) - set(COMMANDS), set(COMMANDS) - set(group.commands)
    assert (added, gone) == (set(), set())
    assert list(group.commands) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_these(group, name):
    found = signature(group.commands[name])
    assert [option for option in found if option not in COMMANDS[name]] == [], "added"
    assert found == COMMANDS[name]


def test_the_options_before_a_command_are_these(group):
    assert signature(group) == OPTIONS


def test_every_command_and_option_says_what_it_is(group):
    for name, command in group.commands.items():
        assert re.match(r"[A-Z].*\.$", command.help.splitlines()[0]), name
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)
