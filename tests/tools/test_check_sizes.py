"""The checker of sizes, on files and functions just short and just long enough."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_sizes.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("check_sizes", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def function(n_lines: int, docstring: str = "", kind: str = "def") -> str:
    return f"{kind} f():\n{docstring}" + "    x = 1\n" * (n_lines - 1)


@pytest.fixture
def too_long(tool, tmp_path):
    def too_long(text: str, name: str = "module.py") -> list[str]:
        (tmp_path / name).write_text(text)
        return [line.removeprefix(f"{tmp_path}/") for line in tool.too_long(tmp_path / name)]

    return too_long


def test_a_file_of_350_lines_is_short_enough_and_one_more_is_not(too_long):
    assert too_long("x = 1\n" * 350) == []
    assert too_long("x = 1\n" * 351) == ["module.py: 351 lines, at most 350: split it by idea"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_of_60_lines_is_short_enough_and_one_more_is_not(too_long, kind):
    assert too_long(function(60, kind=kind)) == []
    assert too_long("\n" + function(61, kind=kind)) == ["module.py:2: f has 61 lines, at most 60"]


def test_docstrings_are_not_counted(too_long):
    docstring = '    """One.\n\n    Two.\n    """\n'
    assert too_long(function(60, docstring)) == []
    assert too_long(function(61, docstring)) == ["module.py:1: f has 61 lines, at most 60"]


def test_methods_and_inner_functions_are_functions(too_long):
    body = "        x = 1\n" * 60
    assert too_long(f"class C:\n    def method(self):\n{body}") == [
        "module.py:2: method has 61 lines, at most 60"
    ]


def test_compiled_kernels_may_have_long_functions_but_not_long_files(too_long):
    assert too_long(function(100), "kernels.py") == []
    assert too_long("x = 1\n" * 351, "kernels.py") == ["kernels.py: 351 lines, at most 350: split it by idea"]


def test_the_files_of_this_repository_are_short_enough():
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split()[0]) > 100
