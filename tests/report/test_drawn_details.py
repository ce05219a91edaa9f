import json

import numpy as np
import pytest
import xarray as xr

import hpcgeom as hg
from hpcgeom.api.drawing import DRAWN, draw_if_new
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.errors import IncompleteError, InputError
from hpcgeom.stages.run import Run

MANIFEST = """
name: toy
dataset: {kind: tokens, path: toy.npy}
models:
  - {name: toy, family: gpt2, source: openai-community/gpt2, weights: random, config: {n_layer: 2, n_embd: 6,
     n_head: 3, vocab_size: 10, n_positions: 5, bos_token_id: 0, eos_token_id: 0}}
representations:
  sites: [q]
  details: {sites: [attention, q, probabilities], samples: ["3"]}
neighbors: {k: 4}
geometry: {estimators: [twonn], overlap_k: [1], data_fractions: [1.0], mu_fractions: [0.9]}
"""
DETAILS = ["attention-3-1.png", "attention-3-1.svg", "probabilities-3-1.png", "probabilities-3-1.svg"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    np.save(folder / "toy.npy", np.random.default_rng(0).integers(0, 10, (20, 5)))
    (folder / "toy.yaml").write_text(MANIFEST)
    return run_manifest(folder / "toy.yaml", folder / "run", workers=1)


def folder_of(root):
    return root / "report" / "figures" / "details" / "toy"


def record_of_details(root):
    run = Run(root)
    (unit,) = [unit for unit in run.units("extract") if unit.site == "details"]
    return run.records("extract").path(unit)


def test_details_of_a_run_are_opened_by_site_and_row(root):
    details = hg.open_details(root, "toy")
    assert {site: list(node.children) for site, node in details.children.items()} == {
        "attention": ["3"],
        "probabilities": ["3"],
        "q": ["3"],
    }
    assert details.attrs["model"] == "toy"
    assert details["attention/3"].attrs["sample"] == "3"
    tokens = np.load(root.parent / "toy.npy")[3]
    np.testing.assert_array_equal(details["q/3"]["input_id"], tokens)
    np.testing.assert_allclose(details["attention/3"]["attention"].sum("key"), 1.0, rtol=1e-6)
    pooled = hg.open_activations(root, "toy")["q/mean"]["activations"].isel(sample=3)
    np.testing.assert_allclose(details["q/3"]["activations"].mean("position"), pooled, atol=1e-6)


def test_a_run_without_details_says_how_to_have_them(tmp_path):
    points = xr.Dataset({"activations": (("layer", "sample", "feature"), np.zeros((1, 2, 3)))})
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"model": "toy"}), "/q/mean": points})
    tree.to_zarr(tmp_path / "activations" / "toy.zarr", zarr_format=2)
    with pytest.raises(InputError, match=r"toy\.zarr holds no details: name samples and sites in repres"):
        hg.open_details(tmp_path, "toy")
    with pytest.raises(InputError, match=r"other\.zarr does not exist: the run has toy\.zarr: name one"):
        hg.open_details(tmp_path, "other")
    with pytest.raises(
        InputError, match=r"neighbors/toy\.zarr does not exist: .* has no such stores yet: name"
    ):
        hg.open_neighbors(tmp_path, "toy")


@pytest.fixture
def one_figure_of_results(monkeypatch):
    """Figures of results take their time, and are not what is looked at."""

    def write(results, folder):
        path = folder / "overlap.png"
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
        return [path]

    monkeypatch.setattr("hpcgeom.report.write.write_figures", write)


def test_figures_of_details_are_drawn_after_the_results_and_only_once(root, monkeypatch):
    drawn = draw_if_new(root)
    first = [path.parent.name == "toy" for path in drawn]
    assert first == sorted(first)
    assert set(DETAILS) <= {path.name for path in drawn if path.parent == folder_of(root)}
    assert all(path.exists() for path in drawn)
    monkeypatch.setattr("hpcgeom.report.write.write_details", lambda *_: pytest.fail("drawn again"))
    assert draw_if_new(root) == drawn


def test_other_details_or_a_missing_figure_are_drawn_anew_and_stale_pages_go(root, one_figure_of_results):
    draw_if_new(root)
    stale, foreign = folder_of(root) / "attention-3-2.png", folder_of(root) / "mine.png"
    known = json.loads((root / DRAWN).read_text())
    known["files"] += ["details/toy/attention-3-2.png", "../../plan.json"]
    (root / DRAWN).write_text(json.dumps(known))
    stale.touch()
    foreign.touch()
    path = record_of_details(root)
    content = path.read_text()
    changed = json.loads(content)
    changed["files"][0]["checksum"] = "0" * 64
    path.write_text(json.dumps(changed))
    draw_if_new(root)
    path.write_text(content)
    assert not stale.exists()
    assert foreign.exists()
    assert (root / "plan.json").exists()
    assert json.loads((root / DRAWN).read_text())["of"] != known["of"]
    (folder_of(root) / DETAILS[0]).unlink()
    draw_if_new(root)
    assert (folder_of(root) / DETAILS[0]).exists()
    assert json.loads((root / DRAWN).read_text())["of"] == known["of"]


def test_details_that_have_still_to_be_read_are_not_drawn(root, one_figure_of_results):
    record_of_details(root).unlink()
    with pytest.raises(
        IncompleteError, match=r"stage 'extract' of .* is not finished: 1 of 1 units .*toy/details"
    ):
        draw_if_new(root)
    resume(root, workers=1)
    assert draw_if_new(root)
