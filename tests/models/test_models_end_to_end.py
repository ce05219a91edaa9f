"""From texts and sequences through a model to results, against transformers and hand-run forwards."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertModel

import hpcgeom as hg
from hpcgeom.api.job import run_task
from hpcgeom.api.running import run_manifest
from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.manifest import load_manifest
from hpcgeom.stages.prepare import prepare
from hpcgeom.store.compare import differences

N = 300


def write_texts(folder: Path, n: int = N) -> list[str]:
    rng = np.random.default_rng(3)
    words = ["cat", "dog", "sees", "the", "a", "b", "c", "d", "e"]
    texts = [" ".join(rng.choice(words, rng.integers(3, 15))) + f" {'abcde'[row % 5]}" for row in range(n)]
    with (folder / "texts.jsonl").open("w") as file:
        for row, text in enumerate(texts):
            file.write(json.dumps({"id": f"t{row:03d}", "text": text, "kind": "xyz"[row % 3]}) + "\n")
    return texts


def write_manifest(folder: Path, model: str, **changes: str) -> Path:
    lines = {
        "dataset": "{kind: text, path: texts.jsonl, max_length: 16, too_long: truncate, "
        "labels: {kind: {column: kind}}}",
        "representations": "{sites: [resid, hidden_states, attn_out, resid_mid, mlp_out], "
        "pooling: [mean, last]}",
        "extract": "{tokens_per_batch: 64, unit_rows: 256}",
        "neighbors": "{k: 16}",
        "geometry": "{estimators: [twonn, twonn_mle], overlap_k: [1, 5, 16]}",
        **changes,
    }
    text = (
        "name: tiny\n" + f"models: [{model}]\n" + "".join(f"{key}: {value}\n" for key, value in lines.items())
    )
    path = folder / "tiny.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def bert_run(bert_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert-run")
    texts = write_texts(folder)
    manifest = write_manifest(folder, f"{{name: tiny-bert, family: bert, source: '{bert_folder}'}}")
    return texts, manifest, run_manifest(manifest, folder / "run", workers=1)


@pytest.mark.parametrize("site", ["resid", "hidden_states"])
def test_activations_are_transformers_hidden_states_of_each_text_alone(bert_run, bert_folder, site):
    texts, _, root = bert_run
    stored = hg.open_activations(root, "tiny-bert")[f"{site}/mean"]["activations"].values
    tokenizer, model = (
        AutoTokenizer.from_pretrained(bert_folder),
        BertModel.from_pretrained(bert_folder).eval(),
    )
    for row in range(0, N, 29):
        encoded = tokenizer(texts[row], truncation=True, max_length=16, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**encoded, output_hidden_states=True).hidden_states
        expected = np.stack([h[0, 1:-1].double().mean(0).numpy() for h in hidden])
        np.testing.assert_allclose(stored[:, row], expected, rtol=1e-4, atol=1e-5)


def test_a_post_norm_block_adds_up(bert_run, bert_folder):
    _, _, root = bert_run
    tree = hg.open_activations(root, "tiny-bert")
    for position, block in enumerate(BertModel.from_pretrained(bert_folder).encoder.layer):
        before = torch.tensor(tree["resid/last"]["activations"].values[position])
        parts = {
            site: torch.tensor(tree[f"{site}/last"]["activations"].values[position])
            for site in ("attn_out", "resid_mid", "mlp_out")
        }
        after = torch.tensor(tree["resid/last"]["activations"].values[position + 1])
        with torch.inference_mode():
            mid = block.attention.output.LayerNorm(before + parts["attn_out"])
            torch.testing.assert_close(mid, parts["resid_mid"], rtol=1e-4, atol=1e-5)
            out = block.output.LayerNorm(mid + parts["mlp_out"])
            torch.testing.assert_close(out, after, rtol=1e-4, atol=1e-5)


def test_results_cover_all_sites_and_layers_and_say_where_there_is_none(bert_run):
    results = hg.open_results(bert_run[2])
    assert list(results.site.values) == ["resid", "hidden_states", "attn_out", "resid_mid", "mlp_out"]
    assert results.sizes["layer"] == 5
    status = results.status.sel(model="tiny-bert", pooling="mean", estimator="twonn")
    absent = results.status.attrs["flag_meanings"].split().index("absent")
    assert (status.sel(site="attn_out", layer=0) == absent).item()
    assert np.isnan(results.intrinsic_dimension.sel(site="attn_out", layer=0)).all()
    assert np.isfinite(results.intrinsic_dimension.sel(site="resid", estimator="twonn")).all()
    np.testing.assert_array_equal(
        results.overlap.sel(site="resid"), results.overlap.sel(site="hidden_states")
    )  # a post-norm encoder has no final norm


def test_the_order_of_units_changes_no_byte(bert_run, tmp_path):
    _, manifest, root = bert_run
    other = prepare(load_manifest(manifest), tmp_path / "other")
    for stage in ("extract", "search", "geometry", "collect"):
        run_task(other.root, stage, [unit.index for unit in other.units(stage)][::-1])
    assert differences(root, other.root) == []


def test_tokens_per_batch_changes_the_digest_of_extract(bert_run, bert_folder, tmp_path):
    write_texts(tmp_path)
    model = f"{{name: tiny-bert, family: bert, source: '{bert_folder}'}}"
    manifest = write_manifest(tmp_path, model, extract="{tokens_per_batch: 128, unit_rows: 256}")
    other = prepare(load_manifest(manifest), tmp_path / "run")
    before = prepare(load_manifest(bert_run[1]), bert_run[2])
    assert other.plan.models[0].extract_digest != before.plan.models[0].extract_digest


def test_ln_1_of_a_post_norm_encoder_is_refused(bert_folder, tmp_path):
    write_texts(tmp_path)
    model = f"{{name: tiny-bert, family: bert, source: '{bert_folder}'}}"
    manifest = write_manifest(tmp_path, model, representations="{sites: [ln_1]}")
    with pytest.raises(InputError, match=r"'tiny-bert'.*no site 'ln_1'.*post-norm.*choose from token_embed"):
        prepare(load_manifest(manifest), tmp_path / "run")
    assert not (tmp_path / "run" / "plan.json").exists()


def test_weights_that_lack_a_key_are_refused_by_name(bert_folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in bert_folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(bert_folder / "model.safetensors")
    del tensors["encoder.layer.2.output.dense.weight"]
    save_file(tensors, broken / "model.safetensors")
    write_texts(tmp_path)
    manifest = write_manifest(tmp_path, "{name: b, family: bert, source: broken}")
    with pytest.raises(ProblemsError, match=r"lack.*encoder\.layer\.2\.output\.dense\.weight"):
        prepare(load_manifest(manifest), tmp_path / "run")


def test_an_activation_that_is_not_finite_names_sample_layer_and_site(bert_folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in bert_folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(bert_folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][3] = torch.nan
    save_file(tensors, broken / "model.safetensors")
    write_texts(tmp_path)
    manifest = write_manifest(
        tmp_path, "{name: b, family: bert, source: broken}", representations="{sites: [mlp_out]}"
    )
    with pytest.raises(
        InputError, match=r"model 'b', sample 't\d+'.*layer 2.*mlp_out.*float32.*dataset\.exclude"
    ):
        run_manifest(manifest, tmp_path / "run", workers=1)
    assert not (tmp_path / "run" / "records" / "extract" / "000000.json").exists()


def test_a_data_set_that_changed_after_prepare_is_refused(bert_folder, tmp_path):
    write_texts(tmp_path)
    manifest = write_manifest(tmp_path, f"{{name: b, family: bert, source: '{bert_folder}'}}")
    prepare(load_manifest(manifest), tmp_path / "run")
    path = tmp_path / "texts.jsonl"
    path.write_text(path.read_text().replace("cat", "dog", 1))
    with pytest.raises(InputError, match=r"texts\.jsonl has changed since it was recorded"):
        prepare(load_manifest(manifest), tmp_path / "run")


def test_excluded_samples_are_in_nothing(bert_folder, tmp_path):
    write_texts(tmp_path)
    dataset = "{kind: text, path: texts.jsonl, max_length: 16, too_long: truncate, exclude: [t000, t007]}"
    manifest = write_manifest(
        tmp_path,
        f"{{name: b, family: bert, source: '{bert_folder}'}}",
        dataset=dataset,
        representations="{sites: [resid]}",
    )
    root = run_manifest(manifest, tmp_path / "run", workers=1)
    ids = hg.open_activations(root, "b")["resid/mean"]["sample"].values
    assert len(ids) == N - 2
    assert not {"t000", "t007"} & set(ids)
    assert hg.open_results(root).attrs["n_samples"] == N - 2


@pytest.fixture
def fasta_manifest(bert_folder, tmp_path):
    rng = np.random.default_rng(5)
    with (tmp_path / "proteins.fa").open("w") as file:
        for row in range(64):
            sequence = "".join(rng.choice(list("ABC"), rng.integers(4, 18)))
            file.write(f">p{row} sf={row % 4}\n{sequence}\n")
    model = (
        "{name: pre, family: module, factory: 'modules_for_tests:PreNorm', weights: random, seed: 11, "
        f"tokenizer: '{bert_folder}', blocks: blocks, final_norm: ln_f, "
        "block_sites: {ln_1: ln_1, attn_out: attn}}"
    )
    return write_manifest(
        tmp_path,
        model,
        dataset=r"{kind: fasta, path: proteins.fa, labels: {sf: {header: 'sf=(\S+)'}}}",
        representations="{sites: [resid, ln_1, hidden_states, 'module:blocks.*.mlp.0'], pooling: [mean_all]}",
    )


def test_a_module_of_ones_own_is_read_at_its_blocks_and_globs(fasta_manifest, bert_folder, tmp_path):
    from modules_for_tests import PreNorm

    root = run_manifest(fasta_manifest, tmp_path / "run", workers=1)
    tree = hg.open_activations(root, "pre")
    resid = tree["resid/mean_all"]["activations"].values
    ln_1, hidden = (tree[f"{site}/mean_all"]["activations"].values for site in ("ln_1", "hidden_states"))
    assert resid.shape == ln_1.shape == hidden.shape == (4, 64, 16)
    np.testing.assert_array_equal(hidden[:3], resid[:3])
    np.testing.assert_array_equal(hidden[3], ln_1[3])
    glob = next(child for name, child in tree.children.items() if name.startswith("module_"))["mean_all"]
    assert list(glob["module"].values) == ["blocks.0.mlp.0", "blocks.1.mlp.0", "blocks.2.mlp.0"]
    assert glob["activations"].shape == (3, 64, 40)
    results = hg.open_results(root)
    assert {"resid", "ln_1", "module:blocks.*.mlp.0"} <= set(results.site.values)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = PreNorm().eval()
    first = (tmp_path / "proteins.fa").read_text().split("\n")[1]
    ids = AutoTokenizer.from_pretrained(bert_folder)(first, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = model.embed(ids)[0].mean(0).numpy()
    np.testing.assert_allclose(resid[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_a_factory_without_a_file_of_source_is_refused(fasta_manifest, tmp_path, monkeypatch):
    made = ModuleType("made_here")
    monkeypatch.setitem(sys.modules, "made_here", made)
    made.PreNorm = import_module("modules_for_tests").PreNorm
    fasta_manifest.write_text(fasta_manifest.read_text().replace("modules_for_tests:", "made_here:"))
    with pytest.raises(InputError, match=r"factory 'made_here:PreNorm': .* put the factory into a \.py file"):
        prepare(load_manifest(fasta_manifest), tmp_path / "run")


def test_a_module_that_takes_no_mask_never_sees_padding(bert_folder, tmp_path):
    from modules_for_tests import Bag

    texts = write_texts(tmp_path, 60)
    model = (
        "{name: bag, family: module, factory: 'modules_for_tests:Bag', weights: random, seed: 2, "
        f"tokenizer: '{bert_folder}'}}"
    )
    manifest = write_manifest(
        tmp_path, model, representations="{sites: ['module:towers.*'], pooling: [mean]}"
    )
    root = run_manifest(manifest, tmp_path / "run", workers=1)
    stored = next(iter(hg.open_activations(root, "bag").children.values()))["mean"]["activations"].values
    with torch.random.fork_rng():
        torch.manual_seed(2)
        bag = Bag().eval()
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    for row in (0, 7, 31, 59):
        ids = tokenizer(texts[row], truncation=True, max_length=16, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            first = bag.towers[0](bag.again(bag.again(bag.up(bag.embed(ids)))).mean(dim=1))
        np.testing.assert_allclose(stored[0, row], first[0].numpy(), rtol=1e-5, atol=1e-6)
