"""Directories, manifests, data and versions that do not belong together are refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import arrays_run
import numpy as np
import pytest
from arrays_run import copy_run, run_again, write_clouds, write_manifest

from hpcgeom.api.job import run_task
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.plan import read_plan
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.stages.status import status_of
from hpcgeom.store.compare import differences
from hpcgeom.store.records import FileEntry
from hpcgeom.version import __version__


def edit_json(path: Path, **changes) -> None:
    """Change some keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def promise(root: Path, name: str) -> None:
    """Let the record of prepare say that a file is as it is now."""
    path = root / "records" / "prepare" / "000000.json"
    record = json.loads(path.read_text())
    entry = FileEntry.of(root, name)
    for known in record["files"]:
        if known["path"] == name:
            known.update(asdict(entry))
    path.write_text(json.dumps(record))


def test_another_manifest_is_refused_with_the_difference(finished, run_copy):
    other = write_manifest(run_copy.parent, neighbors="{k: 40}", extract="{unit_rows: 512}")
    with pytest.raises(InputError, match=r"belongs to another manifest.*unit_rows: 256 -> 512.*k: 32 -> 40"):
        prepare(load_manifest(other), run_copy)
    with pytest.raises(InputError, match=r"--reuse .*copy\)"):
        prepare(load_manifest(other), run_copy)
    assert read_plan(run_copy / "plan.json") == read_plan(finished.root / "plan.json")


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text(""), lambda path: path.write_text("a: [")]
)
def test_another_manifest_is_refused_even_where_the_first_one_was_lost(run_copy, damage):
    write_clouds(run_copy.parent)
    other = write_manifest(run_copy.parent, neighbors="{k: 40}")
    (run_copy / "records" / "prepare" / "000000.json").rename(run_copy / "records" / "prepare" / "000000.bad")
    damage(run_copy / "manifest.yaml")
    with pytest.raises(InputError, match=r"prepared from another manifest.*'search'.*start another run"):
        prepare(load_manifest(other), run_copy)
    assert read_plan(run_copy / "plan.json").manifest["neighbors"]["k"] == 32


def test_a_foreign_folder_and_a_file_are_left_alone(finished, tmp_path):
    loaded = load_manifest(finished.manifest)
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "draft.tex").write_text("text")
    with pytest.raises(
        InputError, match=r"papers is not empty and is not a run of hpcgeom.*another --run-dir"
    ):
        prepare(loaded, tmp_path / "papers")
    assert [path.name for path in (tmp_path / "papers").iterdir()] == ["draft.tex"]
    with pytest.raises(InputError, match=r"draft\.tex is a file: name a folder as --run-dir"):
        prepare(loaded, tmp_path / "papers" / "draft.tex")
    with pytest.raises(InputError, match="papers is not a run of hpcgeom"):
        resume(tmp_path / "papers")


def test_an_empty_folder_becomes_the_run(finished, tmp_path):
    prepare(load_manifest(finished.manifest), tmp_path)
    assert (tmp_path / "plan.json").exists()


@pytest.fixture
def own_data(finished, tmp_path):
    """A finished run with arrays of its own, that a test may change."""
    write_clouds(tmp_path)
    return write_manifest(tmp_path), copy_run(finished.root, tmp_path / "run")


def move_to(root: Path, folder: Path) -> None:
    """Let a copied run look for its data in `folder`."""
    plan = json.loads((root / "plan.json").read_text())
    before = plan["manifest_folder"]
    text = json.dumps(plan).replace(before, str(folder))
    (root / "plan.json").write_text(text)
    promise(root, "plan.json")


def test_points_that_changed_before_they_were_all_copied_are_refused(own_data):
    manifest, root = own_data
    move_to(root, manifest.parent)
    run = Run(root)
    path = manifest.parent / "deep3.npy"
    points = np.load(path)
    points[7] += 1.0
    np.save(path, points)
    assert run_again(manifest, root) == []  # all are copied: the file is not needed any more
    run.records("extract").remove(run.units("extract")[3])
    with pytest.raises(InputError, match=r"deep3\.npy has changed since it was recorded.*prepare a new run"):
        run_manifest(manifest, root, workers=1)


def test_points_of_another_size_or_gone_are_refused(own_data):
    manifest, root = own_data
    move_to(root, manifest.parent)
    np.save(manifest.parent / "deep3.npy", np.zeros((arrays_run.N, 3), np.float32))
    with pytest.raises(InputError, match=r"'deep'.*deep3\.npy has \d+ bytes.*prepared from one with \d+"):
        run_manifest(manifest, root, workers=1)
    (manifest.parent / "deep3.npy").unlink()
    with pytest.raises(InputError, match=r"'deep'.*deep3\.npy is not there, but .*restore it"):
        run_manifest(manifest, root, workers=1)


def test_labels_that_changed_are_refused(own_data):
    manifest, root = own_data
    move_to(root, manifest.parent)
    path = manifest.parent / "parity.tsv"
    path.write_text(path.read_text().replace("s0\teven", "s0\todd"))
    with pytest.raises(InputError, match=r"parity\.tsv has changed since it was recorded"):
        run_manifest(manifest, root, workers=1)


def test_data_that_changed_while_the_plan_was_lost_is_refused(own_data):
    manifest, root = own_data
    points = np.load(manifest.parent / "wide1.npy")
    np.save(manifest.parent / "wide1.npy", points + 1.0)
    (root / "plan.json").unlink()
    with pytest.raises(
        InputError, match=r"other data or weights than are there now.*'extract'.*restore them"
    ):
        run_manifest(manifest, root, workers=1)


def test_another_schema_is_refused_in_the_plan_and_in_a_record(run_copy):
    record = run_copy / "records" / "search" / "000001.json"
    edit_json(record, schema=99, something_new={"a": 1})
    with pytest.raises(InputError, match=r"000001\.json has schema 99, but this hpcgeom reads up to 3"):
        run_task(run_copy, "search", [1])
    assert json.loads(record.read_text())["schema"] == 99
    edit_json(record, schema=1, files=[{"path": "a", "size": 1, "crc32c": "0" * 8, "sha256": "0" * 64}])
    older = r"000001\.json has schema 1, whose checksums .* \(it reads 3\): use the hpcgeom that made the run"
    with pytest.raises(InputError, match=older):
        run_task(run_copy, "search", [1])
    edit_json(run_copy / "plan.json", schema_version=99, something_new=1)
    promise(run_copy, "plan.json")
    with pytest.raises(
        InputError, match=r"plan\.json has schema 99, but this hpcgeom reads up to 3.*newer one"
    ):
        status_of(Run(run_copy))


def test_the_record_of_something_else_is_refused_and_kept(run_copy):
    record = run_copy / "records" / "search" / "000001.json"
    edit_json(record, digest="0" * 64)
    before = record.read_bytes()
    with pytest.raises(
        InputError, match=r"with digest 000000000000, but this plan asks for.*another --run-dir"
    ):
        run_task(run_copy, "search", [1])
    assert record.read_bytes() == before


def test_two_versions_within_a_stage_are_refused_unless_allowed(finished, run_copy):
    record = run_copy / "records" / "search" / "000001.json"
    made_by = {**json.loads(record.read_text())["made_by"], "hpcgeom": "0.0.7"}
    edit_json(record, made_by=made_by)
    run = Run(run_copy)
    run.records("search").remove(run.units("search")[4])
    for refused in (
        lambda: run_task(run_copy, "search", [4]),
        lambda: resume(run_copy, workers=1),
        lambda: run_manifest(finished.manifest, run_copy, workers=1),
    ):
        with pytest.raises(
            InputError, match=rf"'search'.*hpcgeom 0\.0\.7, this is {__version__}.*--allow-code"
        ):
            refused()
    run_task(run_copy, "search", [4], allow_code_change=True)
    resume(run_copy, workers=1, allow_code_change=True)
    assert differences(finished.root, run_copy) == []
