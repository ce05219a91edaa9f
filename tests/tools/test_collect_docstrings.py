"""The collector of docstrings, on a tiny package that must never be imported."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpcgeom.data import read_text

TOOL = Path(__file__).parents[2] / "tools" / "collect_docstrings.py"
LONG = "Long enough to be kept, because it says something about the object and how it is used."


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("collect_docstrings", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path):
    files = {
        "__init__.py": f'"""Package. {LONG}"""\nraise SystemExit("imported")\n',
        "_core.py": f'''
class Shape:
    """Shape. {LONG}"""
    def area(self):
        """Area. {LONG}

            indented
        back
        """
    def _inner(self):
        """Inner. {LONG}"""
def short():
    """Too short."""
def repeated():
    """Shape. {LONG}"""
try:
    async def fetch():
        """Fetch. {LONG}"""
except ImportError:
    pass
''',
        "_add_newdocs.py": f"""
add_newdoc("tinypkg._core", "ufunc", '''
    Ufunc. {LONG}
    ''')
add_newdoc("tinypkg._core", "array", ("dot", "Dot. {LONG}"))
add_newdoc("beta", "Beta. {LONG}")
add_newdoc("tinypkg._core", "made", "Made. {LONG}".format(1))
""",
        "broken.py": "def (:\n",
        "escapes.py": f'"""Escapes. {LONG}"""\nx = "\\d"\n',
        "tests/test_core.py": f'"""Test. {LONG}"""\n',
        "sub/conftest.py": f'"""Conftest. {LONG}"""\n',
        "sub/__init__.py": "",
    }
    for name, content in files.items():
        path = tmp_path / "tinypkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def run(package, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", TOOL, "--out", package / "out" / "d.jsonl", *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(package)},
        check=False,
    )


def names(package):
    return [json.loads(line)["id"] for line in (package / "out" / "d.jsonl").read_text().splitlines()]


def test_every_docstring_is_found_once_without_an_import(package):
    done = run(package, "--packages", "tinypkg")
    assert (done.returncode, done.stderr) == (0, "")
    assert names(package) == [
        "tinypkg",
        "tinypkg._core.Shape",
        "tinypkg._core.Shape._inner",
        "tinypkg._core.Shape.area",
        "tinypkg._core.array.dot",
        "tinypkg._core.fetch",
        "tinypkg._core.ufunc",
        "tinypkg.beta",
        "tinypkg.escapes",
    ]
    assert done.stdout.split()[:4] == ["tinypkg", "9", "of", "9"]


def test_the_table_is_read_as_texts_with_the_package_as_label(package):
    run(package, "--packages", "tinypkg")
    samples = read_text(package / "out" / "d.jsonl", labels={"package": "package"})
    by_id = dict(zip(samples.ids, samples.texts, strict=True))
    assert by_id["tinypkg._core.Shape.area"] == f"Area. {LONG}\n\n    indented\nback"
    assert by_id["tinypkg._core.ufunc"] == f"Ufunc. {LONG}"
    assert set(samples.labels["package"]) == {"tinypkg"}


def test_public_objects_come_before_private_ones(package):
    run(package, "--packages", "tinypkg", "--per-package", "8")
    assert "tinypkg._core.Shape._inner" not in names(package)
    assert len(names(package)) == 8


def test_a_cut_is_spread_over_the_alphabet(tool):
    found = [tool.Docstring(f"p.f{i:02d}", "text", True) for i in range(10)]
    assert [one.name for one in tool.select(found, 5)] == ["p.f00", "p.f02", "p.f04", "p.f06", "p.f08"]


def test_two_runs_give_the_same_bytes(package):
    run(package, "--packages", "tinypkg")
    first = (package / "out" / "d.jsonl").read_bytes()
    run(package, "--packages", "tinypkg")
    assert (package / "out" / "d.jsonl").read_bytes() == first


def test_a_missing_package_is_named(package):
    done = run(package, "--packages", "tinypkg", "no_such_package")
    assert done.returncode == 2
    assert "package 'no_such_package' is not installed" in done.stderr
    assert not (package / "out").exists()


def test_single_modules_and_the_standard_library_have_sources(tool):
    assert [name for name, _ in tool.find_sources("argparse")] == ["argparse"]
    modules = {name for name, _ in tool.find_sources(tool.STANDARD_LIBRARY)}
    assert {"argparse", "json.decoder", "email"} <= modules
    assert not any(name.startswith(("test.", "site-packages", "idlelib")) for name in modules)


@pytest.mark.parametrize(
    "tail",
    [
        "Examples\n--------\n>>> f(1)\n2",
        "Example:\n    f(1)",
        ">>> f(1)\n2",
        "    >>> f(1)\n    2\n\nMore words.",
    ],
)
def test_texts_end_before_their_examples(tool, tail):
    words = "Return the sum of examples and of what else is given, as described in the notes."
    found = tool.without_examples(tool.Docstring("f", f"{words}\n\n{tail}", True))
    assert found.text == words
