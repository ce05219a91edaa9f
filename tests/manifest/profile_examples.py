"""What tests of profiles share: loading one from text, and checking that one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcgeom.errors import ProblemsError
from hpcgeom.manifest.profile import LoadedProfile, load_profile


def loaded(folder: Path, text: str) -> LoadedProfile:
    """The profile `demo` with more lines, from line 2 on."""
    path = folder / "p.yaml"
    path.write_text(f"name: demo\n{text}", encoding="utf-8")
    return load_profile(path)


def check_refused(folder: Path, text: str, *expected: str) -> None:
    """Check that all messages, and no others, are reported, in this order, each with its line."""
    with pytest.raises(ProblemsError, match=r"p\.yaml:\d+: ") as caught:
        loaded(folder, text)
    problems = [problem.removeprefix(f"{folder}/p.yaml:") for problem in caught.value.problems]
    assert len(problems) == len(expected), problems
    for problem, pattern in zip(problems, expected, strict=True):
        assert re.match(pattern, problem), problem
