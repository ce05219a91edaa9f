"""A disk that is full, or a limit on the size of files: exit code 4, a path, and nothing is lost."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess

import commands
import numpy as np
import pytest
from arrays_run import run_again, write_manifest

from hpcgeom.api.job import run_task
from hpcgeom.api.running import run_manifest
from hpcgeom.errors import ResourceError
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store import leases
from hpcgeom.store.compare import differences

WIDTH = 40


@pytest.fixture(scope="module")
def wide_points(tmp_path_factory):
    """A manifest of points that take 40 kB a shard, more than any other file of its run; and its run."""
    folder = tmp_path_factory.mktemp("wide")
    points = np.random.default_rng(1).standard_normal((300, WIDTH)).astype(np.float32)
    for layer in range(2):
        np.save(folder / f"p{layer}.npy", points + layer)
    manifest = write_manifest(
        folder,
        dataset="{kind: arrays}",
        models="[{name: p, family: arrays, source: 'p{layer}.npy'}]",
        neighbors="{k: 8}",
        geometry="{estimators: [twonn], overlap_k: [8]}",
    )
    return manifest, run_manifest(manifest, folder / "run", workers=1)


def limited(size: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("limit", "where"),
    [
        (1_500, r"hpcgeom: no space is left to write .*/run"),
        (30_000, r"stage 'extract': 2 of 2 units failed: no space is left to write .*run"),
    ],
)
def test_a_limit_on_files_ends_with_code_4_and_a_path_and_the_same_command_goes_on(
    wide_points, tmp_path, limit, where
):
    manifest, undisturbed = wide_points
    root = tmp_path / "run"
    arguments = ("run", "-m", manifest, "--run-dir", root, "--workers", 1)
    code, said = commands.finish(*arguments, preexec_fn=limited(limit))
    assert code == 4, said
    (sentence,) = [line for line in said.splitlines() if line.startswith("hpcgeom:")]
    assert re.search(where, sentence), sentence
    assert "File too large" in sentence
    assert "then run the same command again" in sentence
    assert "Traceback" not in said
    run_again(manifest, root)
    assert differences(undisturbed, root) == []
    assert verify(root).is_sound


def test_figures_that_do_not_fit_end_with_code_4_after_the_results(finished, run_copy):
    """Their bytes are few: the limit is set below a figure and above everything before it."""
    code, said = commands.finish("plot", run_copy, preexec_fn=limited(4_000))
    assert code == 4, said
    assert f"no space is left to write {run_copy}/report/figures" in said
    assert differences(finished.root, run_copy) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB of its own; where none can be mounted, there is nothing to test it on."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_file_system_loses_nothing_and_the_run_goes_on_when_there_is_space(wide_points, small_disk):
    if small_disk is None:
        return  # not root: the limit on files above is the test
    manifest, undisturbed = wide_points
    ballast = small_disk / "ballast"
    root = small_disk / "run"
    for free in (20_000, 120_000, 250_000, 400_000):  # within prepare, extract, search, and further on
        used = sum(4096 * (path.stat().st_blocks // 8) for path in small_disk.rglob("*") if path != ballast)
        ballast.write_bytes(bytes(max(2**20 - used - free, 0)))
        with pytest.raises(
            ResourceError, match=rf"no space is left to write {small_disk}.*No space left on dev"
        ):
            run_manifest(manifest, root, workers=1)
        ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64M", str(small_disk)], check=True)
    run_manifest(manifest, root, workers=1)
    assert differences(undisturbed, root) == []
    assert verify(root).is_sound


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_lease_that_cannot_be_written_is_a_resource_error_too(run_copy, monkeypatch, code):
    run = Run(run_copy)
    run.records("search").remove(run.units("search")[1])

    def full(path, mine):
        with leases.full_disk_is_a_resource_error(path):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(leases, "_create", full)
    with pytest.raises(
        ResourceError, match=r"'search': 1 of 6 units failed: no space is left to write .*000001"
    ):
        run_task(run_copy, "search", [1])
