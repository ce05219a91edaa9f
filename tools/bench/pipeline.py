"""How much faster two processes run one model together, and how long each waits for the other.

    python tools/bench/pipeline.py [--batches N] [--rounds N]

ESM-2 35M with random weights, all layers pooled, one thread a process, batches of 4 x 256 tokens in float32.
One process and two take turns on the same batches. A process is idle while its main thread waits for hidden
states to come or to go, as its trace says; counted from its second batch to its last but one. As several
batches may be under way, differences between the processes show after some batches only. Beside that stands
for how much of the whole time its main thread had a core: where that and idleness leave much, others had it.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpcgeom import trace
from hpcgeom.launch.group import run_group
from hpcgeom.models import ModelRequest, Pipeline, Reading, Replicate, TokenBatch, meet
from hpcgeom.this_group import this_member

CONFIG = {
    "model_type": "esm", "vocab_size": 33, "hidden_size": 480, "num_hidden_layers": 12,
    "num_attention_heads": 20, "intermediate_size": 1920, "position_embedding_type": "rotary",
    "token_dropout": True, "mask_token_id": 32, "pad_token_id": 1, "emb_layer_norm_before": False,
}  # fmt: skip
N_ROWS, N_TOKENS = 4, 256


def request() -> ModelRequest:
    """All layers of one site."""
    readings = (Reading("hidden_states", ("mean",)),)
    return ModelRequest("esm2-35m", "esm2", None, "float32", readings, weights="random", config=CONFIG)


def batches(n: int) -> list[TokenBatch]:
    """Random ids without padding."""
    rng, shape = np.random.default_rng(0), (N_ROWS, N_TOKENS)
    special = np.zeros(shape, bool)
    special[:, [0, -1]] = True
    return [
        TokenBatch(rng.integers(4, 24, shape), np.ones(shape, np.int64), special.copy()) for _ in range(n)
    ]


def alone(n: int) -> tuple[float, float]:
    """Seconds of one process, and for how much of them it had a core."""
    model = Replicate().open_model(request(), threads=1)
    some = batches(n)
    model.extract(some[0])
    began, on_core_s = time.monotonic(), time.thread_time()
    for _ in model.run(some):
        pass
    seconds = time.monotonic() - began
    return seconds, (time.thread_time() - on_core_s) / seconds


def member(n: int, folder: Path) -> None:
    """One process of a group: when it began and ended, and how much of that it was idle."""
    me = this_member(folder)
    assert me is not None
    trace.start(folder / f"trace-{me.index}")
    with meet(me) as peers:
        model = Pipeline().open_model(request(), peers, threads=1)
        some = batches(n)
        for _ in model.run(some[:1]):
            pass
        peers.board.exchange("ready", None)
        began, on_core_s = time.monotonic(), time.thread_time()
        for _ in model.run(some):
            pass
        ended, on_core_s = time.monotonic(), time.thread_time() - on_core_s
        model.close()
    trace.stop()
    found = {
        "began": began,
        "ended": ended,
        "idle": idle_share(folder / f"trace-{me.index}", n),
        "on_core": on_core_s / (ended - began),
    }
    (folder / f"found-{me.index}.json").write_text(json.dumps(found))


def idle_share(folder: Path, n: int) -> float:
    """Share of the time that a process waits, once batches flow."""
    (path,) = folder.glob("*.json")
    spans = [event for event in json.loads(path.read_text()) if event["ph"] == "X"]
    computed = {span["args"]["batch"]: span for span in spans if span["name"] == "compute"}
    # the first batch, number 0, came before all processes were ready
    begins, ends = computed[2]["ts"], computed[n - 1]["ts"] + computed[n - 1]["dur"]
    waits = [span for span in spans if span["name"] == "wait" and begins <= span["ts"] < ends]
    return float(sum(span["dur"] for span in waits) / (ends - begins))


def together(n: int, n_processes: int) -> tuple[float, list[dict[str, float]]]:
    """Seconds of a group from its first to its last batch, and what each process found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, __file__, "--batches", str(n), "--member", name]
        run_group(command, n_processes, folder, folder / "logs")
        found: list[dict[str, Any]] = [
            json.loads((folder / f"found-{index}.json").read_text()) for index in range(n_processes)
        ]
    seconds = max(each["ended"] for each in found) - min(each["began"] for each in found)
    return seconds, found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member is not None:
        member(given.batches, given.member)
        return
    one, on_core_alone, several = [], [], []
    found: list[list[dict[str, float]]] = []
    for _ in range(given.rounds):
        seconds, on_core = alone(given.batches)
        one.append(seconds)
        on_core_alone.append(on_core)
        seconds, of_each = together(given.batches, given.processes)
        several.append(seconds)
        found.append(of_each)
    n_tokens = given.batches * N_ROWS * N_TOKENS
    print(
        f"one process:  {n_tokens / statistics.median(one):.0f} tokens/s, on a core: "
        f"{100 * statistics.median(on_core_alone):.1f} %"
    )
    print(f"{given.processes} processes:  {n_tokens / statistics.median(several):.0f} tokens/s")
    print(f"ratio: {statistics.median(one) / statistics.median(several):.2f}")
    for index, rounds in enumerate(zip(*found, strict=True)):
        idle, on_core = (
            100 * statistics.median(each[what] for each in rounds) for what in ("idle", "on_core")
        )
        print(f"process {index} idle: {idle:.1f} %, on a core: {on_core:.1f} %")


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    main()
