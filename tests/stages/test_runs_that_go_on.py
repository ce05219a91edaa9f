"""Running again, in another order, beside leftovers, and in directories that are not ours."""

from __future__ import annotations

import json
import random
from pathlib import Path

import arrays_run
import numpy as np
import pytest
from arrays_run import Heard, changed, copy_run, records, run_again, write_clouds, write_manifest

from hpcgeom.api.drawing import draw_if_new
from hpcgeom.api.running import resume, run_manifest, run_task
from hpcgeom.errors import DamagedError, IncompleteError, InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.plan import read_plan
from hpcgeom.stages import prepare as prepare_stage
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.provenance import read_manifest_folder
from hpcgeom.stages.run import Run
from hpcgeom.stages.status import status_of
from hpcgeom.stages.verify import verify
from hpcgeom.store import arrays
from hpcgeom.store.compare import differences
from hpcgeom.store.records import FileEntry
from hpcgeom.version import __version__

STAGES = ("extract", "search", "geometry", "collect")
N_UNITS = {"extract": 4, "search": 6, "geometry": 7, "collect": 1}


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
            known.update(size=entry.size, crc32c=entry.crc32c, sha256=entry.sha256)
    path.write_text(json.dumps(record))


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
        ("extrac", [0], "unknown stage 'extrac': expected one of extract, search, geometry, collect"),
        ("search", [0, 6], "stage 'search' has units 0 to 5, but 6 was asked for"),
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
    with pytest.raises(InputError, match=r"'deep'.*deep3\.npy has no bytes"):
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


def test_a_newer_schema_is_refused_in_the_plan_and_in_a_record(run_copy):
    record = run_copy / "records" / "search" / "000001.json"
    edit_json(record, schema=99, something_new={"a": 1})
    with pytest.raises(InputError, match=r"000001\.json has schema 99, but this hpcgeom reads up to 1"):
        run_task(run_copy, "search", [1])
    assert json.loads(record.read_text())["schema"] == 99
    edit_json(run_copy / "plan.json", schema_version=99, something_new=1)
    promise(run_copy, "plan.json")
    with pytest.raises(
        InputError, match=r"plan\.json has schema 99, but this hpcgeom reads up to 1.*newer one"
    ):
        status_of(run_copy)


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


def test_status_counts_records_and_names_what_is_missing_running_and_bad(run_copy):
    run = Run(run_copy)
    arrays_run.flip_bit(run_copy / run.units("search")[2].owns[0])
    verify(run_copy)
    run.records("search").remove(run.units("search")[3])
    (run_copy / "records" / "search" / "000003.lease").write_text('{"pid": 7, "host": "n1"}')
    by_stage = {status.stage: status for status in status_of(run_copy)}
    search = by_stage["search"]
    assert (search.n_done, search.n_units, search.missing, search.bad) == (4, 6, "2-3", 1)
    assert search.running == ("unit 3: process 7 on n1",)
    assert by_stage["extract"].missing == ""
    (run_copy / "records" / "search" / "000003.lease").unlink()
    resume(run_copy, workers=1)
    assert [(status.bad, status.missing) for status in status_of(run_copy)] == [(0, "")] * 4


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
    content["files"][0]["sha256"] = "0" * 64
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
