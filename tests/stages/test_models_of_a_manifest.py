"""Where models come from, what is kept whole of samples, and samples in windows, through the stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hpcgeom as hg
from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import load_manifest
from hpcgeom.models import InputSettings, Replicate, encoder_of, pad
from hpcgeom.stages.forward import Forward
from hpcgeom.stages.inputs import manifest_of
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.requests import request_of
from hpcgeom.stages.run import Run

SIZES = "{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32}"
ESM = f"{{name: esm, family: esm2, source: facebook/esm2_t6_8M_UR50D, weights: random, config: {SIZES}}}"
GEOMETRY = "{estimators: [twonn], overlap_k: [1], data_fractions: [1.0]}"
PROTEINS = ["ACDEFGHIKLMNPQRSTVWY"[i % 7 :] + "ACDEFGHIK"[: 1 + i % 9] for i in range(12)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCGEOM_CACHE", str(tmp_path / "cache"))


def manifest(folder: Path, model: str = ESM, **changes: str) -> Path:
    (folder / "p.fa").write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(PROTEINS)))
    parts = {
        "dataset": "{kind: fasta, path: p.fa, max_length: 40}",
        "representations": "{sites: [resid]}",
        "neighbors": "{k: 4}",
        "geometry": GEOMETRY,
        **changes,
    }
    text = "".join(f"{key}: {value}\n" for key, value in parts.items())
    path = folder / "m.yaml"
    path.write_text(f"name: demo\nmodels: [{model}]\n{text}")
    return path


def details(rest: str) -> str:
    return f"{{sites: [resid], details: {{{rest}}}}}"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        prepare(load_manifest(path), path.parent / "run")
    return str(caught.value)


def test_an_original_igpt_checkpoint_is_refused_with_the_tool_that_converts_it(tmp_path):
    (tmp_path / "model.ckpt-1.index").write_text("")
    (tmp_path / "model.ckpt-1").write_text("")
    model = "{name: s, family: igpt, source: model.ckpt-1}"
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "images" / "a.png")
    few = {"neighbors": "{k: 2}", "geometry": GEOMETRY}
    for number in range(4):
        Image.new("RGB", (40, 40), (number, 9, 9)).save(tmp_path / "images" / f"{number}.png")
    found = refusal(manifest(tmp_path, model, dataset="{kind: images, path: images}", **few))
    assert "is a TensorFlow checkpoint: convert it with `python tools/convert_igpt.py" in found


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"x")
    found = refusal(manifest(tmp_path, "{name: m, family: esm2, source: w.safetensors}"))
    assert "w.safetensors is a file: expected a folder with config.json" in found
    assert "or an original .pt of fair-esm: name one" in found


@pytest.mark.parametrize(
    ("asked", "length", "expected"),
    [
        ("sites: [logits], samples: [p1, q1]", "40", "there is no sample 'q1'"),
        ("sites: [logits], samples: [p1]", "9, too_long: window", "'p1' is read in 3 windows by model 'esm'"),
        (
            "sites: [attention], samples: [p1], layers: [1, 3]",
            "40",
            "names layer 3, but its layers are 0 to 2",
        ),
        ("sites: [resid], samples: [p1], layers: [7]", "40", "names layer 7, but its layers are 0 to 2"),
    ],
)
def test_details_that_cannot_be_kept_are_refused(tmp_path, asked, length, expected):
    dataset = f"{{kind: fasta, path: p.fa, max_length: {length}}}"
    assert expected in refusal(manifest(tmp_path, dataset=dataset, representations=details(asked)))


def test_a_flat_folder_has_no_classes(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
    images = "{kind: images, path: images, labels: {class: {folder: true}}}"
    vit = "{name: v, family: vit, source: google/vit-base-patch16-224, weights: random}"
    assert "has no subfolders that could be labels" in refusal(manifest(tmp_path, vit, dataset=images))


def test_details_are_the_models_own_and_adding_them_repeats_no_extraction(tmp_path):
    first = run_manifest(manifest(tmp_path), tmp_path / "without", workers=1)
    sites = "sites: [attention, q, resid, logits, logit_lens], samples: [p5], layers: [0, 2]"
    path = manifest(tmp_path, representations=details(sites))
    root = run_manifest(path, tmp_path / "with", workers=1, reuse=first)
    run = Run(root)
    taken, own = (run.records("extract").load(unit) for unit in run.units("extract"))
    assert taken.made_by == Run(first).records("extract").load(Run(first).units("extract")[0]).made_by
    assert own.key == "esm/details"
    request = request_of(run.plan, run.plan.models[0], manifest_of(run))
    encoder = encoder_of(request, InputSettings("fasta", 40))
    ((encoding,),) = encoder.encode(["p5"], [PROTEINS[5]])
    expected = Replicate().open_model(request).details(pad([encoding], encoder.pad_id))
    tree = hg.open_details(root, "esm")
    assert {site: tree[f"{site}/5"].attrs["sample"] for site in expected} == dict.fromkeys(expected, "p5")
    for site, variables in expected.items():
        group = tree[f"{site}/5"]
        assert group["input_id"].values.tolist() == encoding.ids.tolist()
        for name, values in variables.items():
            np.testing.assert_array_equal(group[name].values, values)
    assert tree["attention/5"]["layer"].values.tolist() == [2]
    assert tree["resid/5"]["layer"].values.tolist() == [0, 2]
    assert tree["logit_lens/5"]["layer"].values.tolist() == [0, 1, 2]
    assert tree["q/5"].attrs["n_heads"] == 2


def test_a_long_sample_is_the_mean_over_its_windows(tmp_path):
    dataset = "{kind: fasta, path: p.fa, max_length: 9, too_long: window}"
    root = run_manifest(manifest(tmp_path, dataset=dataset), tmp_path / "run", workers=1)
    stored = hg.open_activations(root, "esm")["resid/mean"]["activations"].values
    run = Run(root)
    request = request_of(run.plan, run.plan.models[0], manifest_of(run))
    model, encoder = Replicate().open_model(request), encoder_of(request, InputSettings("fasta", 40))
    for row, text in enumerate(PROTEINS):
        parts = [text[start : start + 9] for start in range(0, len(text), 9)]
        assert len(parts) > 1
        means = [
            model.extract(pad(encoder.encode(["x"], [part])[0], encoder.pad_id))["resid", "mean"][:, 0]
            for part in parts
        ]
        expected = np.average(means, axis=0, weights=[len(part) for part in parts])
        np.testing.assert_allclose(stored[:, row], expected, rtol=0, atol=2e-6)


def test_a_tokenizer_that_has_changed_since_prepare_is_refused(tmp_path):
    run = prepare(load_manifest(manifest(tmp_path)), tmp_path / "run")
    forward = Forward(run, run.plan.models[0])
    counted = forward.sequences.n_tokens.copy()
    counted[3] += 1
    forward.sequences = replace(forward.sequences, n_tokens=counted)
    with pytest.raises(
        InputError, match=r"sample 'p3' has \d+ tokens .*but prepare counted .* start another run"
    ):
        list(forward.run(run.units("extract")[:1]))


def test_problems_of_several_samples_are_told_together(tmp_path):
    path = manifest(tmp_path, representations=details("sites: [logits], samples: [x, y]"))
    with pytest.raises(ProblemsError) as caught:
        prepare(load_manifest(path), tmp_path / "run")
    assert len(caught.value.problems) == 2
