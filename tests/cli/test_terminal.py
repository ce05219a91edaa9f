"""The program in a process of its own: what it imports, where its output goes, which letters it knows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = "from hpcgeom.cli.main import entry_point; entry_point()"
HEAVY = ("torch", "transformers", "dask", "distributed", "faiss", "zarr", "xarray", "numba", "numpy", "rich")


def program(*arguments: object, **settings) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **settings)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["-h"], ["nothing"]])
def test_nothing_heavy_is_imported_before_a_command_is_known(arguments):
    code = (
        "import atexit, sys; from hpcgeom.cli.main import entry_point\n"
        "def tell():\n"
        f"    print('imported:', *sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)\n"
        "atexit.register(tell)\n"
        "entry_point()"
    )
    shown = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert shown.returncode == (2 if arguments == ["nothing"] else 0)
    assert shown.stderr.splitlines()[-1] == "imported:"


def test_help_takes_little_time():
    code = f"import atexit, time\natexit.register(lambda: print(time.process_time()))\n{PROGRAM}"
    shown = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert "The geometry of hidden representations" in shown.stdout
    assert float(shown.stdout.splitlines()[-1]) < 0.6  # seconds of this process alone; 0.15 is usual


def test_without_a_command_help_is_shown():
    alone = program()
    assert "Usage: hpcgeom [OPTIONS] COMMAND [ARGS]..." in alone.stdout + alone.stderr
    assert "verify" in alone.stdout + alone.stderr


def test_a_reader_that_has_gone_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "models"], stdout=writing, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode != 0


@pytest.fixture(scope="module")
def usual(run):
    """The tables of a run where the terminal knows all letters."""
    return program("show", run, env={**os.environ, "PYTHONIOENCODING": "utf-8"}).stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_letters_that_the_terminal_lacks_do_not_end_a_command(run, usual, settings):
    shown = program("show", run, env={**os.environ, **settings}, errors="replace")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "±" in usual
    assert len(shown.stdout.splitlines()) == len(usual.splitlines())


def test_results_go_to_standard_output_and_progress_to_standard_error(run):
    done = program("resume", run, "--workers", 1)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "extract: all 2 units are done",
        "search: all 3 units are done",
        "geometry: all 4 units are done",
        "collect: all 1 units are done",
    ]
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["figures", "results", "tables"]
