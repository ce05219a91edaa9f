"""Reading all layers needs hardly more memory than a forward pass that keeps nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "tools" / "bench"
SCRIPT = """
import json
from extract_memory import WAYS, open_random, peak_above, random_batch, run_once
from hpcgeom.models import Reading
config = {
    "model_type": "gpt2", "vocab_size": 100, "n_embd": 64, "n_layer": 12, "n_head": 1, "n_inner": 64,
    "n_positions": 32, "activation_function": "gelu", "bos_token_id": 0, "eos_token_id": 0,
}
model = open_random("gpt2", config, 1)
found = {}
for way in WAYS:
    run_once(model, way, random_batch("gpt2", 2, 32, config))
    batch = random_batch("gpt2", 2560, 32, config)
    found[way] = peak_above(lambda: run_once(model, way, batch))
print(json.dumps({**found, "layer": batch.input_ids.size * 64 * 4 / 2**20}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets a process's peak")
def test_all_layers_pooled_take_no_more_than_a_fifth_above_a_forward_pass():
    """One layer is 20 MB; the forward pass needs a handful of these, all layers would be twelve more."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(BENCH),
        "HF_HUB_OFFLINE": "1",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["layer"] == 20
    assert found["forward"] > 4 * found["layer"]  # the measure sees tensors at all
    assert found["extract"] <= 1.2 * found["forward"]
    assert found["states"] > 1.2 * found["forward"]  # and those that are kept
