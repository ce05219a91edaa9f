"""Extraction of all layers of ESM-2 35M against fair-esm and a loop over transformers: speed and memory.

    python tools/bench/extract.py
    python tools/bench/extract.py --proteins 200 --threads 1

Random proteins of lengths like those of UniRef50 (lognormal, median 300, at most 1022), sorted by length, in
batches of a number of tokens; random weights, the same for all, in float32 with equal threads and inference
mode; the mean of each protein at all 13 layers ends in an array. `fair-esm` goes through its own batches and
forward as its extraction script does, without the files. `transformers` runs hpcgeom's batches with SDPA and
``output_hidden_states``. Tokens are read and encoded inside the time. Each way is a process of its own with
its model loaded, and they take turns; the median counts. Peak memory is resident memory (VmHWM) above that
of the loaded model. `of onednn` and `of pytorch` are the operations of linear layers and attention of real
tokens, padding left out, per second, against the rate of the model's own linear layers alone, measured
beside, by oneDNN (what hpcgeom asks where the processor has AVX-512) and as PyTorch runs them. Linux only.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, WIDTH, HEADS = 12, 480, 20
MOST_RESIDUES = 1022
TOKENS_PER_BATCH = 8192  # of hpcgeom, unless a manifest says otherwise
FAIR_ESM_TOKENS = 4096
"""Of a batch of fair-esm's extraction script, which is faster than with 8192."""
WAYS = ("hpcgeom", "transformers", "fair-esm")
GEMMS = ("onednn", "pytorch")
"""Linear layers as hpcgeom runs them, and as PyTorch does; the same where the processor lacks AVX-512."""
Run = Callable[[dict[str, str]], np.ndarray]
"""All means of some sequences, (proteins, layers, features)."""


def proteins(n: int) -> dict[str, str]:
    """Random sequences by name, of lengths like those of UniRef50."""
    rng = np.random.default_rng(0)
    lengths = np.clip(300 * np.exp(0.6 * rng.standard_normal(n)), 30, MOST_RESIDUES).astype(int)
    return {
        f"p{i}": "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), size)) for i, size in enumerate(lengths)
    }


def write_weights(folder: Path) -> tuple[Path, Path]:
    """A random model as fair-esm saves one, and as transformers reads it, converted by hpcgeom."""
    import torch
    from esm.model.esm2 import ESM2

    from hpcgeom.models.esm_conversion import convert_esm

    torch.manual_seed(0)
    model, file = ESM2(LAYERS, WIDTH, HEADS), folder / "random.pt"
    sizes = {"encoder_layers": LAYERS, "encoder_embed_dim": WIDTH, "encoder_attention_heads": HEADS}
    settings = argparse.Namespace(arch="esm2", token_dropout=True, dropout=0.0, data=["/data"], **sizes)
    names = {key: f"encoder.{'' if key.startswith('lm_head.') else 'sentence_encoder.'}{key}"
             for key in model.state_dict()}  # fmt: skip
    state = {names[key]: value for key, value in model.state_dict().items()}
    torch.save({"cfg": {"model": settings}, "model": state}, file)
    return file, convert_esm(file, folder / "converted")


def request_of(folder: Path) -> tuple[Any, Any]:
    """What is asked of hpcgeom, and its encoder."""
    from hpcgeom.models import InputSettings, ModelRequest, Reading, encoder_of

    request = ModelRequest("esm2", "esm2", folder, "float32", (Reading("hidden_states", ("mean",)),))
    return request, encoder_of(request, InputSettings("fasta", MOST_RESIDUES))


def batches_of(sequences: dict[str, str]) -> tuple[list[np.ndarray], float]:
    """Which sequences share a batch of hpcgeom, and the share of padding."""
    from hpcgeom.plan.batches import form_batches, padding_share

    lengths = np.array([len(sequence) + 2 for sequence in sequences.values()])
    unit, batch = form_batches(lengths, 8192, TOKENS_PER_BATCH)
    padding = padding_share(lengths, unit, batch)
    return [np.flatnonzero(batch == number) for number in range(batch.max() + 1)], padding


def encode(encoder: Any, sequences: dict[str, str], members: np.ndarray) -> Any:
    """A batch of hpcgeom."""
    from hpcgeom.models import pad

    names, texts = list(sequences), list(sequences.values())
    found = encoder.encode([names[i] for i in members], [texts[i] for i in members])
    return pad([windows[0] for windows in found], encoder.pad_id)


def by_hpcgeom(_: Path, folder: Path, threads: int) -> Run:
    """As the stage `extract` does it, without the files."""
    from hpcgeom.ahead import read_ahead
    from hpcgeom.models import Pieces, Replicate

    request, encoder = request_of(folder)
    pieces = Pieces(Replicate().open_model(request, threads=threads).run, "esm2", "cpu")

    def run(sequences: dict[str, str]) -> np.ndarray:
        values = np.empty((len(sequences), LAYERS + 1, WIDTH), np.float32)
        members = batches_of(sequences)[0]
        found = pieces.run(read_ahead(encode(encoder, sequences, each) for each in members))
        for each, pooled in zip(members, found, strict=True):
            values[each] = pooled["hidden_states", "mean"].swapaxes(0, 1)
        return values

    return run


def by_transformers(_: Path, folder: Path, threads: int) -> Run:
    """The same batches, all hidden states kept until they are pooled."""
    import torch
    from transformers import EsmModel

    torch.set_num_threads(threads)
    encoder = request_of(folder)[1]
    model = EsmModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").eval()

    def run(sequences: dict[str, str]) -> np.ndarray:
        values = np.empty((len(sequences), LAYERS + 1, WIDTH), np.float32)
        for each in batches_of(sequences)[0]:
            batch = encode(encoder, sequences, each)
            ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
            used = torch.from_numpy(batch.attention_mask * ~batch.special_mask)[:, :, None].float()
            with torch.inference_mode():
                states = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
                means = [(state * used).sum(1) / used.sum(1) for state in states]
            values[each] = torch.stack(means, 1).numpy()
        return values

    return run


def by_fair_esm(file: Path, _: Path, threads: int) -> Run:
    """Batches, forward pass and means as in its extraction script."""
    import torch
    from esm.data import Alphabet, FastaBatchedDataset
    from esm.model.esm2 import ESM2

    torch.set_num_threads(threads)
    alphabet = Alphabet.from_architecture("ESM-1b")
    model = ESM2(LAYERS, WIDTH, HEADS, alphabet).eval()
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(file, weights_only=True)["model"]
    prefixes = ("encoder.sentence_encoder.", "encoder.")
    model.load_state_dict({key.removeprefix(prefixes[0]).removeprefix(prefixes[1]): value
                           for key, value in state.items()})  # fmt: skip
    convert, layers = alphabet.get_batch_converter(MOST_RESIDUES), list(range(LAYERS + 1))

    def run(sequences: dict[str, str]) -> np.ndarray:
        values = np.empty((len(sequences), LAYERS + 1, WIDTH), np.float32)
        place = {name: number for number, name in enumerate(sequences)}
        dataset = FastaBatchedDataset(list(sequences), list(sequences.values()))
        for each in dataset.get_batch_indices(FAIR_ESM_TOKENS, extra_toks_per_seq=1):
            labels, strings, tokens = convert([dataset[number] for number in each])
            with torch.inference_mode():
                found = model(tokens, repr_layers=layers, return_contacts=False)["representations"]
                for row, (label, string) in enumerate(zip(labels, strings, strict=True)):
                    means = [found[layer][row, 1 : len(string) + 1].mean(0) for layer in layers]
                    values[place[label]] = torch.stack(means).numpy()
        return values

    return run


def gemm_rate(threads: int, *, by_onednn: bool) -> float:
    """Operations per second of the linear layers of a block, each alone."""
    import torch

    from hpcgeom.models.linears import OneDnnLinear

    torch.set_num_threads(threads)
    linear = OneDnnLinear if by_onednn else torch.nn.Linear
    shapes, n_rows = [(WIDTH, WIDTH)] * 4 + [(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)], 2048
    layers = [linear(*shape) for shape in shapes]
    inputs = [torch.randn(n_rows, n_in) for n_in, _ in shapes]
    taken = []
    with torch.inference_mode():
        for _ in range(12):
            began = time.perf_counter()
            for layer, points in zip(layers, inputs, strict=True):
                layer(points)
            taken.append(time.perf_counter() - began)
    return 2 * n_rows * sum(a * b for a, b in shapes) / statistics.median(taken[2:])


def memory_bytes(field: str) -> int:
    """A field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def serve(way: str, file: str, folder: str, n: int, threads: int) -> None:
    """Load a model, and go through all proteins for each line on standard input."""
    make = {"hpcgeom": by_hpcgeom, "transformers": by_transformers, "fair-esm": by_fair_esm}[way]
    run, sequences = make(Path(file), Path(folder), threads), proteins(n)
    run(dict(list(sequences.items())[:2]))
    print("ready", flush=True)
    for line in sys.stdin:
        rates = {f"{name}_flops_per_s": gemm_rate(threads, by_onednn=name == "onednn") for name in GEMMS}
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before does not count as in use
        before = memory_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        began = time.perf_counter()
        values = run(sequences)
        taken = time.perf_counter() - began
        np.save(line.strip(), values)
        found = {"s": taken, "bytes": memory_bytes("VmHWM") - before, **rates}
        print(json.dumps(found), flush=True)


def measure(n: int, threads: int, repeat: int) -> tuple[dict[str, list[dict[str, float]]], float]:
    """Of each way what its passes took, and the largest difference of two ways' values."""
    children: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        weights = write_weights(Path(name))
        try:
            for way in WAYS:
                command = [sys.executable, __file__, "--proteins", str(n), "--threads", str(threads)]
                command += ["--one", way, *map(str, weights)]
                pipe = subprocess.PIPE
                children[way] = subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, text=True, env=environment()
                )
                assert children[way].stdout.readline().strip() == "ready"  # type: ignore[union-attr]
            for _ in range(repeat):
                for way, child in children.items():
                    print(f"{name}/{way}.npy", file=child.stdin, flush=True)
                    found[way].append(json.loads(child.stdout.readline()))  # type: ignore[union-attr]
        finally:
            for child in children.values():
                child.kill()
                child.wait()
        ours, *others = (np.load(f"{name}/{way}.npy") for way in WAYS)
    return found, max(float(np.abs(ours - other).max()) for other in others)


def environment() -> dict[str, str]:
    """Of the processes."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proteins", type=int, default=80)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "FILE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        serve(*options.one, options.proteins, options.threads)
        return
    found, difference = measure(options.proteins, options.threads, options.repeat)
    lengths = [len(sequence) + 2 for sequence in proteins(options.proteins).values()]
    padding = batches_of(proteins(options.proteins))[1]
    products = LAYERS * (24 * WIDTH**2)
    flops = sum(length * (products + LAYERS * 4 * WIDTH * length) for length in lengths)
    print(f"{len(lengths)} proteins, {sum(lengths)} tokens, {options.threads} threads, padding {padding:.1%}")
    print(f"largest difference of two ways at any layer: {difference:.1e}")
    print(f"{'':12} {'tokens/s':>9} of onednn of pytorch  peak MB   time   peak  of hpcgeom's")
    seconds = {way: statistics.median(each["s"] for each in found[way]) for way in WAYS}
    peaks = {way: statistics.median(each["bytes"] for each in found[way]) for way in WAYS}
    for way in WAYS:
        shares = [flops / seconds[way] / statistics.median(each[f"{name}_flops_per_s"] for each in found[way])
                  for name in GEMMS]  # fmt: skip
        print(f"{way:12} {sum(lengths) / seconds[way]:9.0f} {shares[0]:10.0%} {shares[1]:10.0%} "
              f"{peaks[way] / 2**20:8.0f} {seconds[way] / seconds['hpcgeom']:6.2f} "
              f"{peaks[way] / peaks['hpcgeom']:6.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
