"""What the plan says that a strategy takes is an upper bound of what it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpcgeom.api.pricing import price
from hpcgeom.plan.footprints import BYTES_OF_PROCESS

WIDTH, N_LAYERS, TOKENS = 1024, 16, 2048
CONFIG = {"vocab_size": 1000, "n_embd": WIDTH, "n_layer": N_LAYERS, "n_head": 16, "n_positions": 256,
          "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip
MAKE = """
import json, sys
from transformers import GPT2Config, GPT2Model
GPT2Model(GPT2Config(**json.loads(sys.argv[2]))).save_pretrained(sys.argv[1])
"""
RUN = """
import json, sys
from pathlib import Path
import numpy as np
from hpcgeom.models import ModelRequest, Reading, TokenBatch, open_model
from hpcgeom.types import Means
folder, strategy, n_tokens = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
request = ModelRequest("m", "gpt2", folder, "float32", (Reading("ln_1", ("mean",)),))
model = open_model(request, Means(strategy, None, 0), "cpu", 1)
shape = (n_tokens // 256, 256)
def batch(seed):
    ids = np.random.default_rng(seed).integers(0, 1000, shape)
    return TokenBatch(ids, np.ones(shape, np.int64), np.zeros(shape, bool))
pooled = model.run(map(batch, range(3)), folder / "scratch")
total = sum(float(found["ln_1", "mean"].sum()) for found in pooled)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak.split()[1]) * 1024, total]))
"""
MANIFEST = """\
name: m
dataset: {kind: text, path: t.tsv, max_length: 256}
models: [{name: m, family: gpt2, source: model, tokenizer: model}]
representations: {sites: [ln_1], pooling: [mean]}
extract: {tokens_per_batch: %d}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    subprocess.run([sys.executable, "-c", MAKE, str(folder / "model"), json.dumps(CONFIG)], check=True)
    (folder / "m.yaml").write_text(MANIFEST % TOKENS)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")
def test_what_is_planned_is_an_upper_bound_of_what_is_used(folder):
    choice = price(folder / "m.yaml", 100).choices["m"]
    weights, sums = choice.needs.weights, {}
    assert weights > 0.7e9
    for strategy in ("replicate", "stream", "dispatch"):
        command = [sys.executable, "-c", RUN, str(folder / "model"), strategy, str(TOKENS)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peak, sums[strategy] = json.loads(shown.splitlines()[-1])
        # Files that are read are mapped by `replicate`: what the mapping shows is given back under pressure.
        mapped = weights if strategy == "replicate" else 0
        assert peak <= choice.of(strategy).host_bytes + mapped, strategy
        if strategy != "replicate":
            assert peak < BYTES_OF_PROCESS + weights / 2, strategy
    assert len(set(sums.values())) == 1
