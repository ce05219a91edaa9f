"""Files that are lost, cut or changed: they are named, and their unit alone is done again."""

from __future__ import annotations

import arrays_run
import numpy as np
import pytest
from arrays_run import DAMAGES, changed, flip_bit, keys_of, records, run_again, truncate

from hpcgeom.api.job import run_task
from hpcgeom.api.running import resume
from hpcgeom.errors import DamagedError, IncompleteError
from hpcgeom.stages.collect import build
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

ROWS = "rows-00000000-00000256"
TARGETS = {
    "an activation shard": (
        "activations/deep.zarr/points/none/activations/c/2/0/0",
        ("extract", f"deep/{ROWS}"),
    ),
    "the sums of a unit": (f"records/extract/sums/wide-{ROWS}.npz", ("extract", f"wide/{ROWS}")),
    "a neighbor shard": (
        "neighbors/wide.zarr/points/none/neighbor_index/c/1/0/0",
        ("search", "wide/points/none/layer-001"),
    ),
    "a partial profile": (
        "geometry/profile/deep/points/none/layer-003.npz",
        ("geometry", "deep/points/none/layer-003"),
    ),
    "a partial overlap": (
        "geometry/pairs/points/none/rows-00000000-00000300.npz",
        ("geometry", "pairs/points/none/rows-00000000-00000300"),
    ),
    "a chunk of the results": ("results.zarr/overlap/c/0/0/0/0/0/0/0", ("collect", "results")),
    "metadata of the results": ("results.zarr/gride/zarr.json", ("collect", "results")),
    "the samples": ("samples.parquet", ("prepare", "prepare")),
    "the plan": ("plan.json", ("prepare", "prepare")),
    "metadata of activations": (
        "activations/wide.zarr/points/none/activations/zarr.json",
        ("extract", "init"),
    ),
    "a coordinate of the lists": ("neighbors/deep.zarr/points/none/sample/c/0", ("search", "init")),
}
FLIP = "with a flipped bit"
EVERY_DAMAGE = (
    "an activation shard",
    "a neighbor shard",
    "a partial profile",
    "a chunk of the results",
    "the samples",
    "metadata of activations",
)
UNITS = ("extract", "search", "geometry", "collect")


@pytest.mark.parametrize(
    ("target", "damage"),
    [
        (target, damage)
        for target in TARGETS
        for damage in DAMAGES
        if damage == FLIP or target in EVERY_DAMAGE
    ],
)
def test_verify_names_a_damaged_file_and_resume_does_its_unit_alone(finished, run_copy, target, damage):
    name, unit = TARGETS[target]
    before = records(run_copy)
    DAMAGES[damage](run_copy / name)

    verdict = verify(run_copy)
    assert not verdict.is_sound
    ((where, (problem,)),) = verdict.damaged.items()
    assert where.startswith(unit[0])
    assert unit[1] in where
    assert problem.startswith(name)

    heard = arrays_run.Heard()
    resume(run_copy, workers=1, progress=heard)
    assert heard.units == [unit] * (unit[0] in UNITS and unit[1] != "init")
    again = changed(before, records(run_copy))
    assert keys_of(run_copy, again) == {unit}
    assert differences(finished.root, run_copy) == []
    assert verify(run_copy).is_sound


@pytest.mark.parametrize("damage", ["deleted", "cut to nothing"])
def test_a_run_that_nobody_verified_finds_files_of_the_wrong_size_by_itself(finished, run_copy, damage):
    before = records(run_copy)
    for name, _ in TARGETS.values():
        DAMAGES[damage](run_copy / name)
    units = run_again(finished.manifest, run_copy)
    expected = {unit for _, unit in TARGETS.values()}
    assert set(units) == {unit for unit in expected if unit[0] in UNITS and unit[1] != "init"}
    assert keys_of(run_copy, changed(before, records(run_copy))) == expected
    assert differences(finished.root, run_copy) == []
    assert verify(run_copy).is_sound


READERS = {
    "an activation shard": ("search", "deep/points/none/layer-003"),
    "the sums of a unit": ("search", "wide/points/none/layer-000"),
    "metadata of activations": ("search", "wide/points/none/layer-000"),
    "a neighbor shard": ("geometry", "wide/points/none/layer-001"),
    "a coordinate of the lists": ("geometry", "wide/points/none/layer-001"),
    "the samples": ("geometry", "wide/points/none/layer-001"),
    "a partial profile": ("collect", "results"),
    "a partial overlap": ("collect", "results"),
}


@pytest.mark.parametrize("target", READERS)
def test_a_flipped_bit_that_nobody_verified_is_an_error_that_names_the_file(run_copy, target):
    name, _ = TARGETS[target]
    stage, key = READERS[target]
    run = Run(run_copy)
    unit = next(unit for unit in run.units(stage) if unit.key == key)
    run.records(stage).remove(unit)
    flip_bit(run_copy / name)
    # A chunk is named by its store, array and place in it.
    file = rf"{name.partition('.zarr')[0]}\.zarr" if "/c/" in name and "sample" not in name else name
    with pytest.raises(IncompleteError, match=rf"{stage}.*{file}.*hpcgeom verify.*hpcgeom resume"):
        run_task(run_copy, stage, [unit.index])
    assert not run.records(stage).is_done(unit)


def test_a_flipped_bit_anywhere_in_the_plan_is_an_error_or_changes_nothing(run_copy):
    for where in np.linspace(0.0, 1.0, 23):
        flip_bit(run_copy / "plan.json", where)
        with pytest.raises(DamagedError, match=r"plan\.json.*hpcgeom verify.*hpcgeom resume"):
            Run(run_copy)
        flip_bit(run_copy / "plan.json", where)
    Run(run_copy)


def test_a_flipped_bit_anywhere_in_a_partial_result_is_found_before_its_numbers_are_used(run_copy):
    """The end of an archive says how many arrays are in it, and no checksum guards that."""
    part = run_copy / "geometry/profile/wide/points/none/layer-000.npz"
    for where in (*np.linspace(0.0, 0.99, 7), 1 - 12 / part.stat().st_size):
        flip_bit(part, where)
        with pytest.raises(DamagedError, match=r"layer-000\.npz has other bytes.*hpcgeom verify"):
            build(Run(run_copy))
        flip_bit(part, where)
    build(Run(run_copy))


def test_a_shard_that_vanished_is_never_read_as_fill(run_copy):
    run = Run(run_copy)
    unit = next(unit for unit in run.units("geometry") if unit.key == "wide/points/none/layer-001")
    run.records("geometry").remove(unit)
    (run_copy / "activations/wide.zarr/points/none/activations/c/1/0/0").unlink()
    with pytest.raises(IncompleteError, match=rf"'extract'.*1 of 4 units.*wide/{ROWS}.*hpcgeom resume"):
        run_task(run_copy, "geometry", [unit.index])


def test_several_damages_at_once_are_all_named_and_mended(finished, run_copy):
    names = [
        TARGETS[target][0] for target in ("an activation shard", "a neighbor shard", "a partial profile")
    ]
    for name in names:
        flip_bit(run_copy / name)
    found = [problem for problems in verify(run_copy).damaged.values() for problem in problems]
    assert [problem.partition(" ")[0] for problem in found] == names
    resume(run_copy, workers=1)
    assert differences(finished.root, run_copy) == []


def test_a_file_that_nobody_promised_inside_a_unit_is_named_and_goes_away(finished, run_copy):
    stray = run_copy / "results.zarr" / "stray" / "c" / "0"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"\0")
    verdict = verify(run_copy)
    ((problem,),) = verdict.damaged.values()
    assert problem == "results.zarr/stray/c/0 is not in the record of the unit that owns it"
    resume(run_copy, workers=1)
    assert not stray.exists()
    assert differences(finished.root, run_copy) == []


@pytest.mark.parametrize("damage", [lambda path: truncate(path, 10), lambda path: path.write_text("[]")])
def test_a_record_that_is_no_record_counts_as_missing(finished, run_copy, damage):
    damage(run_copy / "records" / "search" / "000002.json")
    assert run_again(finished.manifest, run_copy) == [("search", "wide/points/none/layer-002")]
    assert differences(finished.root, run_copy) == []


def test_swapped_shards_are_found_by_verify(finished, run_copy):
    shards = [run_copy / f"activations/wide.zarr/points/none/activations/c/{layer}/0/0" for layer in (0, 1)]
    first, second = (shard.read_bytes() for shard in shards)
    assert len(first) == len(second)
    shards[0].write_bytes(second)
    shards[1].write_bytes(first)
    (problems,) = verify(run_copy).damaged.values()
    assert len(problems) == 2
    assert run_again(finished.manifest, run_copy) == [("extract", f"wide/{ROWS}")]
    assert differences(finished.root, run_copy) == []


def test_an_empty_status_would_not_read_as_ok(run_copy):
    import xarray as xr

    for name in ("status", "n_points", "n_zero_distances", "gride_status"):
        chunks = [path for path in (run_copy / "results.zarr" / name / "c").rglob("*") if path.is_file()]
        assert chunks, name
        for chunk in chunks:
            chunk.unlink()
        with xr.open_zarr(run_copy / "results.zarr", chunks=None) as found:
            assert (found[name] < 0).all(), name
