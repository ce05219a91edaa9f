"""How much memory it takes to read all layers of a model, beside a forward pass that keeps nothing.

    python tools/bench/extract_memory.py
    python tools/bench/extract_memory.py --models esm2 vit --tokens 16384

Each way runs in a process of its own: the model's forward alone; hpcgeom's extraction of `resid` at all
layers with mean pooling; transformers with ``output_hidden_states=True``. The peak is that of the resident
memory (VmHWM, reset before) above what the process holds with the model loaded and one small batch run;
glibc is told to give freed memory back at once.
Weights are random; sizes are those of the models named. Linux only.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TEXT = {"vocab_size": 1000, "max_position_embeddings": 1024}
MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "esm2-35m": ("esm2", 512, {
        "model_type": "esm", "vocab_size": 33, "hidden_size": 480, "num_hidden_layers": 12,
        "num_attention_heads": 20, "intermediate_size": 1920, "position_embedding_type": "rotary",
        "token_dropout": True, "mask_token_id": 32, "pad_token_id": 1, "emb_layer_norm_before": False}),
    "gpt2-small": ("gpt2", 1024, {
        "model_type": "gpt2", "vocab_size": 1000, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "n_positions": 1024, "bos_token_id": 0, "eos_token_id": 0}),
    "llama-small": ("llama", 1024, {
        **TEXT, "model_type": "llama", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "num_key_value_heads": 4, "intermediate_size": 2048}),
    "igpt-s": ("igpt", 1024, {
        "model_type": "imagegpt", "vocab_size": 513, "n_embd": 512, "n_layer": 24, "n_head": 8,
        "n_positions": 1024}),
    "vit-base": ("vit", 197, {
        "model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "image_size": 224, "patch_size": 16}),
    "bert-base": ("bert", 512, {
        **TEXT, "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072}),
}  # fmt: skip
"""Name to family, tokens per row and config.json."""
WAYS = ("forward", "extract", "states")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    # freed memory goes back at once: the peak is that of tensors in use, not of the allocator's habits
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # and new memory comes in large pages, which is faster
}


def memory_kb(field: str) -> int:
    """A field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"the kernel does not report {field}")


def random_batch(family: str, n_rows: int, n_tokens: int, config: dict[str, Any]) -> Any:
    """Random images, or ids with padding in half of the rows."""
    from hpcgeom.models import TokenBatch

    rng, shape = np.random.default_rng(0), (n_rows, n_tokens)
    special, mask = np.zeros(shape, bool), np.ones(shape, np.int64)
    special[:, 0] = True
    if family == "vit":
        pixels = rng.standard_normal((n_rows, 3, 224, 224)).astype(np.float32)
        return TokenBatch(np.zeros(shape, np.int64), mask, special, pixels)
    if family != "igpt":
        mask[n_rows // 2 :, -n_tokens // 8 :] = 0
    ids = rng.integers(2, config["vocab_size"] - 2, shape)
    return TokenBatch(np.where(mask == 1, ids, 1), mask, special)


def peak_above(run: Callable[[], Any]) -> float:
    """Most resident memory while `run` runs, above that before it, in MB."""
    before = memory_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    kept = run()
    peak = memory_kb("VmHWM")
    del kept
    return (peak - before) / 1024


def open_random(family: str, config: dict[str, Any], threads: int) -> Any:
    """hpcgeom's model of a configuration, with random weights, that reads `resid` at all layers."""
    from hpcgeom.models import ModelRequest, Reading, Replicate

    readings = (Reading("resid", ("mean",)),)
    request = ModelRequest("random", family, None, "float32", readings, weights="random", config=config)
    return Replicate().open_model(request, threads=threads)


def run_once(model: Any, way: str, batch: Any) -> Any:
    """Run a batch in one of the `WAYS`."""
    import torch

    if way == "extract":
        return model.extract(batch)
    skeleton = model.skeleton
    inputs = {key: torch.from_numpy(getattr(batch, key)) for key in skeleton.inputs}
    with torch.inference_mode():
        return skeleton.model(**inputs, **skeleton.arguments, output_hidden_states=way == "states")


def measure(name: str, way: str, n_tokens: int, threads: int) -> dict[str, float]:
    """Peak above the loaded model, and the size of one layer's hidden states, in MB."""
    family, length, config = MODELS[name]
    model = open_random(family, config, threads)
    run_once(model, way, random_batch(family, 2, length if family == "vit" else 16, config))
    batch = random_batch(family, max(1, n_tokens // length), length, config)
    peak = peak_above(lambda: run_once(model, way, batch))
    width = model.describe(batch.rows(1)).width
    return {"peak": peak, "layer": batch.input_ids.size * width * 4 / 2**20}


def measure_apart(name: str, way: str, n_tokens: int, threads: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    options = ["--one", name, way, "--tokens", str(n_tokens), "--threads", str(threads)]
    command = [sys.executable, __file__, *options]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tokens", type=int, default=8192, help="of the batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.tokens, options.threads)))
        return
    print(f"peak above the loaded model in MB, batches of {options.tokens} tokens, float32")
    columns = ("one layer", "forward", "hpcgeom", "ratio", "all states", "ratio")
    print(" " * 12, *(f"{column:>10}" for column in columns))
    for name in options.models:
        found = {way: measure_apart(name, way, options.tokens, options.threads) for way in WAYS}
        forward, extract, states = (found[way]["peak"] for way in WAYS)
        numbers = (found["forward"]["layer"], forward, extract, extract / forward, states, states / forward)
        print(f"{name:12}", *(f"{number:10.2f}" for number in numbers))


if __name__ == "__main__":
    main()
