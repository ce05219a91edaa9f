"""Loading a manifest from text."""

from __future__ import annotations

import re

import pytest

from hpcgeom.errors import ProblemsError
from hpcgeom.manifest import load_manifest


@pytest.fixture
def load(tmp_path):
    def load(text: str):
        path = tmp_path / "m.yaml"
        path.write_text(text)
        return load_manifest(path).manifest

    return load


@pytest.fixture
def refused(load, tmp_path):
    """Check that all messages, and no others, are reported, in this order, each with its line."""

    def refused(text: str, *expected: str) -> None:
        with pytest.raises(ProblemsError, match=expected[0].partition(": ")[2]) as caught:
            load(text)
        problems = [problem.removeprefix(f"{tmp_path}/m.yaml:") for problem in caught.value.problems]
        assert len(problems) == len(expected), problems
        for problem, pattern in zip(problems, expected, strict=True):
            assert re.match(pattern, problem), problem

    return refused
