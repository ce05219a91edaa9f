"""Real SLURM clusters, one with accounting and one without, each started when the first test asks for it.

Tests import what they do with jobs from `lab_jobs`. Whatever a test did to a cluster is undone after it: its
jobs are ended, nodes and partitions brought up, daemons started again.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "slurm_lab"))

from lab_cluster import Lab
from lab_daemons import missing_packages

_FIXTURES = ("lab", "lab_without_accounting")


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """A cluster with accounting."""
    yield from _started(tmp_path_factory.mktemp("lab"), accounting=True)


@pytest.fixture(scope="session")
def lab_without_accounting(tmp_path_factory) -> Iterator[Lab]:
    """A cluster where `sacct` fails."""
    yield from _started(tmp_path_factory.mktemp("lab"), accounting=False)


@pytest.fixture(autouse=True)
def _undone(request) -> Iterator[None]:
    yield
    for name in _FIXTURES:
        if name in request.fixturenames:
            request.getfixturevalue(name).reset()


def _started(folder: Path, *, accounting: bool) -> Iterator[Lab]:
    if missing := missing_packages(accounting=accounting):
        pytest.skip(f"a SLURM cluster needs packages that are not installed: {' '.join(missing)}")
    with Lab(folder, accounting=accounting) as lab:
        yield lab
    shutil.rmtree(folder / "database", ignore_errors=True)  # large; logs stay
