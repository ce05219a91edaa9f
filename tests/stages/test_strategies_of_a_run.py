"""A run gives the same files with every strategy, and goes on with another."""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest
from transformers import EsmConfig, EsmForMaskedLM, set_seed

from hpcgeom.api.job import run_task
from hpcgeom.api.launchers import launcher
from hpcgeom.api.running import resume, run_manifest
from hpcgeom.api.strategies import Resources
from hpcgeom.errors import InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.models.esm_tokenizer import esm_tokenizer
from hpcgeom.stages import task
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.run import Run
from hpcgeom.store.compare import differences

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
ESM = {"vocab_size": 33, "position_embedding_type": "rotary", "token_dropout": True, "mask_token_id": 32,
       "pad_token_id": 1, "emb_layer_norm_before": False, "max_position_embeddings": 1026}  # fmt: skip
MANIFEST = """\
name: strategies
dataset: {kind: fasta, path: p.fa, max_length: 60}
models: [{name: esm, family: esm2, source: esm, strategy: auto}]
representations: {sites: [ln_1, mlp_act], pooling: [mean, last]}
extract: {unit_rows: 256, tokens_per_batch: 512}
neighbors: {k: 4}
geometry: {estimators: [twonn], overlap_k: [1], data_fractions: [1.0]}
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three units of extract of a model whose weights are in a file."""
    folder = tmp_path_factory.mktemp("strategies")
    set_seed(2)
    EsmForMaskedLM(EsmConfig(**SIZES, **ESM)).save_pretrained(folder / "esm")
    shutil.copytree(esm_tokenizer(folder / "cache"), folder / "esm", dirs_exist_ok=True)
    letters = "ACDEFGHIKLMNPQRSTVWY"
    texts = [letters[i % 7 : 9 + i % 11] + letters[i % 13 :] + letters[i % 5 :] for i in range(600)]
    (folder / "p.fa").write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(texts)))
    path = folder / "m.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture(scope="module")
def reference(manifest):
    return run_manifest(manifest, manifest.parent / "reference", workers=1, strategy="replicate")


def strategies_of(root):
    run = Run(root)
    records = [run.records("extract").load(unit) for unit in run.units("extract")]
    return Counter(record.facts["strategy"] for record in records)


@pytest.mark.parametrize("strategy", ["auto", "stream", "dispatch"])
def test_the_stores_are_the_same_with_every_strategy(manifest, reference, tmp_path, strategy):
    root = run_manifest(manifest, tmp_path / "run", workers=1, strategy=strategy)
    assert differences(root, reference) == []
    assert strategies_of(root) == {strategy.replace("auto", "replicate"): 3}
    assert not (root / "scratch").exists()


def test_a_run_goes_on_with_another_strategy(manifest, reference, tmp_path):
    run = prepare(load_manifest(manifest), tmp_path / "run")
    for index, strategy in enumerate(("stream", "dispatch")):
        run_task(run.root, "extract", [index], resources=Resources(strategy=strategy))
    resume(run.root, workers=1)
    assert differences(run.root, reference) == []
    assert strategies_of(run.root) == {"stream": 1, "dispatch": 1, "replicate": 1}


@pytest.mark.parametrize(("strategy", "left"), [("dispatch", "1,3"), ("stream", "1")])
def test_a_task_of_several_takes_its_own_gpus(manifest, tmp_path, monkeypatch, strategy, left):
    run = prepare(load_manifest(manifest), tmp_path / "run")
    settings = {"STEP_NUM_TASKS": 2, "STEP_NUM_NODES": 1, "GPUS_ON_NODE": 4, "LOCALID": 1}
    for name, value in settings.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    run_task(run.root, "extract", [0], resources=Resources(strategy=strategy))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_the_manifest_may_ask_for_another_strategy_later(manifest, reference, tmp_path):
    run = prepare(load_manifest(manifest), tmp_path / "run")
    other = manifest.with_name("other.yaml")
    other.write_text(MANIFEST.replace("auto", "stream"))
    run_manifest(other, run.root, workers=1)
    assert strategies_of(run.root) == {"stream": 3}
    assert differences(run.root, reference) == []


def test_what_does_not_fit_is_refused_before_anything_is_done(manifest, tmp_path):
    with pytest.raises(InputError, match=r"model 'esm' cannot be run on .*where there are 0\.5 GiB"):
        run_manifest(manifest, tmp_path / "run", workers=1, host_memory_gb=0.5)
    with pytest.raises(InputError, match=r"with strategy pipeline \(there is one process\)"):
        run_manifest(manifest, tmp_path / "run", workers=1, strategy="pipeline")
    with pytest.raises(InputError, match=r"--strategy 'fast': expected one of auto, .*: choose one of them"):
        run_manifest(manifest, tmp_path / "run", workers=1, strategy="fast")
    assert not list((tmp_path / "run" / "records" / "extract").glob("[0-9]*.json"))


def test_a_stream_carries_several_units_at_once(manifest, reference, tmp_path, monkeypatch):
    seen = []
    do = task.do
    monkeypatch.setattr(task, "do", lambda item: seen.append(item) or do(item))
    root = run_manifest(manifest, tmp_path / "run", workers=1, strategy="stream", host_memory_gb=4)
    extract = [item for item in seen if item.stage == "extract"]
    assert [item.indices for item in extract] == [(0, 1, 2)]
    assert {item.means.strategy for item in extract} == {"stream"}
    assert differences(root, reference) == []


def test_the_plan_says_nothing_of_the_strategy_and_the_records_do(reference):
    assert "replicate" not in (reference / "plan.json").read_text()
    assert strategies_of(reference) == {"replicate": 3}


def test_stages_that_compute_on_gpus_have_a_process_for_each(manifest, reference, tmp_path, monkeypatch):
    asked = []

    def here(processes, *more):
        asked.append(processes)
        return launcher(1, *more)

    monkeypatch.setattr("hpcgeom.api.running.launcher", here)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    run_manifest(manifest, tmp_path / "cores")
    assert asked == [16]
    monkeypatch.setattr("hpcgeom.api.strategies.visible", lambda: ["0", "1"])
    asked.clear()
    root = run_manifest(manifest, tmp_path / "gpus", strategy="replicate")
    assert asked == [2, 16]
    assert differences(root, reference) == []
    asked.clear()
    run_manifest(manifest, tmp_path / "as-said", workers=3, strategy="replicate")
    assert asked == [3]
