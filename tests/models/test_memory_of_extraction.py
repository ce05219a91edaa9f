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
import json, sys
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from hpcgeom.models import Reading, Replicate
from extract_memory import open_random, peak_above, random_batch, run_once
config = {
    "model_type": "gpt2", "vocab_size": 100, "n_embd": 64, "n_layer": 12, "n_head": 1, "n_inner": 64,
    "n_positions": 128, "activation_function": "gelu", "bos_token_id": 0, "eos_token_id": 0,
}
model = open_random("gpt2", config, 1)
found = {}
for way in ("forward", "extract"):
    run_once(model, way, random_batch("gpt2", 2, 128, config))
    batch = random_batch("gpt2", 640, 128, config)
    found[way] = peak_above(lambda: run_once(model, way, batch))
sites = model.skeleton.layout.site_names
request = replace(model.request, readings=tuple(Reading(site, ("mean",)) for site in sites))
model = Replicate().open_model(request)
found["all_sites"] = peak_above(lambda: model.extract(batch))
print(json.dumps({**found, "layer": batch.input_ids.size * 64 * 4 / 2**20}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets a process's peak")
@pytest.mark.slow
def test_all_layers_pooled_take_no_more_than_a_fifth_above_a_forward_pass():
    """One layer is 20 MB; the forward pass needs a handful of these, all layers would be twelve more."""
    # freed memory goes back at once, and new memory comes in large pages, which is faster
    malloc = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(BENCH)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **malloc},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["layer"] == 20
    assert found["forward"] > 4 * found["layer"]  # the measure sees tensors
    assert found["extract"] <= 1.2 * found["forward"]
    assert found["all_sites"] <= 1.2 * found["forward"]
