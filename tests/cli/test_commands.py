"""Every command on a small finished run: what it prints, and what it leaves."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

from hpcgeom.api.job_status import RunReport
from hpcgeom.manifest import Manifest, load_manifest
from hpcgeom.manifest.profile import load_profile
from hpcgeom.manifest.profile_sections import Profile
from hpcgeom.stages.run import Run
from hpcgeom.version import __version__

STAGES = ["extract", "search", "merge", "geometry", "collect"]


@pytest.fixture
def copied(run, tmp_path):
    """A run of its own, to be damaged or continued."""
    return shutil.copytree(run, tmp_path / "copied")


def test_init_writes_a_manifest_that_is_valid(hpcgeom, tmp_path):
    done = hpcgeom("init", "first-try")
    assert done.code == 0
    assert done.out == "first-try.yaml is written: edit it, then hpcgeom validate -m first-try.yaml\n"
    assert load_manifest(tmp_path / "first-try.yaml").manifest.name == "first-try"
    checked = hpcgeom("validate", "-m", "first-try.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert re.fullmatch(r"first-try.yaml is valid: first-try, digest [0-9a-f]{8}\n", checked.out)


def test_init_writes_a_profile_that_is_valid(hpcgeom, tmp_path):
    done = hpcgeom("init", "cluster", "--profile")
    assert (done.code, done.err) == (0, "")
    assert done.out == "cluster.yaml is written: edit it, then hpcgeom doctor --profile cluster.yaml\n"
    assert load_profile(tmp_path / "cluster.yaml").profile.name == "cluster"
    assert hpcgeom("init", "cluster", "--profile").code == 2


def test_init_has_a_name_of_its_own_and_knows_the_suffix(hpcgeom, tmp_path):
    assert hpcgeom("init").code == hpcgeom("init", "other.yaml").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-run.yaml", "other.yaml"]
    assert load_manifest(tmp_path / "other.yaml").manifest.name == "other"


def test_init_never_overwrites(hpcgeom, tmp_path):
    (tmp_path / "mine.yaml").write_text("precious")
    refused = hpcgeom("init", "mine")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "hpcgeom: mine.yaml exists: choose another name, or remove it first\n"
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_init_refuses_a_name_that_is_a_path(hpcgeom, tmp_path):
    refused = hpcgeom("init", "../outside")
    assert refused.code == 2
    assert "found '../outside': choose another name" in refused.err
    assert not (tmp_path.parent / "outside.yaml").exists()


def test_schema_is_that_of_a_manifest(hpcgeom):
    parsed = json.loads(hpcgeom("schema").out)
    assert parsed == Manifest.model_json_schema()
    assert set(parsed["required"]) == {"name", "dataset", "models"}
    assert json.loads(hpcgeom("schema", "manifest").out) == parsed


@pytest.mark.parametrize(("of", "what"), [("profile", Profile), ("status", RunReport)])
def test_profiles_and_the_status_have_a_schema_too(hpcgeom, of, what):
    shown = hpcgeom("schema", of)
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out) == what.model_json_schema()


def test_plan_shows_units_bytes_files_memory_and_operations(hpcgeom, manifest):
    shown = hpcgeom("plan", "-m", manifest)
    assert (shown.code, shown.err) == (0, "")
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["first", "arrays", "1", "256", "0", "2"] in lines
    rows = {line[0]: line for line in lines if line and line[0] in STAGES}
    assert [rows[stage][1] for stage in STAGES] == ["2", "3", "0", "4", "1"]
    assert rows["search"][-1] == "7.68e+08"  # 3 layers x 1000 x 1000 x 256
    assert "1,000 samples" in shown.out
    total = sum(
        item["size_bytes"] for item in json.loads(hpcgeom("plan", "-m", manifest, "--json").out)["stages"]
    )
    assert (
        f"total on disk: {total / 2**20:.1f} MiB, and as much again of the search for layers with"
        in shown.out
    )
    parsed = json.loads(hpcgeom("plan", "-m", manifest, "--json").out)
    assert [stage["stage"] for stage in parsed["stages"]] == STAGES


def test_plan_says_hours_from_the_time_that_units_of_a_run_took(hpcgeom, manifest, run):
    of_run = Run(run)
    taken_s = sum(of_run.records("search").load(unit).facts["seconds"] for unit in of_run.units("search"))
    found = json.loads(hpcgeom("plan", "-m", manifest, "--like", run, "--json").out)["hours"]
    assert found.keys() == {"search"}
    assert found["search"]["hours"] == pytest.approx(taken_s / 3600, rel=1e-6)
    shown = hpcgeom("plan", "-m", manifest, "--like", run).out
    assert "operations  hours" in shown
    first, second = (
        f"2 units of search of 'first' in {run} took",
        f"1 unit of search of 'second' in {run} took",
    )
    assert f"hours: search as {first} and {second}\n" in shown
    assert "hours" not in hpcgeom("plan", "-m", manifest).out
    refused = hpcgeom("plan", "-m", manifest, "--like", run.parent)
    assert (refused.code, "is not a prepared run" in refused.err) == (2, True)


def test_prepare_run_task_status_and_resume_lead_to_the_same_results(hpcgeom, manifest, run, tmp_path):
    root = tmp_path / "by-hand"
    prepared = hpcgeom("prepare", "--manifest", manifest, "--run-dir", root)
    assert (prepared.code, prepared.out) == (
        0,
        f"{root} is prepared: hpcgeom resume {root} does the rest\n",
    )
    before = hpcgeom("status", root)
    assert before.code == 3
    lines = before.out.splitlines()
    assert lines[0].split() == [
        "stage",
        "done",
        "units",
        "running",
        "pending",
        "failed",
        "seconds",
        "missing",
    ]
    assert [line.split() for line in lines[1:6]] == [
        ["extract", "0", "2", "0", "0", "0", "0.0", "0-1"],
        ["search", "0", "3", "0", "0", "0", "0.0", "0-2"],
        ["merge", "0", "0", "0", "0", "0", "0.0", "-"],
        ["geometry", "0", "4", "0", "0", "0", "0.0", "0-3"],
        ["collect", "0", "1", "0", "0", "0", "0.0", "0"],
    ]
    assert lines[6:] == ["", f"nobody works on it: hpcgeom resume {root}"]
    done = hpcgeom("task", root, "--stage", "extract", "--indices", "1,0-0")
    assert (done.code, done.out) == (0, f"extract: units 1,0-0 of {root} are done\n")
    parsed = json.loads(hpcgeom("status", root, "--json").out)
    assert [stage["n_done"] for stage in parsed["stages"]] == [2, 0, 0, 0, 0]
    assert (parsed["schema_version"], parsed["is_complete"], parsed["jobs"]) == (1, False, [])
    resumed = hpcgeom("resume", root, "--workers", "1")
    assert resumed.code == 0
    assert "extract: all 2 units are done" in resumed.err
    assert hpcgeom("status", root).code == 0
    same = hpcgeom("compare", root, run)
    assert same.code == 0
    assert re.fullmatch(r".* are identical: \d+ files of activations, neighbors and results\n", same.out)


def test_run_goes_on_where_it_stopped_and_takes_over_what_is_equal(hpcgeom, manifest, run, tmp_path):
    root = tmp_path / "again"
    done = hpcgeom("run", "-m", manifest, "--run-dir", root, "--workers", 1, "--reuse", run)
    assert done.code == 0
    assert "reuse: search: 3 of 3 units taken over" in done.err
    assert f"results: {root}/results.zarr\n" in done.out
    assert f"tables:  hpcgeom show {root}\n" in done.out
    assert re.search(r"figures: .*again/report/figures \(.*intrinsic_dimension.*; png and svg\)", done.out)
    again = hpcgeom("run", "-m", manifest, "--run-dir", root)
    assert again.code == 0
    assert "collect: all 1 units are done" in again.err


def test_runs_have_a_place_of_their_own_by_name_and_digest(hpcgeom, manifest, tmp_path):
    digest = re.search(r"digest ([0-9a-f]{8})", hpcgeom("validate", "-m", manifest).out)[1]
    assert f"runs/small-{digest} is prepared" in hpcgeom("prepare", "-m", manifest).out
    assert (tmp_path / "runs" / f"small-{digest}" / "plan.json").exists()


def test_show_prints_the_numbers_of_the_results(hpcgeom, run):
    shown = hpcgeom("show", run)
    assert shown.code == 0
    results = xr.open_zarr(run / "results.zarr", chunks=None)
    one = results["intrinsic_dimension"].sel(model="first", layer=1, estimator="twonn").squeeze().item()
    line = next(line for line in shown.out.splitlines() if line.split()[:2] == ["1", "1.00"])
    assert line.split()[2] == f"{one:.2f}"
    assert json.loads(hpcgeom("show", run, "--json").out)


def test_plot_draws_the_figures_again(hpcgeom, copied):
    shutil.rmtree(copied / "report")
    drawn = hpcgeom("plot", copied)
    assert drawn.code == 0
    names = sorted(path.name for path in (copied / "report" / "figures").iterdir())
    assert {"intrinsic_dimension.png", "intrinsic_dimension.svg", "overlap.svg"} <= set(names)
    assert all(path.stat().st_size > 1000 for path in (copied / "report" / "figures").iterdir())


def test_plot_draws_published_curves_beside_those_of_the_run(hpcgeom, copied, tmp_path):
    before = {path: path.read_bytes() for path in (copied / "report" / "figures").glob("*.png")}
    curve = {"name": "theirs", "variable": "intrinsic_dimension", "relative_depth": [0, 1], "value": [3, 2]}
    unmatched = {**curve, "name": "other", "site": "ln_1"}
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"source": "a paper", "curves": [curve, unmatched]}))
    drawn = hpcgeom("plot", copied, "--reference", path)
    assert drawn.code == 0
    folder = copied / "report" / "figures" / "with_reference"
    assert f"figures: {folder} (intrinsic_dimension; png and svg)" in drawn.out
    assert "not drawn: curve 'other': there is no panel of its site and pooling, but points" in drawn.out
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["intrinsic_dimension.png", "intrinsic_dimension.svg"]
    assert {path: path.read_bytes() for path in before} == before
    path.write_text("{}")
    refused = hpcgeom("plot", copied, "--reference", path)
    assert refused.code == 2
    assert "expected an object with 'source' and 'curves', found an empty one" in refused.err.replace(
        "\n", " "
    )


def test_verify_reads_every_byte_of_a_sound_run(hpcgeom, run):
    sound = hpcgeom("verify", run)
    assert sound.code == 0
    assert re.search(r"is sound: 13 units, \d+ files, [\d.]+ MiB read\n", sound.out)
    parsed = json.loads(hpcgeom("verify", run, "--json").out)
    assert (parsed["damaged"], parsed["missing"], parsed["n_units"]) == ({}, [], 13)


def test_verify_finds_a_flipped_bit_and_resume_mends_it(hpcgeom, copied, run):
    shard = copied / "neighbors/first.zarr/points/none/neighbor_distance/c/1/0/0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(bytes(content))
    found = hpcgeom("verify", copied)
    assert found.code == 3
    assert "search 1 (first/points/none/layer-001): " in found.out
    assert "1 units are to be done again (" in found.out
    assert hpcgeom("status", copied).code == 3
    assert hpcgeom("resume", copied, "--workers", 1).code == 0
    assert hpcgeom("verify", copied).code == 0
    assert hpcgeom("compare", copied, run).code == 0


def test_verify_of_a_damaged_run_is_json_with_the_same_exit_code(hpcgeom, copied):
    (copied / "results.zarr" / "zarr.json").unlink()
    found = hpcgeom("verify", copied, "--json")
    assert found.code == 3
    assert json.loads(found.out)["missing"] or json.loads(found.out)["damaged"]


def test_compare_says_where_two_runs_differ(hpcgeom, run, manifest, tmp_path):
    other = tmp_path / "inputs"
    shutil.copytree(manifest.parent, other)
    points = np.load(other / "first1.npy")
    np.save(other / "first1.npy", points[::-1])
    assert hpcgeom("run", "-m", other / "small.yaml", "--run-dir", "other", "--workers", 1).code == 0
    found = hpcgeom("compare", run, "other")
    assert found.code == 3
    assert found.out.startswith(f"{run} and other differ:\n")
    assert re.search(
        r"activations/first.zarr/points/none/activations differs in \d+ of 512000 numbers", found.out
    )


def test_the_version_is_that_of_the_package(hpcgeom):
    shown = hpcgeom("--version")
    assert (shown.code, shown.out) == (0, f"{__version__}\n")


def test_doctor_prints_one_line_a_check_and_its_exit_code_says_whether_all_is_fine(hpcgeom, monkeypatch):
    from hpcgeom.api import doctor

    checks = {"disk": lambda: "fine", "memory": lambda: "fine too"}
    monkeypatch.setattr(doctor, "checks_of", lambda folder: checks)
    shown = hpcgeom("doctor")
    assert (shown.code, shown.out) == (0, "ok    disk: fine\nok    memory: fine too\n")
    checks["memory"] = lambda: 1 / 0
    shown = hpcgeom("doctor")
    assert shown.code == 4
    assert "FAIL  memory: ZeroDivisionError: division by zero\n" in shown.out
    parsed = json.loads(hpcgeom("doctor", "--json").out)
    assert [(item["check"], item["is_fine"]) for item in parsed] == [("disk", True), ("memory", False)]
