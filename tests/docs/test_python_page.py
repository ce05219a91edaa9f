"""The names of the package: each found, each documented, none imported before it is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpcgeom as hg

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "xarray", "zarr", "dask", "numba", "scipy", "numpy", "matplotlib")


def test_every_name_is_found_and_has_a_docstring():
    for name in hg.__all__:
        found = getattr(hg, name)
        assert name == "__version__" or found.__doc__.strip(), name
    assert dir(hg) == sorted(hg.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "hpcgeom" / "__init__.py").read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname or alias.name for node in guarded.body for alias in node.names}
    assert seen == set(hg.__all__) - {"__version__"}


def test_nothing_heavy_is_imported_before_it_is_used():
    code = f"import sys, hpcgeom; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_page_has_each_name_once():
    page = (ROOT / "docs" / "python.md").read_text()
    named = re.findall(r"^\| `hg\.(\w+)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(set(hg.__all__) - {"__version__"})


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hpcgeom' has no attribute 'twonm'"):
        hg.twonm  # noqa: B018
