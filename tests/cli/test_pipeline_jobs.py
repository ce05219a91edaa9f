"""Jobs of models that several processes run together."""

from __future__ import annotations

import re

import pytest

MANIFEST = """
name: toy
dataset: {kind: tokens, path: toy.npy}
models:
  - {name: toy, family: gpt2, source: openai-community/gpt2, weights: random, strategy: %s, config:
     {n_layer: 6, n_embd: 6, n_head: 3, vocab_size: 10, n_positions: 5, bos_token_id: 0, eos_token_id: 0}}
representations: {sites: [resid, ln_1], pooling: [mean], layers: %s}
neighbors: {k: 4}
geometry: {estimators: [twonn], overlap_k: [1]}
"""
PROFILE = """
name: nodes
slurm: {max_array_size: 10}
extract: {nodes: 2, processes: %d, cpus: 4, memory_gb: 3, gpus: %d, walltime: "01:00:00"}
dask: {mode: local}
"""


@pytest.fixture
def rehearse(hpcgeom, tmp_path):
    """What a dry run of 1000 samples says."""

    def call(strategy="pipeline", layers="all", processes=1, gpus=0, rate=""):
        (tmp_path / "toy.yaml").write_text(MANIFEST % (strategy, layers))
        (tmp_path / "p.yaml").write_text((PROFILE % (processes, gpus)).replace("walltime", f"{rate}walltime"))
        return hpcgeom(
            "submit",
            "-m",
            tmp_path / "toy.yaml",
            "-p",
            tmp_path / "p.yaml",
            "--dry-run",
            "--samples",
            1000,
            "--length",
            5,
        )

    return call


def extract_script(text):
    return text.partition("-extract-toy\n")[2].partition("# ----")[0]


@pytest.mark.parametrize(
    ("processes", "gpus", "per_node", "memory"),
    [(1, 0, 1, 3), (3, 0, 3, 9), (1, 2, 2, 6), (2, 2, 2, 6)],
)
def test_processes_of_all_nodes_are_tasks_of_one_step(rehearse, processes, gpus, per_node, memory):
    script = extract_script(rehearse(processes=processes, gpus=gpus).out)
    for option in ("nodes=2", f"ntasks-per-node={per_node}", "cpus-per-task=4", f"mem={1024 * memory}M"):
        assert f"#SBATCH --{option}\n" in script
    assert ("gpus-per-node=2" in script) == bool(gpus)
    assert re.search(r"^srun .*--kill-on-bad-exit=0 --wait=0 .*task .* --job hpcgeom-", script, re.MULTILINE)


def test_other_models_stay_on_one_node(rehearse):
    script = extract_script(rehearse(strategy="replicate").out)
    assert "#SBATCH --nodes=1\n" in script
    assert "--wait=0" not in script


@pytest.mark.parametrize(("gpus", "of"), [(0, "core"), (1, "GPU")])
def test_the_price_has_hours_where_the_profile_has_a_rate(rehearse, gpus, of):
    assert "hours:" not in rehearse("replicate", gpus=gpus).out
    shown = rehearse("replicate", gpus=gpus, rate="gflops_per_s: 1.0e-8, ").out  # ten operations a second
    row = re.search(r"^extract .* (\d\.\d\de\+\d\d) +([\d,]+) of a (\w+)$", shown, re.MULTILINE)
    hours = float(row[1]) / 10 / 3600 * (1 if gpus else 4)  # a process has 4 cores
    assert float(row[2].replace(",", "")) == pytest.approx(hours, rel=0.01)
    assert row[3] == of
    assert "hours: extract as profile 'nodes' says\n" in shown


@pytest.mark.parametrize(("layers", "n_blocks"), [("all", 6), ("[0, 2]", 3)])
def test_more_processes_than_blocks_that_are_run_are_refused(rehearse, layers, n_blocks):
    done = rehearse(layers=layers, processes=4)
    assert done.code == 2
    assert (
        f"profile 'nodes' asks for 8 processes of a job (2 nodes, 4 on each), but only {n_blocks} blocks of "
        "model 'toy' are run, and each process has at least one: lower extract.nodes, extract.processes or "
        "extract.gpus"
    ) in " ".join(done.err.split())
