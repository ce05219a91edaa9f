"""Streaming models of real sizes: the bits of `replicate`, the memory promised, single blocks of giants."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from streams_for_tests import check_equal, replicated, streamed
from texts_for_tests import make_batch
from transformers import ImageGPTConfig, ImageGPTModel, LlamaConfig, LlamaModel

from hpcgeom.catalog.models import known
from hpcgeom.models import ModelRequest, Reading, TokenBatch

TOOL = Path(__file__).parents[2] / "tools" / "make_random_checkpoint.py"
LLAMA_SMALL = {
    "model_type": "llama", "vocab_size": 1000, "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "num_key_value_heads": 4, "intermediate_size": 2048,
    "max_position_embeddings": 1024,
}  # fmt: skip
SMALL = {
    "esm2-8m": ("esm2", known("facebook/esm2_t6_8M_UR50D").config),
    "igpt-s": ("igpt", known("openai/imagegpt-small").config),
    "llama-small": ("llama", LLAMA_SMALL),
    "gpt2-small": ("gpt2", known("openai-community/gpt2").config),
}
SITES = ("resid", "ln_1", "hidden_states", "mlp_out", "z")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_random_checkpoint", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_small_models_of_every_family_give_the_bits_of_replicate(tool, tmp_path, name, dtype):
    family, config = SMALL[name]
    tool.write_checkpoint(family, {**config, "initializer_range": 0.05}, tmp_path / name, "float32")
    readings = tuple(Reading(site, ("mean", "last")) for site in SITES)
    request = ModelRequest(name, family, tmp_path / name, dtype, readings)
    batches = [make_batch([100, 37, 64], n_words=500), make_batch([130], n_words=500, seed=1)]
    if family == "esm2":
        batches = [make_batch([100, 37, 64], n_words=24), make_batch([130], n_words=24, seed=1)]
    found = list(streamed(request, 10**6).run(batches, tmp_path / "scratch"))
    check_equal(found, replicated(request, batches))
    last = found[0]["resid", "mean"]
    assert np.abs(last[1:] - last[:-1]).max(axis=(1, 2)).min() > 0.01  # every block does something


def giant(name: str) -> tuple[str, dict]:
    """One block of a model that nobody runs here."""
    if name == "llama2-70b":
        return "llama", {**known("meta-llama/Llama-2-70b-hf").config, "num_hidden_layers": 1}
    return "igpt", {**known("igpt-xl").complete_config({"n_head": 24}), "n_layer": 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2-70b", "igpt-xl"])
def test_one_block_of_a_giant_is_that_of_transformers(tool, tmp_path, name):
    family, config = giant(name)
    tool.write_checkpoint(family, config, tmp_path, "bfloat16")
    n_tokens, n_ids = 96, config["vocab_size"]
    ids = np.random.default_rng(0).integers(0, n_ids, (2, n_tokens))
    batch = TokenBatch(ids, np.ones_like(ids), np.zeros(ids.shape, bool))
    request = ModelRequest(name, family, tmp_path, "bfloat16", (Reading("hidden_states", ("tokens",)),))
    model = streamed(request)
    (found,) = model.run([batch])
    with safe_open(next(tmp_path.glob("*.safetensors")), "pt") as file:
        assert any(tensor.startswith(("layers.0", "h.0")) for tensor in file.keys())  # noqa: SIM118
    assert model.weights.n_bytes_read == 2 * known_block_parameters(family, config)
    model.close()
    how = {"config": (LlamaConfig if family == "llama" else ImageGPTConfig).from_dict(config)}
    theirs = (LlamaModel if family == "llama" else ImageGPTModel).from_pretrained(
        tmp_path, dtype=torch.bfloat16, attn_implementation="sdpa" if family == "llama" else "eager", **how
    )
    for parameter in theirs.parameters():  # the file's mapping is not aligned, which changes last bits
        parameter.data = parameter.data.clone()
    with torch.inference_mode():
        states = theirs.eval()(
            input_ids=torch.from_numpy(ids), use_cache=False, output_hidden_states=True
        ).hidden_states
    expected = torch.stack(states).flatten(1, 2).float().numpy()
    np.testing.assert_array_equal(found["hidden_states", "tokens"], expected)
    assert np.abs(expected[1]).max() > 0.1


def known_block_parameters(family: str, config: dict) -> int:
    from hpcgeom.catalog.facts import facts_of

    return facts_of(config, family, "a giant").n_block_parameters


MEMORY_SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from hpcgeom.models import ModelRequest, Reading, TokenBatch
from hpcgeom.models.stream import Stream

def field(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

folder, n_batches, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
ids = np.random.default_rng(0).integers(4, 24, (n_batches, 4, 256))
batches = [TokenBatch(each, np.ones_like(each), np.zeros(each.shape, bool)) for each in ids]
request = ModelRequest("esm2", "esm2", folder, "bfloat16", (Reading("resid", ("mean",)),))
small = Stream().open_model(request)
list(small.run([batches[0].rows(1)]))
small.close()
del small
before = field("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
model = Stream().open_model(request, host_memory_bytes=memory)
list(model.run(batches, Path(sys.argv[4])))
print(json.dumps({"peak": field("VmHWM") - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets a process's peak")
def test_memory_is_that_of_two_blocks_whatever_the_depth_and_the_set(tool, tmp_path):
    """Twelve blocks of 39 MB; hidden states of 24 batches of 2.6 MB each, and 8 MB are allowed."""
    config = {
        **known("facebook/esm2_t36_3B_UR50D").config, "hidden_size": 1280, "intermediate_size": 5120,
        "num_attention_heads": 20, "num_hidden_layers": 12,
    }  # fmt: skip
    tool.write_checkpoint("esm2", config, tmp_path / "esm2", "bfloat16")
    n_all = sum(file.stat().st_size for file in (tmp_path / "esm2").glob("*.safetensors"))
    assert n_all > 470e6
    arguments = [tmp_path / "esm2", 24, 8_000_000, tmp_path / "scratch"]
    # freed memory goes back at once: the peak is that of tensors in use
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak = json.loads(done.stdout)["peak"]
    block, one_batch = 2 * 12 * 1280**2, 4 * 256 * (4 * 1280 + 2 * 5120) * 2
    assert peak < 2.2 * block + 8_000_000 + 3 * one_batch
