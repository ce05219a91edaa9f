"""The price of a plan, held against what a finished run has left and used."""

from __future__ import annotations

import json

import pytest

from hpcgeom.api.pricing import price

FOLDERS = {
    "extract": ("activations", "records/extract"),
    "search": ("neighbors", "records/search"),
    "geometry": ("geometry", "records/geometry"),
    "collect": ("results.zarr", "records/collect"),
}


@pytest.fixture(scope="module", params=FOLDERS)
def stage(request, manifest, run):
    """The price of a stage, and the files that it has left."""
    found = next(item for item in price(manifest).stages if item.stage == request.param)
    files = [path for name in FOLDERS[request.param] for path in (run / name).rglob("*") if path.is_file()]
    return found, files


def test_bytes_are_at_most_a_fifth_more_than_those_that_are_left(stage):
    found, files = stage
    left = sum(path.stat().st_size for path in files)
    assert left <= found.size_bytes <= 1.2 * left


def test_files_are_at_most_a_tenth_more_than_those_that_are_left(stage):
    found, files = stage
    assert len(files) <= found.n_files <= 1.1 * len(files)


def test_units_are_those_that_were_done(stage, run):
    found, _ = stage
    assert len(list((run / "records" / found.stage).glob("[0-9]*.json"))) == found.n_units


def test_the_bytes_of_a_whole_run_are_at_most_a_fifth_more_than_those_on_disk(manifest, run):
    left = sum(
        path.stat().st_size for path in run.rglob("*") if path.is_file() and "report" not in path.parts
    )
    assert left <= sum(item.size_bytes for item in price(manifest).stages) * 1.02 <= 1.2 * left


def test_what_a_plan_is_priced_with_is_what_prepare_writes(manifest, run):
    written = json.loads((run / "plan.json").read_text())
    looked_at = price(manifest).plan.model_dump(mode="json")
    assert written["unit_rows"] == looked_at["unit_rows"]
    assert written["tile_rows"] == looked_at["tile_rows"]
    assert written["samples"]["digest"] == looked_at["samples"]["digest"]
    assert written["models"][0]["representations"] == looked_at["models"][0]["representations"]
