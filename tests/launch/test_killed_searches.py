"""Split searches whose workers, or whose scheduler, are killed while they run."""

from __future__ import annotations

import contextlib
import signal
import time

import commands
import numpy as np
import psutil
import pytest
from arrays_run import run_again

from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

N_PAIRS = 36
"""Of the eight blocks that a search is cut into at most."""
MANIFEST = """
name: cloud
dataset: {{kind: arrays}}
models: [{{name: cloud, family: arrays, source: "layer{{layer}}.npy"}}]
neighbors: {{k: 32, unit_work: {work}}}
geometry: {{estimators: [twonn_mle], overlap_k: [10], labels: []}}
"""


def write(folder, n_rows, n_features, work):
    """One layer of points, with some equal ones, whose search is split."""
    rng = np.random.default_rng(3)
    points = rng.standard_normal((n_rows, 8)) @ rng.standard_normal((8, n_features))
    points += 0.05 * rng.standard_normal(points.shape)
    points[n_rows - 50 :] = points[:50]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "layer0.npy", points.astype(np.float32))
    path = folder / "cloud.yaml"
    path.write_text(MANIFEST.format(work=work))
    return path


def workers_of(process):
    """The living Dask workers of a run: its children, but not the one that counts shared resources."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            found += [] if "resource_tracker" in " ".join(child.cmdline()) else [child]
    return found


def pairs_done(root):
    return len(list((root / "records" / "search").glob("0*.json")))


def run_with_kills(manifest, root, every_s, most):
    """Kill one worker after the other while pairs are searched; how many."""
    process = commands.start_run(manifest, root, 2)
    commands.wait_until(process, lambda: pairs_done(root) > 0)
    n_killed, due = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.02)
        is_due = time.monotonic() > due and pairs_done(root) < N_PAIRS and n_killed < most
        alive = workers_of(process) if is_due else []
        if len(alive) == 2:  # Dask has replaced the one before
            alive[n_killed % 2].kill()
            n_killed, due = n_killed + 1, time.monotonic() + every_s
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return n_killed


@pytest.mark.parametrize(
    ("n_rows", "n_features", "work", "every_s", "least", "most"),
    [
        pytest.param(8000, 128, 1e8, 1.0, 1, 2, id="small", marks=pytest.mark.slow),
        pytest.param(150_000, 512, 1e11, 20.0, 2, 100, id="every 20 s", marks=pytest.mark.slow),
    ],
)
def test_killed_workers_change_nothing(tmp_path, n_rows, n_features, work, every_s, least, most):
    manifest = write(tmp_path, n_rows, n_features, work)
    run_again(manifest, tmp_path / "whole")
    assert run_with_kills(manifest, tmp_path / "killed", every_s, most) >= least
    assert differences(tmp_path / "whole", tmp_path / "killed") == []
    assert verify(tmp_path / "killed").is_sound


@pytest.mark.slow
def test_the_same_command_goes_on_after_the_scheduler_was_killed(tmp_path):
    manifest, root = write(tmp_path, 8000, 128, 1e8), tmp_path / "killed"
    process = commands.start_run(manifest, root, 2)
    commands.wait_until(process, lambda: pairs_done(root) > 3)
    workers = workers_of(process)
    commands.end(process, signal.SIGKILL, group=False)  # the scheduler lives in the run's own process
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    n_done = pairs_done(root)
    process = commands.start_run(manifest, root, 2)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert n_done > 3
    run_again(manifest, tmp_path / "whole")
    assert differences(tmp_path / "whole", root) == []


@pytest.mark.slow
def test_one_two_and_three_workers_leave_identical_stores(tmp_path):
    manifest = write(tmp_path, 3000, 64, 1e7)
    for n_workers in (1, 2, 3):
        process = commands.start_run(manifest, tmp_path / f"run{n_workers}", n_workers)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert differences(tmp_path / "run1", tmp_path / "run2") == []
    assert differences(tmp_path / "run1", tmp_path / "run3") == []
