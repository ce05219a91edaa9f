"""A model of 15 billion parameters on a small machine: time and memory of extracting all layers by `stream`.

    python tools/bench/large/stream_15b.py /scratch/esm2-15b

Writes ESM-2 15B with random bfloat16 weights (30 GB) unless the folder has it already, and reads `ln_1` with
mean pooling at all 49 layers of 16 proteins of a bacterial genome (test data of the package pyhmmer). Beside
it, in the same run: how long it takes to read the files once, and how long matrix products of the model's
shapes take that have as many operations as its forward pass, before and after. The page cache is emptied of
the files before each reading. Seconds of the processor are given too, since other work on the machine
stretches the others. Linux only.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "facebook/esm2_t48_15B_UR50D"
N_PROTEINS, LONGEST, TOKENS_PER_BATCH = 16, 160, 1024
TOOL = Path(__file__).parents[2] / "make_random_checkpoint.py"
READ_BYTES = 16 * 2**20
N_ROUNDS = 5


def make_weights(folder: Path, model: str) -> None:
    """Write the checkpoint, if the disk has room for it."""
    from hpcgeom.catalog.models import known_facts

    facts = known_facts(model)
    assert facts is not None
    n_bytes = 2 * facts.n_parameters
    folder.mkdir(parents=True, exist_ok=True)
    n_there = sum(file.stat().st_size for file in folder.iterdir())
    if n_bytes - n_there > shutil.disk_usage(folder).free:
        sys.exit(f"{folder} needs {n_bytes / 1e9:.0f} GB: take a folder on another disk")
    subprocess.run([sys.executable, str(TOOL), model, str(folder), "--dtype", "bfloat16"], check=True)


def proteins() -> list[tuple[str, str]]:
    """Names and sequences: the longest of a genome's proteins of at most `LONGEST` residues."""
    source = files("pyhmmer") / "tests" / "data" / "seqs" / "938293.PRJEB85.HG003687.faa"
    records = source.read_text().replace("*", "").split(">")[1:]
    pairs = [(text.split()[0], "".join(text.split("\n")[1:])) for text in records]
    short = [pair for pair in pairs if len(pair[1]) <= LONGEST]
    return sorted(short, key=lambda pair: len(pair[1]))[-N_PROTEINS:]


def forget_pages(folder: Path) -> None:
    """Drop the files from the page cache."""
    for file in folder.glob("*.safetensors"):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_all(folder: Path) -> float:
    """Seconds to read all weight files once, into one buffer."""
    forget_pages(folder)
    buffer, began = bytearray(READ_BYTES), time.perf_counter()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb", buffering=0) as raw:
            while raw.readinto(buffer):
                pass
    return time.perf_counter() - began


@dataclass(frozen=True)
class Rate:
    """Operations in a second of the clock, and in one of a processor core."""

    per_s: float
    per_cpu_s: float


def product_rate(model: str, n_rows: int, threads: int) -> Rate:
    """Rate of bfloat16 products with the matrices of one block, over three rounds."""
    import torch

    from hpcgeom.catalog.models import known_facts

    facts = known_facts(model)
    assert facts is not None
    torch.set_num_threads(threads)
    width, inner = facts.width, facts.mlp_width
    shapes = [(width, width)] * 4 + [(inner, width), (width, inner)]
    weights = [torch.randn(shape).to(torch.bfloat16) for shape in shapes]
    inputs = {size: torch.randn(n_rows, size).to(torch.bfloat16) for size in (width, inner)}

    def once() -> None:
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)

    with torch.inference_mode():
        once()
        began, began_cpu = time.perf_counter(), time.process_time()
        for _ in range(N_ROUNDS):
            once()
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    n_operations = 2.0 * N_ROUNDS * n_rows * sum(out * into for out, into in shapes)
    return Rate(n_operations / seconds, n_operations / cpu_s)


def extract(folder: Path, threads: int) -> dict[str, float]:
    """Run the set through the package; seconds, tokens and peak memory of this process."""
    from hpcgeom.models import InputSettings, ModelRequest, Reading, encoder_of, pad
    from hpcgeom.models.esm_tokenizer import esm_tokenizer
    from hpcgeom.models.stream import Stream
    from hpcgeom.plan.batches import form_batches

    readings = (Reading("ln_1", ("mean",)),)
    tokenizer = esm_tokenizer(folder.parent / f"{folder.name}-tokenizer")
    request = ModelRequest("esm2-15b", "esm2", folder, "bfloat16", readings, tokenizer=tokenizer)
    encoder = encoder_of(request, InputSettings("fasta"))
    names, sequences = zip(*proteins(), strict=True)
    encodings = [windows[0] for windows in encoder.encode(names, sequences)]
    lengths = np.array([len(encoding.ids) for encoding in encodings])
    _, numbers = form_batches(lengths, 256, TOKENS_PER_BATCH)
    members = [np.flatnonzero(numbers == number) for number in range(int(numbers.max()) + 1)]
    batches = [pad([encodings[row] for row in rows], encoder.pad_id) for rows in members]
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        began, began_cpu = time.perf_counter(), time.process_time()
        model = Stream().open_model(request, threads=threads)
        opened = time.perf_counter()
        pooled = list(model.run(batches, Path(scratch)))
        ended, cpu_s = time.perf_counter(), time.process_time() - began_cpu
    assert all(np.isfinite(each["ln_1", "mean"]).all() for each in pooled)
    assert sum(each["ln_1", "mean"].shape[1] for each in pooled) == N_PROTEINS
    return {
        "open_s": opened - began,
        "run_s": ended - opened,
        "cpu_s": cpu_s,
        "n_bytes": model.weights.n_bytes_read,
        "n_tokens": int(lengths.sum()),
        "n_padded": sum(batch.input_ids.size for batch in batches),
        "n_batches": len(batches),
        "n_layers": len(pooled[0]["ln_1", "mean"]),
        "longest": int(lengths.max()),
        "peak_bytes": 1024 * status_kb("VmHWM"),
    }


def status_kb(field: str) -> int:
    """A field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"the kernel does not report {field}")


def report(model: str, found: dict[str, float], read_s: float, rates: list[Rate]) -> None:
    """Print what was found, and the ratios."""
    from hpcgeom.catalog.models import known_facts

    facts = known_facts(model)
    assert facts is not None
    n_operations = facts.forward_flops(int(found["n_tokens"]), int(found["longest"]))
    product_s = statistics.mean(n_operations / rate.per_s for rate in rates)
    product_cpu_s = statistics.mean(n_operations / rate.per_cpu_s for rate in rates)
    wall_s = found["open_s"] + found["run_s"]
    shown = ", ".join(f"{rate.per_s / 1e9:.0f}" for rate in rates)
    print(
        f"{model}: {N_PROTEINS} proteins, {found['n_tokens']:.0f} tokens ({found['n_padded']:.0f} with "
        f"padding) in {found['n_batches']:.0f} batches, {found['n_layers']:.0f} layers"
    )
    print(f"extraction: {wall_s:.0f} s (opening {found['open_s']:.1f} s), {found['cpu_s']:.0f} s of cores")
    print(f"read: {found['n_bytes'] / 1e9:.1f} GB of blocks; reading all files once takes {read_s:.0f} s")
    print(f"products: {product_s:.0f} s, {product_cpu_s:.0f} s of cores; before and after {shown} GFLOP/s")
    print(f"extraction / the longer of reading and products: {wall_s / max(read_s, product_s):.2f}")
    print(f"seconds of cores, extraction / products: {found['cpu_s'] / product_cpu_s:.2f}")
    peak = found["peak_bytes"]
    print(
        f"peak resident memory: {peak / 2**30:.2f} GiB, {peak / (2 * facts.n_parameters):.2f} of the weights"
    )


def main() -> None:
    """Make the weights, measure, and print; new memory comes in large pages, for the products too."""
    if "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the weights are, or will be")
    parser.add_argument("--model", default=MODEL, help="another ESM-2 of the catalog, for a shorter run")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--extract", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.extract:
        print(json.dumps(extract(options.folder, options.threads)))
        return
    make_weights(options.folder, options.model)
    rates = [product_rate(options.model, TOKENS_PER_BATCH, options.threads)]
    read_s = read_all(options.folder)
    forget_pages(options.folder)
    command: list[Any] = [sys.executable, __file__, options.folder, "--extract", "--threads", options.threads]
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    rates.append(product_rate(options.model, TOKENS_PER_BATCH, options.threads))
    report(options.model, json.loads(done.stdout.splitlines()[-1]), read_s, rates)


if __name__ == "__main__":
    main()
