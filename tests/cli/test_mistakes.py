"""Mistakes: one sentence, the exit code that it has, and a traceback only for who asks."""

from __future__ import annotations

import errno
import os

import pytest
from small_inputs import write_inputs

from hpcgeom.cli import commands
from hpcgeom.errors import IncompleteError, InputError, ResourceError
from hpcgeom.plan.packing import unpack


def test_all_problems_of_a_manifest_are_printed_one_a_line(hpcgeom, tmp_path):
    (tmp_path / "m.yaml").write_text("name: x\ndataset: {kind: arrays}\nneighbors: {k: 1}\nmodles: []\n")
    refused = hpcgeom("validate", "-m", "m.yaml")
    assert (refused.code, refused.out) == (2, "")
    problems = refused.err.removeprefix("hpcgeom: ").splitlines()
    assert len(problems) >= 3
    assert all(problem.startswith("m.yaml:") for problem in problems)
    assert any(problem.startswith("m.yaml:3: neighbors.k: ") for problem in problems)
    assert any(problem.startswith("m.yaml:4: modles: ") for problem in problems)


@pytest.mark.parametrize("command", ["validate", "plan", "prepare", "run", "submit"])
def test_a_missing_manifest_is_the_user_s_mistake(hpcgeom, command):
    refused = hpcgeom(command, "-m", "nothing.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert "nothing.yaml" in refused.err
    assert "Traceback" not in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "."),
        ("status", ".", "--watch"),
        ("logs", "."),
        ("cancel", "."),
        ("resume", "."),
        ("resume", ".", "--workers", "1"),
        ("task", ".", "--job", "hpcgeom-12345678-0000-extract"),
        ("verify", "."),
        ("show", "."),
        ("plot", "."),
        ("compare", ".", "."),
        ("task", ".", "--stage", "extract", "--indices", "0"),
    ],
)
def test_a_folder_that_is_no_run_is_the_user_s_mistake(hpcgeom, arguments):
    refused = hpcgeom(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("hpcgeom: ")
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "No such command 'nothing'"),
        (("run", "--fast"), "No such option: --fast"),
        (("run",), "Missing option '-m'"),
        (("status",), "Missing argument 'RUN'"),
        (("run", "-m", "m.yaml", "--workers", "0"), "Invalid value for '--workers'"),
        (("run", "-m", "m.yaml", "--workers", "many"), "Invalid value for '--workers'"),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_2_and_says_how_to_ask(hpcgeom, arguments, message):
    refused = hpcgeom(*arguments)
    assert refused.code == 2
    assert message in refused.err
    assert "hpcgeom" in refused.err.splitlines()[0]


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_traceback_is_printed_to_who_asks_for_it_anywhere(hpcgeom, flag, is_first):
    arguments = ["status", "."]
    asked = [flag, *arguments] if is_first else [*arguments, flag]
    quiet, loud = hpcgeom(*arguments), hpcgeom(*asked)
    assert quiet.code == loud.code == 2
    assert "Traceback" not in quiet.err
    assert loud.err.startswith(quiet.err)
    assert "Traceback (most recent call last)" in loud.err
    assert "read_plan" in loud.err


def test_the_traceback_of_a_failed_unit_is_that_of_its_process(hpcgeom, manifest, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    path = write_inputs(inputs)
    assert hpcgeom("prepare", "-m", path, "--run-dir", "r").code == 0
    (inputs / "first0.npy").unlink()
    failed = hpcgeom("task", "r", "--stage", "extract", "--indices", "0", "-v")
    assert failed.code != 0
    assert "stage 'extract': 1 of 2 units failed: " in failed.err
    assert "in do\n" in failed.err, "the frame of the worker"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("a"), 2, "hpcgeom: a\n"),
        (IncompleteError("b"), 3, "hpcgeom: b\n"),
        (ResourceError("c"), 4, "hpcgeom: c\n"),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"),
            2,
            "hpcgeom: the system refuses /x (permission denied): name another path, or add -v",
        ),
        (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/x"), 2, "/x (is a directory)"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 4, "refuses (no space left on device)"),
        (OSError(errno.EIO, os.strerror(errno.EIO), "/x"), 4, "/x (input/output error)"),
        (MemoryError(), 4, "hpcgeom: memory ran out: hpcgeom plan says what a task needs\n"),
        (KeyboardInterrupt(), 130, "hpcgeom: interrupted; the same command goes on where it stopped\n"),
    ],
)
def test_every_kind_of_error_has_its_exit_code_and_one_line(hpcgeom, monkeypatch, error, code, message):
    def fail(of):
        raise error

    monkeypatch.setattr(commands, "schema", fail)
    ended = hpcgeom("schema")
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_error_of_ours_is_not_hidden(hpcgeom, monkeypatch):
    monkeypatch.setattr(commands, "schema", lambda of: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        hpcgeom("schema")


@pytest.mark.parametrize(
    ("text", "indices"), [("0", [0]), ("0-3", [0, 1, 2, 3]), ("3,1-2", [3, 1, 2]), ("1,1,0-1", [1, 0])]
)
def test_indices_are_numbers_and_ranges(text, indices):
    assert unpack(text) == indices


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1 2", "0x1", "1-2-3", "9999999999"])
def test_other_indices_are_refused(text):
    with pytest.raises(
        InputError,
        match=r"--indices '.*': expected numbers and ranges such as 0-15,18; found '.*': correct it",
    ):
        unpack(text)


@pytest.mark.parametrize(
    ("stage", "indices", "message"),
    [
        (
            "nothing",
            "0",
            "'nothing': expected one of extract, search, merge, geometry, collect: choose one of them",
        ),
        ("extract", "2", "stage 'extract' has units 0 to 1, but 2 was asked for"),
        ("extract", "0-999999", "stage 'extract' has units 0 to 1, but 2 was asked for"),
    ],
)
def test_a_task_that_does_not_exist_is_refused(hpcgeom, run, stage, indices, message):
    refused = hpcgeom("task", run, "--stage", stage, "--indices", indices)
    assert refused.code == 2
    assert message in refused.err


def test_a_stage_before_its_inputs_is_incomplete(hpcgeom, manifest):
    assert hpcgeom("prepare", "-m", manifest, "--run-dir", "r").code == 0
    early = hpcgeom("task", "r", "--stage", "search", "--indices", "0")
    assert early.code == 3
    assert "stage 'extract' of r is not finished: 2 of 2 units" in early.err
