"""Taking over units of another run: nothing that is equal is done twice, and nothing damaged is taken."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import arrays_run
import numpy as np
import pytest
from arrays_run import Heard, copy_run, flip_bit, records, run_again, write_clouds, write_manifest

from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

GEOMETRY = arrays_run.MANIFEST["geometry"]
THIRD = "{name: third, family: arrays, source: 'third{layer}.npy'}"
CHANGES = {
    "another k": {"geometry": GEOMETRY.replace("[1, 5, 32]", "[1, 5, 10, 32]")},
    "other estimators and labels": {
        "geometry": GEOMETRY.replace("twonn_mle_censored, ", "").replace("}", ", labels: [third]}")
    },
    "another model": {"models": arrays_run.MANIFEST["models"].replace("]", f", {THIRD}]")},
    "models in another order": {
        "models": "[{name: deep, family: arrays, source: 'deep{layer}.npy'},"
        " {name: wide, family: arrays, source: 'wide{layer}.npy'}]"
    },
}


@pytest.fixture
def own_clouds(finished, tmp_path):
    """The arrays of the finished run and those of a third model, in a folder of their own."""
    write_clouds(tmp_path)
    rng = np.random.default_rng(13)
    for layer in range(2):
        np.save(tmp_path / f"third{layer}.npy", rng.standard_normal((arrays_run.N, 3)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_measured_repeats_no_extraction_and_no_search(finished, own_clouds, change):
    manifest = write_manifest(own_clouds, **CHANGES[change])
    before = records(finished.root)
    fresh = run_manifest(manifest, own_clouds / "fresh", workers=1)

    units = run_again(manifest, own_clouds / "run", reuse=finished.root)
    done = {(stage, key) for stage, key in units if stage in ("extract", "search")}
    assert {key.partition("/")[0] for _, key in done} == ({"third"} if change == "another model" else set())
    assert differences(fresh, own_clouds / "run") == []
    assert verify(own_clouds / "run").is_sound

    assert records(finished.root) == before
    theirs = {record["key"]: record for record in map(json.loads, (c for c, _ in before.values()))}
    for stage in ("extract", "search"):
        run = Run(own_clouds / "run")
        for unit in run.units(stage):
            record = run.records(stage).load(unit)
            if unit.model != "third":
                assert record.made_by == theirs[unit.key]["made_by"]
                assert record.facts == theirs[unit.key]["facts"]


def test_profiles_of_models_that_stay_are_taken_over_when_one_is_added(finished, own_clouds):
    manifest = write_manifest(own_clouds, **CHANGES["another model"])
    units = run_again(manifest, own_clouds / "run", reuse=finished.root)
    profiles = [key for stage, key in units if stage == "geometry" and not key.startswith("pairs/")]
    assert [key.partition("/")[0] for key in profiles] == ["third", "third"]


def test_files_are_linked_and_an_equal_run_is_taken_over_whole(finished, own_clouds):
    manifest = write_manifest(own_clouds)
    heard = Heard()
    root = run_manifest(manifest, own_clouds / "run", workers=1, reuse=finished.root, progress=heard)
    assert heard.units == []
    for name in (
        "activations/wide.zarr/points/none/activations/c/1/1/0",
        "neighbors/deep.zarr/points/none/neighbor_distance/c/2/0/0",
        "geometry/profile/wide/points/none/layer-000.npz",
        "results.zarr/overlap/zarr.json",
    ):
        assert (root / name).samefile(finished.root / name)
    assert [line for line in heard.sentences if line.startswith("reuse")] == [
        "reuse: extract: 4 of 4 units taken over",
        "reuse: search: 6 of 6 units taken over",
        "reuse: geometry: 7 of 7 units taken over",
        "reuse: collect: 1 of 1 units taken over",
    ]
    assert differences(finished.root, root) == []


def test_the_first_run_does_not_change_when_the_second_does_a_linked_unit_again(finished, own_clouds):
    first = copy_run(finished.root, own_clouds / "first")
    manifest = write_manifest(own_clouds)
    second = run_manifest(manifest, own_clouds / "second", workers=1, reuse=first)
    run = Run(second)
    for stage in ("extract", "search", "geometry", "collect"):
        for unit in run.units(stage):
            run.records(stage).remove(unit)
    assert len(run_again(manifest, second)) == 18
    assert verify(first).is_sound
    assert not (first / "plan.json").samefile(second / "plan.json")
    shard = "activations/wide.zarr/points/none/activations/c/0/0/0"
    assert not (first / shard).samefile(second / shard)


def test_where_links_are_impossible_files_are_copied(finished, own_clouds, monkeypatch):
    link = os.link

    def link_within_a_folder(source, target):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within_a_folder)
    manifest = write_manifest(own_clouds)
    assert run_again(manifest, own_clouds / "run", reuse=finished.root) == []
    assert differences(finished.root, own_clouds / "run") == []
    shard = "activations/wide.zarr/points/none/activations/c/0/0/0"
    assert not (own_clouds / "run" / shard).samefile(finished.root / shard)


def test_a_damaged_unit_is_not_taken_over(finished, own_clouds, run_copy):
    run = Run(run_copy)
    flip_bit(run_copy / run.units("extract")[1].owns[0])
    (run_copy / run.units("search")[5].owns[0]).unlink()
    manifest = write_manifest(own_clouds)
    heard = Heard()
    root = run_manifest(manifest, own_clouds / "run", workers=1, reuse=run_copy, progress=heard)
    assert heard.units == [
        ("extract", "wide/rows-00000256-00000300"),
        ("search", "deep/points/none/layer-003"),
    ]
    assert "reuse: search: 5 of 6 units taken over" in heard.sentences
    assert differences(finished.root, root) == []


def test_swapped_layers_are_other_points_and_are_not_taken_over(tmp_path):
    """Folders per layer: all files bear one name, and the same contents are there."""
    for folder, order in (("a", (0, 1)), ("b", (1, 0))):
        for layer, source in enumerate(order):
            (tmp_path / folder / f"layer{layer}").mkdir(parents=True)
            np.save(tmp_path / folder / f"layer{layer}" / "points.npy", arrays_run.clouds()["wide"][source])
    changes = {
        "dataset": "{kind: arrays}",
        "models": "[{name: m, family: arrays, source: 'layer{layer}/points.npy'}]",
    }
    first = run_manifest(write_manifest(tmp_path / "a", **changes), tmp_path / "a" / "run", workers=1)
    units = run_again(write_manifest(tmp_path / "b", **changes), tmp_path / "b" / "run", reuse=first)
    assert [stage for stage, _ in units].count("extract") == 2


def test_units_of_other_settings_are_left_and_counted(finished, own_clouds):
    manifest = write_manifest(own_clouds, neighbors="{k: 33}")
    heard = Heard()
    run_manifest(manifest, own_clouds / "run", workers=1, reuse=finished.root, progress=heard)
    assert "reuse: extract: 4 of 4 units taken over" in heard.sentences
    assert (
        "reuse: search: 0 of 6 units taken over, 6 were done there from other settings or inputs"
        in heard.sentences
    )


def test_what_cannot_be_reused_is_refused(finished, own_clouds, run_copy):
    manifest = write_manifest(own_clouds)
    with pytest.raises(
        InputError, match=r"--reuse .*nowhere is not a prepared run \(it has no plan\.json\): name the dir"
    ):
        run_manifest(manifest, own_clouds / "run", workers=1, reuse=own_clouds / "nowhere")
    with pytest.raises(InputError, match=r"--reuse .*copy is the run itself: leave --reuse out"):
        run_manifest(finished.manifest, run_copy, workers=1, reuse=run_copy.parent / "." / "copy")
    record = run_copy / "records" / "extract" / "000000.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema": 99}))
    with pytest.raises(InputError, match=r"000000\.json has schema 99"):
        run_manifest(manifest, own_clouds / "other", workers=1, reuse=run_copy)
