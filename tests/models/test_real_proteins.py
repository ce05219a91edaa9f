"""ESM-2 from the original checkpoint to points, on real proteins, against fair-esm's model and pooling."""

from __future__ import annotations

from importlib.resources import files

import esm_files
import numpy as np
import pytest
import torch

from hpcgeom.data import read_fasta
from hpcgeom.models import InputSettings, ModelRequest, Reading, Replicate, encoder_of, pad
from hpcgeom.models.esm_conversion import convert_esm
from hpcgeom.plan.batches import form_batches

N_PROTEINS, LONGEST, TOKENS_PER_BATCH = 50, 160, 2048
SIZES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20)}
POOLINGS = ("mean", "mean_all", "tokens", "first", "last")


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    """Predicted proteins of one bacterial genome, of mixed length (test data of the package pyhmmer)."""
    path = tmp_path_factory.mktemp("fasta") / "genome.faa"
    source = files("pyhmmer") / "tests" / "data" / "seqs" / "938293.PRJEB85.HG003687.faa"
    records = [f">{text.strip()}\n" for text in source.read_text().replace("*", "").split(">")[1:]]
    short = [record for record in records if len("".join(record.split("\n")[1:])) <= LONGEST]
    path.write_text("".join(short[:: len(short) // N_PROTEINS][:N_PROTEINS]))
    return read_fasta(path, LONGEST, "error", "keep", {})


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.slow) for size in ("8M", "35M", "150M")]
)
def test_every_layer_of_real_proteins_is_that_of_fair_esm(proteins, tmp_path, size):
    torch.set_num_threads(2)
    model = esm_files.make_model(SIZES[size])
    folder = convert_esm(esm_files.save(tmp_path / f"esm2_{size}.pt", model), tmp_path / "cache")
    request = ModelRequest("esm2", "esm2", folder, "float32", (Reading("hidden_states", POOLINGS),))
    encoder = encoder_of(request, InputSettings("fasta"))
    encodings = [windows[0] for windows in encoder.encode(proteins.ids, proteins.texts)]
    lengths = np.array([len(encoding.ids) for encoding in encodings])
    assert len(lengths) == N_PROTEINS
    assert len(set(lengths.tolist())) > 30
    assert lengths.max() > 3 * lengths.min()
    _, batches = form_batches(lengths, 256, TOKENS_PER_BATCH)
    extractor = Replicate().open_model(request, threads=2)
    n_padded, worst = 0, 0.0
    for number in range(int(batches.max()) + 1):
        rows = np.flatnonzero(batches == number)
        batch = pad([encodings[row] for row in rows], encoder.pad_id)
        n_padded += int((batch.attention_mask == 0).any())
        names = [(proteins.ids[row], proteins.texts[row]) for row in rows]
        worst = max(worst, largest_error(extractor.extract(batch), model, names))
    assert n_padded > 1
    assert worst < 1e-4


def largest_error(found, model, names) -> float:
    """Largest difference over the layer's RMS, of every token and of the means of fair-esm's extract.py."""
    _, _, tokens = esm_files.ALPHABET.get_batch_converter()(names)
    with torch.inference_mode():
        layers = model(tokens, repr_layers=range(model.num_layers + 1))["representations"]
    sizes = [len(sequence) for _, sequence in names]
    worst = 0.0
    for layer, whole in layers.items():
        inside = [hidden[1 : size + 1] for hidden, size in zip(whole, sizes, strict=True)]
        expected = {
            "tokens": torch.cat(inside),
            "mean": torch.stack([hidden.mean(0) for hidden in inside]),
            "mean_all": torch.stack([h[: size + 2].mean(0) for h, size in zip(whole, sizes, strict=True)]),
            "first": whole[:, 0],
            "last": torch.stack([h[size + 1] for h, size in zip(whole, sizes, strict=True)]),
        }
        rms = expected["tokens"].square().mean().sqrt().item()
        for pooling, values in expected.items():
            difference = np.abs(found["hidden_states", pooling][layer] - values.numpy()).max()
            worst = max(worst, float(difference) / rms)
    return worst
