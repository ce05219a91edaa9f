"""Runs that are killed, terminated and interrupted, and then gone on with by the same command."""

from __future__ import annotations

import random
import signal
import time

import arrays_run
import commands
import psutil
import pytest
from arrays_run import run_again

from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences


def is_collected(root) -> bool:
    return (root / "records" / "collect" / "done.json").exists()


def kill_and_go_on(finished, folder, workers: int, n_kills: int, seed: int) -> int:
    """Kill runs at random moments between their imports and their results; the next goes on with each.

    A run that comes to its end is compared, and a new directory is begun. Returns how many directories.
    """
    roots = (folder / f"run{number}" for number in range(n_kills + 2))
    rng, root = random.Random(seed), next(roots)

    process = commands.start_run(finished.manifest, root, workers)
    began = time.monotonic()
    commands.wait_until(process, lambda: is_collected(root))
    units_s = time.monotonic() - began
    commands.end(process)
    assert differences(finished.root, root) == []

    root, n_directories = next(roots), 1
    for _ in range(n_kills):
        process = commands.start_run(finished.manifest, root, workers)
        moment = time.monotonic() + rng.uniform(0.0, units_s)
        commands.wait_until(process, lambda moment=moment: time.monotonic() > moment)
        assert process.poll() is None
        assert commands.end(process)[0] == -signal.SIGKILL
        if is_collected(root):
            assert differences(finished.root, root) == []
            root, n_directories = next(roots), n_directories + 1

    run_again(finished.manifest, root)
    assert differences(finished.root, root) == []
    assert verify(root).is_sound
    assert not [path for path in root.rglob("*") if path.name.endswith((".lease", ".building", ".old"))]
    assert not (root / "neighbors" / "partial").exists()
    return n_directories


@pytest.mark.parametrize("n_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_at_random_moments_end_in_the_stores_of_an_undisturbed_run(finished, tmp_path, n_kills):
    kill_and_go_on(finished, tmp_path, workers=1, n_kills=n_kills, seed=2024)


@pytest.mark.slow
def test_kills_of_a_run_whose_searches_are_split_end_in_the_stores_of_whole_ones(finished, tmp_path):
    arrays_run.write_clouds(tmp_path)
    manifest = arrays_run.write_manifest(tmp_path, neighbors="{k: 32, unit_work: 150000}")
    kill_and_go_on(finished._replace(manifest=manifest), tmp_path, workers=1, n_kills=6, seed=2026)


@pytest.mark.slow
def test_ten_kills_of_all_processes_of_runs_on_two_workers_change_nothing_either(finished, tmp_path):
    kill_and_go_on(finished, tmp_path, workers=2, n_kills=10, seed=2025)


@pytest.mark.parametrize(
    ("number", "code", "workers", "group"),
    [
        pytest.param(signal.SIGTERM, 143, 1, False, id="terminated"),
        pytest.param(signal.SIGINT, 130, 1, True, id="interrupted", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, 2, False, id="terminated with workers", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, 2, True, id="interrupted with workers", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_with_its_code_and_it_can_be_gone_on_with(
    finished, tmp_path, number, code, workers, group
):
    root = tmp_path / "run"
    process = commands.start_run(finished.manifest, root, workers)
    commands.wait_until(process, lambda: any((root / "records" / "extract").glob("0*.json")))
    children = psutil.Process(process.pid).children(recursive=True)
    began = time.monotonic()
    found, said = commands.end(process, number, group=group)
    assert found == code, said
    assert time.monotonic() - began < 20.0
    assert "Traceback" not in said
    assert ("the same command goes on where it stopped" in said) == (code == 130)
    assert not is_collected(root)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert run_again(finished.manifest, root)
    assert differences(finished.root, root) == []


@pytest.mark.slow
def test_workers_do_not_outlive_a_run_whose_first_process_alone_is_killed(finished, tmp_path):
    root = tmp_path / "run"
    process = commands.start_run(finished.manifest, root, 2)
    commands.wait_until(process, lambda: any((root / "records" / "extract").glob("0*.json")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    commands.end(process, group=False)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_two_processes_that_want_the_same_units_do_each_once(finished, run_copy):
    run = Run(run_copy)
    for unit in run.units("search"):
        run.records("search").remove(unit)
    both = [commands.start("task", run_copy, "--stage", "search", "--indices", "0-5") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    for process, text in zip(both, said, strict=True):
        assert process.returncode in (0, 3), text
        assert process.returncode == 0 or "is being done by process" in text
        assert "Traceback" not in text
    assert run.missing("search") == []  # what one process refused to do, the other has done
    run_again(finished.manifest, run_copy)
    assert not list((run_copy / "records").rglob("*.lease"))
    assert differences(finished.root, run_copy) == []
    assert verify(run_copy).is_sound


@pytest.mark.slow
def test_two_processes_that_want_all_parts_of_split_searches_do_each_once(finished, tmp_path):
    arrays_run.write_clouds(tmp_path)
    for name in ("wide0", "wide1", "deep1", "deep2"):
        (tmp_path / f"{name}.npy").unlink()
    manifest, root = arrays_run.write_manifest(tmp_path, neighbors="{k: 32, unit_work: 1}"), tmp_path / "run"
    run_again(manifest, root)
    for stage in ("search", "merge"):
        for path in (root / "records" / stage).glob("0*.json"):
            path.unlink()
    both = [commands.start("task", root, "--stage", "search,merge") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    run = Run(root)
    assert (run.missing("search"), run.missing("merge")) == ([], [])
    made_by = {run.records("search").load(unit).made_by["pid"] for unit in run.units("search") if unit.blocks}
    assert made_by == {process.pid for process in both}
    whole = arrays_run.write_manifest(tmp_path, "whole", neighbors="{k: 32}")
    assert run_again(whole, tmp_path / "whole")
    assert differences(tmp_path / "whole", root) == []
    assert verify(root).is_sound
