"""From the plan and the manifest to what the models package is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpcgeom.catalog.sources import cached_hub_folder, locate
from hpcgeom.errors import InputError
from hpcgeom.manifest.sections import BertModel, Manifest, ModuleModel, TextDataset
from hpcgeom.plan.plan import ModelPlan, Plan

if TYPE_CHECKING:
    from hpcgeom.models import Encoding, ModelRequest, Reading, Tokenizer

UNLIMITED_TOKENS = 2**31 - 1


def request_of(plan: Plan, model: ModelPlan, manifest: Manifest) -> ModelRequest:
    """The request of a model that prepare has looked at."""
    from hpcgeom.models import Reading

    poolings: dict[str, list[str]] = {}
    layers: dict[str, tuple[int, ...]] = {}
    for item in model.representations:
        poolings.setdefault(item.site, []).append(item.pooling)
        layers[item.site] = item.layers
    readings = tuple(Reading(site, tuple(names), layers[site]) for site, names in poolings.items())
    section = next(item for item in manifest.models if item.name == model.name)
    assert isinstance(section, BertModel | ModuleModel)
    return make_request(section, Path(plan.manifest_folder), Path(model.folder), readings)


def make_request(
    section: BertModel | ModuleModel, manifest_folder: Path, folder: Path | None, readings: Sequence[Reading]
) -> ModelRequest:
    """The request of a model whose folder is known."""
    from hpcgeom.models import ModelRequest

    if isinstance(section, BertModel):
        return ModelRequest(section.name, section.family, folder, section.dtype, tuple(readings))
    return ModelRequest(
        section.name,
        section.family,
        None if section.weights == "random" else folder,
        section.dtype,
        tuple(readings),
        factory=section.factory,
        factory_kwargs=dict(section.factory_arguments),
        weights=section.weights,
        seed=section.seed,
        tokenizer=tokenizer_folder(section, manifest_folder),
        blocks=section.blocks,
        block_sites={str(site): path for site, path in section.block_sites.items()},
        final_norm=section.final_norm,
    )


def tokenizer_folder(section: ModuleModel, manifest_folder: Path) -> Path | None:
    """Where a module's tokenizer lies.

    Raises
    ------
    InputError
        It is a hub id that is not on this machine.
    """
    if section.tokenizer is None:
        return None
    found = locate(section.tokenizer, manifest_folder) or cached_hub_folder(section.tokenizer, None)
    if found is None:
        raise InputError(
            f"model '{section.name}': the tokenizer '{section.tokenizer}' is not on this machine: "
            "hpcgeom prepare downloads it"
        )
    return found


def tokenizer_of(request: ModelRequest) -> Tokenizer:
    """The tokenizer that belongs to a request.

    Raises
    ------
    InputError
        There is none.
    """
    from hpcgeom.models import Tokenizer, model_limits

    folder = request.tokenizer or request.folder
    if folder is None:
        raise InputError(f"model '{request.name}' has no tokenizer: name its folder with `tokenizer`")
    return Tokenizer(folder, model_limits(request).vocab_size)


def encode(
    tokenizer: Tokenizer, manifest: Manifest, request: ModelRequest, ids: Sequence[str], texts: Sequence[str]
) -> list[Encoding]:
    """Tokens of some samples under the manifest's rules of length.

    Raises
    ------
    InputError
        A sample is too long, empty, or not in the tokenizer's words.
    """
    from hpcgeom.models import model_limits

    dataset = manifest.dataset
    if isinstance(dataset, TextDataset):
        return tokenizer.encode(ids, texts, dataset.max_length, dataset.too_long)
    # Sequences are cut to residues where they are read; the model's own limit still holds.
    limit = model_limits(request).max_tokens or UNLIMITED_TOKENS
    return tokenizer.encode(ids, texts, limit, "error")
