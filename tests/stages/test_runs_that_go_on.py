"""Running again, in another order, in parts, and beside what killed processes left."""

from __future__ import annotations

import json
import random
from pathlib import Path

import arrays_run
import pytest
from arrays_run import Heard, changed, copy_run, records, run_again

from hpcgeom.api.job import run_task
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import DamagedError, IncompleteError, InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.provenance import read_manifest_folder
from hpcgeom.stages.run import Run
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

STAGES = ("extract", "search", "geometry", "collect")
N_UNITS = {"extract": 4, "search": 6, "geometry": 7, "collect": 1}


def test_a_first_run_does_every_unit_once(finished, tmp_path):
    units = run_again(finished.manifest, tmp_path / "run")
    assert len(units) == len(set(units))
    assert {stage: [s for s, _ in units].count(stage) for stage in STAGES} == N_UNITS
    assert [stage for stage, _ in units] == sorted((stage for stage, _ in units), key=STAGES.index)
    assert differences(finished.root, tmp_path / "run") == []


def test_a_second_run_does_no_unit_and_touches_no_record(finished, run_copy):
    before = records(run_copy)
    plan = (run_copy / "plan.json").stat().st_mtime_ns
    heard = Heard()
    run_manifest(
        finished.manifest, run_copy, workers=2, progress=heard
    )  # no worker is needed, none is started
    resume(run_copy, workers=1, progress=heard)
    assert heard.units == []
    assert records(run_copy) == before
    assert (run_copy / "plan.json").stat().st_mtime_ns == plan


@pytest.mark.parametrize("seed", range(2))
def test_units_in_any_order_one_at_a_time_give_the_same_stores(finished, tmp_path, seed):
    run = prepare(load_manifest(finished.manifest), tmp_path / "run")
    rng = random.Random(seed)
    for stage in STAGES:
        indices = [unit.index for unit in run.units(stage)]
        rng.shuffle(indices)
        cut = rng.randrange(len(indices))
        for some in (indices[:cut], indices[cut:], indices):  # the last does nothing any more
            run_task(run.root, stage, some)
    assert differences(finished.root, run.root) == []
    assert verify(run.root).is_sound


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_whose_units_are_done_does_nothing(run_copy, stage):
    before = records(run_copy)
    heard = Heard()
    run_task(run_copy, stage, range(N_UNITS[stage]), heard)
    assert heard.units == []
    assert records(run_copy) == before


@pytest.mark.parametrize(
    ("stage", "needed", "says"),
    [
        ("search", "extract", r"4 of 4 units.*0 \(wide/rows-00000000-00000256\).*3 \(deep/rows-00000256-0"),
        ("geometry", "search", r"6 of 6 units.*3 \(deep/points/none/layer-001\), \.\.\."),
        ("collect", "geometry", r"7 of 7 units.*0 \(wide/points/none/layer-000\)"),
    ],
)
def test_a_stage_whose_inputs_are_missing_names_them(run_copy, stage, needed, says):
    run = Run(run_copy)
    for name in (needed, stage):
        for unit in run.units(name):
            run.records(name).remove(unit)
    with pytest.raises(IncompleteError, match=rf"stage '{needed}' of .*copy is not finished: {says}.*resume"):
        run_task(run_copy, stage, [0])
    assert list((run_copy / "records" / stage).glob("0*.json")) == []


def test_a_finished_stage_says_so_and_an_unfinished_one_cannot(run_copy):
    run = Run(run_copy)
    done = run_copy / "records" / "search" / "done.json"
    assert json.loads(done.read_text())["n_units"] == 6
    run.records("search").remove(run.units("search")[4])
    with pytest.raises(IncompleteError, match=r"1 of 6 units have no valid record \(4 \(deep"):
        run.records("search").finalize(run.units("search"))


@pytest.mark.parametrize(
    ("stage", "indices", "says"),
    [
        (
            "extrac",
            [0],
            "unknown stage 'extrac': expected one of extract, search, .*, collect: choose one of them",
        ),
        ("search", [0, 6], "stage 'search' has units 0 to 5, but 6 was asked for: correct --indices"),
        ("merge", [0], "stage 'merge' has no units, but 0 was asked for: correct"),
        ("search", [-1], "stage 'search' has units 0 to 5, but -1 was asked for"),
    ],
)
def test_units_that_do_not_exist_are_refused(run_copy, stage, indices, says):
    with pytest.raises(InputError, match=says):
        run_task(run_copy, stage, indices)


def test_leftovers_of_killed_processes_do_not_reach_the_stores(finished, tmp_path):
    root = tmp_path / "run"
    run = prepare(load_manifest(finished.manifest), root)
    for unit in (*run.units("extract"), *run.units("search")):
        for name in unit.owns:
            litter = root / f"{name}.0123456789abcdef.partial"
            litter.parent.mkdir(parents=True, exist_ok=True)
            litter.write_bytes(b"half")
    for unit in run.layout_units():  # as if laying out had been killed too
        run.records(unit.stage).remove(unit)
    for folder in (
        "activations/.wide.zarr.1.building/points",
        "neighbors/.deep.zarr.1.building",
        ".results.zarr.building/overlap",
        ".results.zarr.old",
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / "zarr.json").write_text("{}")
    run_manifest(finished.manifest, root, workers=1)
    assert differences(finished.root, root) == []
    assert not [path for path in root.rglob("*") if path.name.endswith((".partial", ".building", ".old"))]
    assert verify(root).is_sound


def test_a_half_written_unit_without_a_record_is_written_anew(finished, run_copy):
    run = Run(run_copy)
    for stage in ("extract", "search", "collect"):
        unit = run.units(stage)[0]
        run.records(stage).remove(unit)
        for path in (run_copy / unit.owns[0]).rglob("*") if stage == "collect" else [run_copy / unit.owns[0]]:
            if path.is_file():
                path.write_bytes(b"\0" * 100)
    assert {stage for stage, _ in run_again(finished.manifest, run_copy)} == {"extract", "search", "collect"}
    assert differences(finished.root, run_copy) == []


@pytest.mark.parametrize(
    "left", [["records/prepare"], ["records/prepare", "provenance.json"], [".manifest.yaml.77.partial"]]
)
def test_a_directory_that_a_killed_prepare_left_is_gone_on_with(finished, tmp_path, left):
    root = tmp_path / "run"
    (root / "records" / "prepare").mkdir(parents=True)
    for name in left:
        if not (root / name).is_dir():
            (root / name).write_text("{}")
    assert prepare(load_manifest(finished.manifest), root).plan.samples.n == arrays_run.N


@pytest.mark.parametrize("name", ["manifest.yaml", "provenance.json", "plan.json", "samples.parquet"])
def test_the_same_command_mends_what_prepare_wrote(finished, run_copy, name):
    before = records(run_copy)
    (run_copy / name).unlink()
    assert verify(run_copy).is_sound == (name == "provenance.json")
    assert run_again(finished.manifest, run_copy) == []
    if name != "provenance.json":  # which no record promises
        assert (run_copy / name).read_bytes() == (finished.root / name).read_bytes()
        assert changed(before, records(run_copy)) == {"prepare/000000.json"}
    assert verify(run_copy).is_sound


def test_resume_says_what_to_do_without_the_manifest_or_its_folder(run_copy):
    (run_copy / "provenance.json").write_text("{}")
    with pytest.raises(DamagedError, match=r"provenance\.json cannot be read.*hpcgeom run -m MANIFEST"):
        resume(run_copy)
    (run_copy / "manifest.yaml").unlink()
    with pytest.raises(InputError, match=r"has no manifest\.yaml.*hpcgeom run -m MANIFEST --run-dir"):
        resume(run_copy)


def test_a_run_goes_on_from_another_working_directory_and_another_place(finished, tmp_path, monkeypatch):
    root = copy_run(finished.root, tmp_path / "elsewhere")
    run = Run(root)
    run.records("extract").remove(run.units("extract")[1])
    monkeypatch.chdir(tmp_path)
    resume(Path("elsewhere"), workers=1)
    assert differences(finished.root, root) == []
    assert read_manifest_folder(root) == finished.manifest.parent
