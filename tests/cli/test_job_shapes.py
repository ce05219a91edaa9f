"""What `doctor` asks the scheduler about is what jobs will ask for."""

from __future__ import annotations

import pytest

from hpcgeom.api import cluster_requests
from hpcgeom.api.cluster_requests import check_request
from hpcgeom.launch.slurm.scripts import text_of
from hpcgeom.manifest.profile import load_profile

MANIFEST = """
name: toy
dataset: {kind: tokens, path: toy.npy}
models:
  - {name: toy, family: gpt2, source: openai-community/gpt2, weights: random, strategy: %s, config:
     {n_layer: 8, n_embd: 6, n_head: 3, vocab_size: 10, n_positions: 5, bos_token_id: 0, eos_token_id: 0}}
representations: {sites: [resid], pooling: [mean]}
neighbors: {k: 4}
geometry: {estimators: [twonn], overlap_k: [1]}
"""
PROFILE = """
name: nodes
slurm: {max_array_size: 10, partition: cpu, signal_before_end_s: 60}
extract: {%s, cpus: 4, memory_gb: 3, walltime: "01:00:00"}
search: {cpus: 2, memory_gb: 2.1, gpus: 4, gpu_type: a100, partition: gpu}
geometry: {cpus: 3, memory_gb: 1.3}
collect: {memory_gb: 5}
dask: {%s}
"""
OF_ONE_JOB = ("--job-name=", "--output=", "--array=", "--dependency=")


def requests_of(script):
    """What a script asks sbatch for, but for what no other job has."""
    lines = {
        line.removeprefix("#SBATCH ").strip(chr(34))
        for line in script.splitlines()
        if line.startswith("#SBATCH ")
    }
    return {line for line in lines if not line.startswith(OF_ONE_JOB)}


@pytest.mark.parametrize(
    ("strategy", "extract", "dask"),
    [
        ("pipeline", "nodes: 2, processes: 3", "mode: local, workers: 4"),
        ("pipeline", "nodes: 3, gpus: 2", "workers: 4, nodes: 2"),
        ("replicate", "processes: 2, gpus: 2, gpu_type: h200", "workers: 4, nodes: 4"),
        ("replicate", "jobs: 1", "workers: 1"),
    ],
)
def test_doctor_asks_for_what_jobs_ask_for(hpcgeom, tmp_path, monkeypatch, strategy, extract, dask):
    (tmp_path / "toy.yaml").write_text(MANIFEST % strategy)
    profile = tmp_path / "p.yaml"
    profile.write_text(PROFILE % (extract, dask))
    options = ("-m", tmp_path / "toy.yaml", "-p", profile, "--samples", 1000, "--length", 5)
    shown = hpcgeom("submit", *options, "--dry-run").out
    asked = []
    monkeypatch.setattr(cluster_requests, "sbatch", lambda script, *_: asked.append(text_of(script)))
    for stage in cluster_requests.STAGES:
        check_request(load_profile(profile).profile, stage, tmp_path)
        expected = requests_of(shown.partition(f"-{stage}")[2].partition("# ----")[0])
        assert len(expected) > 5
        assert requests_of(asked[-1]) == expected, stage


def test_a_worker_that_is_a_job_of_its_own_is_asked_about_alone(tmp_path):
    (tmp_path / "p.yaml").write_text(PROFILE % ("jobs: 1", "mode: jobqueue, workers: 4"))
    profile = load_profile(tmp_path / "p.yaml").profile
    assert str(cluster_requests.job_shapes.largest(profile, "search")) == "2 CPUs, 2.35 GiB, 4 GPUs"
