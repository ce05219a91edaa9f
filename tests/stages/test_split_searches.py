"""Searches that are split into pairs of blocks: the same lists, in whichever order it is done."""

from __future__ import annotations

import shutil
from pathlib import Path

import arrays_run
import numpy as np
import pytest
from arrays_run import copy_run, flip_bit, run_again, write_clouds, write_manifest

from hpcgeom.api.job import run_task
from hpcgeom.api.progress import Silent
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.api.units import do_stage
from hpcgeom.errors import DamagedError, IncompleteError
from hpcgeom.launch import inline
from hpcgeom.stages import partials, task
from hpcgeom.stages.run import Run
from hpcgeom.stages.status import status_of
from hpcgeom.stages.task import Task
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences
from hpcgeom.store.leases import lease

THREE_BLOCKS = "{k: 32, unit_work: 150000}"
LAYER = "wide/points/none/layer-002"  # which has equal points
MERGED = "neighbors/wide.zarr/points/none/neighbor_index/c/2/0/0"
PARTS = Path("neighbors/partial/wide/points/none/layer-002")


@pytest.fixture(scope="module")
def split(finished, tmp_path_factory):
    """The finished run, with all searches split into three blocks: its manifest and its directory."""
    folder = tmp_path_factory.mktemp("split")
    write_clouds(folder)
    manifest = write_manifest(folder, neighbors=THREE_BLOCKS)
    return manifest, run_manifest(manifest, folder / "run", workers=1)


@pytest.fixture(scope="module")
def unmerged(split, tmp_path_factory):
    """A copy of it before anything is merged: all parts are there."""
    root = copy_run(split[1], tmp_path_factory.mktemp("unmerged") / "run")
    unmerge(root)
    run_task(root, "search")
    return root


@pytest.fixture
def searched(unmerged, tmp_path):
    """The same, to be changed."""
    return copy_run(unmerged, tmp_path / "searched")


def unmerge(root):
    """Forget all that came after extract."""
    for stage in ("search", "merge", "geometry", "collect"):
        for path in (root / "records" / stage).glob("[0-9d]*.json"):
            path.unlink()


def units_of_layer(root, stage="search"):
    return [unit for unit in Run(root).units(stage) if unit.key.startswith(LAYER)]


def test_lists_and_results_are_those_of_whole_searches_and_no_part_is_left(finished, split):
    _, root = split
    assert len(Run(root).units("search")) == 6 * (1 + 6)
    assert differences(finished.root, root) == []
    assert not (root / "neighbors" / "partial").exists()
    assert verify(root).is_sound
    assert [stage.missing for stage in status_of(Run(root))] == [""] * 5


def test_eight_blocks_give_the_same_lists_as_one(tmp_path):
    write_clouds(tmp_path)
    for name in ("wide0", "wide1", "deep2", "deep3"):
        (tmp_path / f"{name}.npy").unlink()
    roots = []
    for work in ("1.0e12", "1"):
        manifest = write_manifest(tmp_path, neighbors=f"{{k: 32, unit_work: {work}}}")
        roots.append(run_manifest(manifest, tmp_path / work, workers=1))
    assert [len(Run(root).units("search")) for root in roots] == [2, 2 * 37]
    assert differences(*roots) == []


def test_parts_that_are_done_in_any_order_are_merged_to_the_same(finished, searched):
    unmerge(searched)
    order = np.random.default_rng(1).permutation(len(Run(searched).units("search")))
    run_task(searched, "search", order.tolist())
    run_task(searched, "merge", [3, 0, 5])
    assert not (searched / PARTS.parent / "layer-000").exists()
    assert (searched / PARTS / "scan.npz").exists()  # of layer 2, which is not merged yet
    run_task(searched, "merge,geometry,collect")
    assert not (searched / "neighbors" / "partial").exists()
    assert differences(finished.root, searched) == []


def test_a_pair_that_is_begun_before_its_scan_does_the_scan_itself(searched):
    run = Run(searched)
    scan, *_, pair = units_of_layer(searched)
    for unit in (scan, pair):
        run.records("search").remove(unit)
    task.close()
    (receipt,) = task.do(Task(str(searched), "search", (pair.index,)))
    assert receipt.failure == ""
    assert receipt.did
    assert run.records("search").is_recorded(scan)
    assert run.missing("search") == []


def test_a_pair_whose_scan_another_process_does_is_left_until_that_is_done(searched):
    run = Run(searched)
    scan, pair, *_ = units_of_layer(searched)
    for unit in (scan, pair):
        run.records("search").remove(unit)
    with lease(run.records("search").path(scan).with_suffix(".lease")):
        (receipt,) = task.do(Task(str(searched), "search", (pair.index,)))
        assert receipt.is_held
        assert not receipt.did
    assert task.do(Task(str(searched), "search", (pair.index,)))[0].did


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_merged_shard_that_is_damaged_has_its_search_done_again(finished, split, tmp_path, is_verified):
    root = copy_run(split[1], tmp_path / "run")
    if is_verified:
        flip_bit(root / MERGED)
        ((where, (problem,)),) = verify(root).damaged.items()
        assert where.startswith("merge 2 ")
        assert problem.startswith(MERGED)
    else:
        (root / MERGED).unlink()
    by_stage = {stage.stage: stage for stage in status_of(Run(root))}
    assert (by_stage["search"].n_done, by_stage["merge"].n_done) == (42 - 7, 5)
    heard = arrays_run.Heard()
    resume(root, workers=1, progress=heard)
    keys = {unit.key for stage in ("search", "merge") for unit in units_of_layer(root, stage)}
    assert len(keys) == 8
    assert set(heard.units) == {("search" if "rows" not in key else "merge", key) for key in keys}
    assert differences(finished.root, root) == []
    assert not (root / "neighbors" / "partial").exists()
    assert verify(root).is_sound


def test_a_merge_record_that_is_lost_has_its_search_done_again(finished, split, tmp_path):
    root = copy_run(split[1], tmp_path / "run")
    (root / "records" / "merge" / "000002.json").unlink()
    assert len(run_again(split[0], root)) == 8
    assert differences(finished.root, root) == []


def test_parts_that_a_killed_process_left_behind_go_away(split, tmp_path):
    root = copy_run(split[1], tmp_path / "run")
    (root / PARTS).mkdir(parents=True)
    (root / PARTS / "pair-0-0.npz").write_bytes(b"left behind")
    assert verify(root).is_sound
    assert run_again(split[0], root) == []
    assert not (root / "neighbors" / "partial").exists()
    shutil.rmtree(root / "records" / "geometry")
    (root / PARTS).mkdir(parents=True)
    run_task(root, "geometry")
    assert not (root / "neighbors" / "partial").exists()


@pytest.mark.parametrize("part", ["scan", "pair-0-2"])
def test_a_damaged_part_is_named_and_found_again(finished, searched, part):
    flip_bit(searched / PARTS / f"{part}.npz")
    with pytest.raises(IncompleteError, match=rf"'merge'.*{part}\.npz has other bytes.*hpcgeom verify"):
        run_task(searched, "merge", [2])
    (where,) = verify(searched).damaged
    assert where.startswith("search ")
    resume(searched, workers=1)
    assert differences(finished.root, searched) == []


def test_pairs_of_another_scan_are_found_again(searched):
    """Scores mean something only beside the center and the kernel of their scan."""
    run = Run(searched)
    scan, first, *others = units_of_layer(searched)
    arrays, mark = partials.read_scan(run, scan)
    moved = partials.write_scan(run, scan, {**arrays, "center": arrays["center"] + 1.0})
    assert not any(run.records("search").is_recorded(pair) for pair in (first, *others))
    again = partials.write_scan(run, scan, arrays)
    assert moved["scan"] != again["scan"] == mark


def test_a_pair_that_was_found_from_another_scan_is_never_merged(searched):
    run = Run(searched)
    pair = units_of_layer(searched)[1]
    record = run.records("search").load(pair)
    run.records("search").write(pair, {**record.facts, "scan": "another"}, record.made_by)
    with pytest.raises(DamagedError, match=r"pair-0-1\.npz was found from another scan.*hpcgeom resume"):
        partials.pair_file(run, pair, record.facts["scan"])
    assert run.missing("search") == [pair]


def test_the_layer_is_accounted_for_by_the_certificates_of_its_shards(finished, split):
    (whole,) = units_of_layer(finished.root)
    (merged,) = units_of_layer(split[1], "merge")
    found = [
        Run(root).records(unit.stage).load(unit).facts["certificate"]
        for root, unit in ((finished.root, whole), (split[1], merged))
    ]
    for name in ("rows", "n_distinct", "n_duplicates", "zero_distances", "kernel"):
        assert found[0][name] == found[1][name]
    for certificate in found:
        assert certificate["certified"] + certificate["recomputed"] == certificate["n_distinct"]


@pytest.mark.slow
def test_lists_of_a_split_search_are_taken_over_and_parts_are_not(finished, split, unmerged, tmp_path):
    manifest, root = split
    heard = arrays_run.Heard()
    run_manifest(manifest, tmp_path / "again", workers=1, reuse=root, progress=heard)
    assert heard.units == []
    assert not any(line.startswith("reuse: search") for line in heard.sentences)
    assert "reuse: merge: 6 of 6 units taken over" in heard.sentences
    assert differences(finished.root, tmp_path / "again") == []
    heard = arrays_run.Heard()
    run_manifest(manifest, tmp_path / "third", workers=1, reuse=unmerged, progress=heard)
    assert "reuse: search: 0 of 42 units taken over" in heard.sentences
    assert differences(finished.root, tmp_path / "third") == []


def test_the_digests_do_not_depend_on_how_searches_are_split(finished, split):
    plans = [Run(root).plan for root in (finished.root, split[1])]
    assert len({plan.manifest_digest for plan in plans}) == 1
    for one, other in zip(*(plan.models for plan in plans), strict=True):
        assert one.search_digest == other.search_digest
    assert [plan.search_work for plan in plans] == [1e12, 150_000.0]


def test_pairs_begin_when_all_scans_are_done(split, tmp_path):
    # Else workers would ask in vain for pairs whose scan another one is doing, and look again after seconds.
    root = copy_run(split[1], tmp_path / "run")
    unmerge(root)
    run, rounds = Run(root), []

    def launch(tasks, on_receipts, is_over):
        rounds.append(run.select("search", [index for each in tasks for index in each.indices]))
        inline.run(task.do, tasks, on_receipts, is_over)

    do_stage(run, "search", run.missing("search"), launch, Silent())
    task.close()
    scans, pairs = rounds
    assert {scan.index for scan in scans} == {index for pair in pairs for index in pair.needs}
    assert all(pair.needs for pair in pairs)
    assert not run.missing("search")
    run_again(split[0], root)
    assert differences(split[1], root) == []
