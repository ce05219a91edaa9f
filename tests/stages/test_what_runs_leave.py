"""What is in a run directory besides the numbers, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import arrays_run
import numpy as np
from arrays_run import write_clouds, write_manifest

from hpcgeom.api.drawing import draw_if_new
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.plan import read_plan
from hpcgeom.stages import prepare as prepare_stage
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.stages.status import status_of
from hpcgeom.stages.verify import verify
from hpcgeom.store import arrays
from hpcgeom.store.compare import differences
from hpcgeom.version import __version__


def test_status_counts_records_and_names_what_is_missing_running_and_bad(run_copy):
    run = Run(run_copy)
    arrays_run.flip_bit(run_copy / run.units("search")[2].owns[0])
    verify(run_copy)
    run.records("search").remove(run.units("search")[3])
    (run_copy / "records" / "search" / "000003.lease").write_text('{"pid": 7, "host": "n1"}')
    by_stage = {status.stage: status for status in status_of(Run(run_copy))}
    search = by_stage["search"]
    assert (search.n_done, search.n_units, search.missing, search.bad) == (4, 6, "2-3", 1)
    assert search.running == ("unit 3: process 7 on n1",)
    assert by_stage["extract"].missing == ""
    (run_copy / "records" / "search" / "000003.lease").unlink()
    resume(run_copy, workers=1)
    assert [(status.bad, status.missing) for status in status_of(Run(run_copy))] == [(0, "")] * 5


def test_the_lease_of_a_process_that_was_killed_just_after_its_record_goes_with_the_stage(run_copy):
    records = run_copy / "records" / "geometry"
    left = records / "000001.lease"
    left.write_text('{"pid": 7, "host": "n1"}')
    (records / "done.json").unlink()
    resume(run_copy, workers=1)
    assert (records / "done.json").exists()
    assert not left.exists()


def test_two_runs_of_other_points_are_told_apart(finished, tmp_path):
    """Chunks end in their own CRC-32C, so that all of one shape have the same CRC-32C as files."""
    write_clouds(tmp_path)
    path = tmp_path / "wide1.npy"
    np.save(path, np.load(path)[::-1])
    other = run_manifest(write_manifest(tmp_path), tmp_path / "run", workers=1)
    found = differences(finished.root, other)
    assert any(
        line.startswith("activations/wide.zarr/points/none/activations differs in 21") for line in found
    ), found
    assert any(line.startswith("results.zarr/overlap differs in") for line in found)
    assert not any("deep.zarr" in line for line in found)


def test_figures_are_drawn_anew_for_other_results_alone(run_copy, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "hpcgeom.report.write.write_figures",
        lambda results, folder: drawn.append(1) or [run_copy / "plan.json"],
    )
    draw_if_new(run_copy)
    record = run_copy / "records" / "collect" / "000000.json"
    content = json.loads(record.read_text())
    content["files"][0]["checksum"] = "0" * 64
    (run_copy / "report" / "figures").mkdir(parents=True, exist_ok=True)
    (run_copy / "report" / "figures" / "plan.json").touch()
    draw_if_new(run_copy)
    assert len(drawn) == 1
    record.write_text(json.dumps(content))
    draw_if_new(run_copy)
    assert len(drawn) == 2


def test_stores_say_nothing_about_when_where_and_by_which_version(finished):
    import socket

    forbidden = [
        socket.gethostname().encode(),
        str(finished.root).encode(),
        str(finished.manifest.parent).encode(),
        __version__.encode(),
        b"hpcgeom",
        str(Path.home()).encode() + b"/",
    ]
    stores = [finished.root / name for name in ("activations", "neighbors", "results.zarr")]
    metadata = [path for store in stores for path in store.rglob("zarr.json")]
    assert len(metadata) > 50
    for path in metadata:
        content = path.read_bytes()
        assert not [word for word in forbidden if word in content], path
        assert not any(f"20{year}-".encode() in content for year in range(20, 60)), path


def test_laying_out_a_store_again_leaves_its_data(run_copy):
    store = run_copy / "activations" / "wide.zarr"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}

    def build(root):
        root.attrs["model"] = "wide"

    (placed,) = arrays.lay_out(store, build)
    assert placed == store / "zarr.json"
    assert {path for path in store.rglob("*") if path.is_file()} == set(before)
    shards = [path for path in before if "/activations/c/" in str(path)]
    assert len(shards) == 6
    assert all(path.read_bytes() == before[path] for path in shards)


def test_prepare_writes_its_plan_last(finished, tmp_path, monkeypatch):
    written = []
    keep = prepare_stage.files.write_atomic
    monkeypatch.setattr(
        prepare_stage.files,
        "write_atomic",
        lambda path, content: (written.append(path.name), keep(path, content)),
    )
    prepare(load_manifest(finished.manifest), tmp_path / "run")
    names = [name for name in written if name in ("manifest.yaml", "provenance.json", "plan.json")]
    assert names == ["provenance.json", "manifest.yaml", "plan.json"]


def test_one_process_forgets_the_run_before_it(tmp_path):
    """As in a notebook: the directory is removed, and another manifest's run takes its place."""
    import shutil

    write_clouds(tmp_path)
    one = "[{{name: one, family: arrays, source: '{}{{layer}}.npy'}}]"
    stored = []
    for source in ("wide", "deep"):
        changes = {"models": one.format(source), "dataset": "{kind: arrays}"}
        manifest = write_manifest(tmp_path, **changes)
        root = run_manifest(manifest, tmp_path / "run", workers=1)
        stored.append(differences(root, root) == [] and read_plan(root / "plan.json").models[0].width)
        import hpcgeom as hg

        points = hg.open_activations(root, "one")["points/none/activations"].sel(layer=2).values
        np.testing.assert_array_equal(points, arrays_run.clouds()[source][2])
        shutil.rmtree(root)
    assert stored == [7, 4]
