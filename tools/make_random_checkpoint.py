"""Write a checkpoint with random weights, shard by shard, for trials at the full size of a model.

    python tools/make_random_checkpoint.py facebook/esm2_t48_15B_UR50D /scratch/esm2-15b --dtype bfloat16
    python tools/make_random_checkpoint.py meta-llama/Llama-2-70b-hf /scratch/block num_hidden_layers=1

The model is one of the catalog, or a config.json. Matrices and tables are normal with the standard
deviation ``initializer_range`` of the configuration, gains are one and biases zero. At most one shard is in
memory. The numbers are those of the seed, but not those of ``weights: random`` in a manifest, which are drawn
for the whole model at once.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_SHARD_BYTES = 2_000_000_000


def config_of(model: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Family and configuration of a model of the catalog, or of a config.json, with other `settings`."""
    from hpcgeom.catalog.families import FAMILIES
    from hpcgeom.catalog.models import known

    found = known(model)
    if found is not None:
        given = {key: settings[key] for key in found.unpublished if key in settings}
        return found.family, {**found.complete_config(given), **settings}
    config = json.loads(Path(model).read_text())
    family = next(name for name, entry in FAMILIES.items() if config["model_type"] in entry.model_types)
    return family, {**config, **settings}


def write_checkpoint(
    family: str,
    config: Mapping[str, Any],
    folder: Path,
    dtype: str = "float32",
    seed: int = 0,
    max_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write config.json and safetensors of a model; a folder that is finished is left as it is.

    Parameters
    ----------
    family
        A family of the catalog.
    config
        What config.json says.
    dtype
        Type of the weights: ``float32``, ``bfloat16`` or ``float16``.
    max_bytes
        Most bytes of a shard.
    """
    from safetensors.torch import save_file

    from hpcgeom.models import ModelRequest
    from hpcgeom.models.families import family as family_of
    from hpcgeom.models.shards import METADATA, write_shards

    settings = folder / "config.json"
    if settings.is_file() and json.loads(settings.read_text()) == dict(config):
        return
    folder.mkdir(parents=True, exist_ok=True)
    request = ModelRequest("random", family, folder, dtype, (), config=config)
    model = family_of(family).build(request).model
    tensors = {
        id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())
    }
    by_name = dict(reversed(tensors.values()))
    scale = float(config.get("initializer_range", 0.02))

    write_shards(
        folder,
        {name: tensor.numel() * tensor.element_size() for name, tensor in by_name.items()},
        lambda name: drawn(name, by_name[name], scale, seed),
        lambda part, path: save_file(part, path, metadata=METADATA),
        max_bytes,
    )
    settings.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")  # last: the folder is finished


def drawn(name: str, like: Any, scale: float, seed: int) -> Any:
    """Values for one tensor, which depend on its name and the seed alone."""
    import torch

    if not like.is_meta:
        return like.detach().clone()  # a buffer that the model has worked out
    if like.dim() == 1:
        return torch.full(like.shape, 0.0 if name.endswith("bias") else 1.0, dtype=like.dtype)
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    values = torch.empty(like.shape, dtype=like.dtype)
    for row in values.flatten().split(1 << 24):
        row.copy_(torch.randn(len(row), generator=generator).mul_(scale))
    return values


def main() -> None:
    """Write one checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name in the catalog, or path of a config.json")
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", nargs="*", help="KEY=VALUE, other settings of the configuration")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    settings = {
        key: json.loads(value) for key, _, value in (each.partition("=") for each in options.settings)
    }
    family, config = config_of(options.model, settings)
    write_checkpoint(family, config, options.folder, options.dtype, options.seed)
    n_bytes = sum(file.stat().st_size for file in options.folder.glob("*.safetensors"))
    print(f"{options.folder}: {n_bytes / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
