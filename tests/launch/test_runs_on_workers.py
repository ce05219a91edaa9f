"""Whole runs on two Dask workers, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from arrays_run import Heard, write_clouds, write_manifest

from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

STAGES = ("extract", "search", "geometry", "collect")


def processes(root) -> set[int]:
    run = Run(root)
    return {run.records(stage).load(unit).made_by["pid"] for stage in STAGES for unit in run.units(stage)}


def test_two_workers_share_the_units_and_write_the_same_stores(finished, tmp_path):
    heard = Heard()
    root = run_manifest(finished.manifest, tmp_path / "run", workers=2, progress=heard)
    pids = processes(root)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert len(heard.units) == len(set(heard.units)) == 18
    assert processes(finished.root) == {os.getpid()}
    assert differences(finished.root, root) == []


class Killer(threading.Thread):
    """Kills the first process that is seen to hold the lease of a unit of one stage."""

    def __init__(self, root, stage) -> None:
        super().__init__(daemon=True)
        self.folder = root / "records" / stage
        self.killed: int | None = None
        self.stop = threading.Event()

    def run(self) -> None:
        while self.killed is None and not self.stop.is_set():
            for lease in self.folder.glob("0*.lease"):
                try:
                    pid = json.loads(lease.read_text())["pid"]
                    os.kill(pid, signal.SIGKILL)
                except (OSError, ValueError):  # it was given back in between
                    continue
                self.killed = pid
                return
            time.sleep(0.001)


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_does_a_unit_costs_nothing_but_time(finished, tmp_path):
    killer = Killer(tmp_path / "run", "search")
    killer.start()
    root = run_manifest(finished.manifest, tmp_path / "run", workers=2)
    killer.stop.set()
    killer.join()
    assert killer.killed is not None
    assert not list((root / "records").rglob("*.lease"))
    assert differences(finished.root, root) == []
    assert verify(root).is_sound


@pytest.mark.slow
def test_a_unit_that_fails_on_a_worker_says_why_and_the_others_are_done(tmp_path):
    import numpy as np

    write_clouds(tmp_path)
    points = np.load(tmp_path / "deep2.npy")
    points[290, 1] = np.inf
    np.save(tmp_path / "deep2.npy", points)
    manifest = write_manifest(tmp_path)
    heard = Heard()
    with pytest.raises(InputError, match=r"'extract': 1 of 4 units failed: model 'deep': layer 2 of row 290"):
        run_manifest(manifest, tmp_path / "run", workers=2, progress=heard)
    assert len(heard.units) == 3
