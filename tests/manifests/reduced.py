"""The shipped manifests at a size that runs in seconds: tiny untrained models on a little made-up data.

Only sizes change. Families, sites, poolings, ways to read labels, and samples kept whole stay as shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import small_data
import yaml
from small_data import Labels

K = 8
N_BLOCKS = (2, 1)
"""Of the models in turn, so that some layers exist in one model only."""
WIDTH, N_HEADS = 32, 4
N_LAYERS_ON_DISK = 4
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "esm2": {"hidden_size": WIDTH, "num_attention_heads": N_HEADS, "intermediate_size": 48},
    "igpt": {"n_embd": WIDTH, "n_head": N_HEADS, "n_positions": 64, "vocab_size": small_data.N_COLORS + 1},
    "gpt2": {"n_embd": 48, "vocab_size": len(small_data.VOCABULARY), "bos_token_id": 1, "eos_token_id": 1},
    "llama": {"hidden_size": WIDTH, "num_attention_heads": N_HEADS, "num_key_value_heads": 2,
              "intermediate_size": 48, "vocab_size": len(small_data.VOCABULARY)},
}  # fmt: skip
LAYERS_KEYS = {
    "esm2": "num_hidden_layers",
    "igpt": "n_layer",
    "gpt2": "n_layer",
    "llama": "num_hidden_layers",
}


@dataclass(frozen=True)
class Reduced:
    """A manifest that can be run here.

    Attributes
    ----------
    path
        Where it is.
    asked
        What it says.
    labels
        Label set to the label of every sample, as the data were made.
    n_blocks
        Blocks of every model, by name.
    """

    path: Path
    asked: dict[str, Any]
    labels: Labels
    n_blocks: dict[str, int]


def reduce(text: str, folder: Path) -> Reduced:
    """Write the manifest `text` with small sizes, and data for it, into `folder`."""
    asked = yaml.safe_load(text)
    labels = _small_dataset(asked, folder)
    models = [_small_model(model, number, folder) for number, model in enumerate(asked["models"])]
    asked["models"] = [model for model, _ in models]
    geometry = asked["geometry"]
    geometry["overlap_k"] = [k for k in geometry["overlap_k"] if k < K] + [K]
    asked["neighbors"]["k"] = geometry["gride_range_max"] = K
    geometry["data_fractions"] = [1.0, 0.5]
    path = folder / f"{asked['name']}.yaml"
    path.write_text(yaml.safe_dump(asked, sort_keys=False))
    return Reduced(path, asked, labels, {model["name"]: n_blocks for model, n_blocks in models})


def _small_dataset(asked: dict[str, Any], folder: Path) -> Labels:
    dataset = asked["dataset"]
    if dataset["kind"] == "arrays":
        return {}
    path = folder / dataset["path"]
    path.parent.mkdir(parents=True)
    if dataset["kind"] == "fasta":
        found = small_data.write_domains(path)
    elif dataset["kind"] == "images":
        dataset["per_class"] = small_data.N_DRAWN
        found = small_data.write_images(path, folder / dataset["classes"])
    elif path.suffix == ".txt":
        found = small_data.write_prompts(path)
    else:
        found = small_data.write_sentences(path)
    return {name: found[name] for name in dataset.get("labels", {})}


def _small_model(model: dict[str, Any], number: int, folder: Path) -> tuple[dict[str, Any], int]:
    family, n_blocks = model["family"], N_BLOCKS[number % len(N_BLOCKS)]
    if family == "arrays":
        _write_points(folder, model["source"], number)
        return model, N_LAYERS_ON_DISK - 1
    config = {**CONFIGS[family], LAYERS_KEYS[family]: n_blocks}
    more: dict[str, Any] = {"weights": "random", "seed": number, "config": config}
    if family == "igpt":
        more["clusters"] = small_data.write_palette(folder)
    if family in ("gpt2", "llama"):
        more["tokenizer"] = small_data.write_tokenizer(folder, with_start=family == "llama")
    return {**model, **more}, n_blocks


def _write_points(folder: Path, source: str, number: int) -> None:
    """Clouds that change a little from layer to layer, the same for all models but for noise."""
    common = np.random.default_rng(1).standard_normal((60, 5))
    rng = np.random.default_rng(10 + number)
    for layer in range(N_LAYERS_ON_DISK):
        path = folder / source.format(layer=layer)
        path.parent.mkdir(parents=True, exist_ok=True)
        common = common + 0.2 * rng.standard_normal(common.shape)
        np.save(path, (common @ rng.standard_normal((5, 12 + number))).astype(np.float32))
