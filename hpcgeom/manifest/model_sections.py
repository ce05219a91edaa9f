"""The models of a manifest: where their weights are, and how they are run."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from hpcgeom.catalog.sites import EMBEDDING_SITES, Site
from hpcgeom.manifest.catalog_section import CatalogModel, DtypeField, ModelName, Step
from hpcgeom.manifest.fields import (
    MAX_INT64,
    Factory,
    ModulePath,
    PathText,
    Problem,
    Scalar,
    Section,
    Source,
    refuse,
)

LAYER_FIELD = "{layer}"


def _checked_layer_pattern(value: str) -> str:
    if value.count(LAYER_FIELD) != 1 or set("{}") & set(value.replace(LAYER_FIELD, "")):
        raise refuse("a path with {layer} in it once, such as layer{layer}.npy", value, "write it so")
    return value


def _checked_argument_name(value: str) -> str:
    if not value.isidentifier() or keyword.iskeyword(value):
        raise refuse("the name of an argument of the factory", value)
    return value


ArgumentName = Annotated[str, AfterValidator(_checked_argument_name)]
PLACE = re.compile(r"\w+(\.\w+)*(:(input|(\d{1,4})/(\d{1,4})))?", re.ASCII)
CHAIN_SITES = ("resid", "hidden_states")
"""Sites that follow from the chain of blocks itself."""


def _checked_place(value: str) -> str:
    found = PLACE.fullmatch(value)
    if not found:
        expected = "a path in a block such as attn.proj, attn.proj:input, or attn.qkv:0/3"
        raise refuse(expected, value, "write it so")
    if found[4] and int(found[4]) >= int(found[5]):
        expected = f"part i of n with i from 0 to n - 1, such as {value.partition(':')[0]}:0/3"
        raise refuse(expected, value, "correct it")
    return value


Place = Annotated[str, AfterValidator(_checked_place)]


_OF_BLOCKS = ("block_sites", "final_norm", "embeddings", "attention", "n_heads", "n_kv_heads", "head")
"""Keys that mean nothing without blocks."""


class ModuleModel(Section):
    """Any torch.nn.Module that a function of an installed package returns."""

    name: ModelName
    family: Annotated[Literal["module"], Field(description="Any torch.nn.Module.")]
    factory: Annotated[Factory, Field(description="package.module:function that returns the module.")]
    factory_arguments: Annotated[
        dict[ArgumentName, Scalar], Field(description="Keyword arguments of the factory.")
    ] = Field(default={})
    source: Annotated[
        Source | None,
        Field(description="A safetensors file or a folder of them. Exactly one of source and weights."),
    ] = None
    weights: Annotated[
        Literal["random"] | None,
        Field(description="random: untrained, as the factory makes it. Exactly one of source and weights."),
    ] = None
    seed: Annotated[
        int, Field(ge=0, le=MAX_INT64, description="Seed of random weights; 0 with a source.")
    ] = 0
    tokenizer: Annotated[
        Source | None,
        Field(
            description="A local folder, package:<import name>/<folder in the package>, or hub id org/name."
        ),
    ] = None
    step: Annotated[
        Step | None, Field(description="Training step of these weights; a coordinate of the results.")
    ] = None
    blocks: Annotated[
        ModulePath | None,
        Field(description="Path of the ModuleList of blocks; without it only module:<glob> sites exist."),
    ] = None
    block_sites: Annotated[
        dict[Site, Place],
        Field(
            description="For each site, the path inside a block of the submodule whose output it is; "
            "path:input for its input, path:i/n for part i of n of its output."
        ),
    ] = Field(default={})
    embeddings: Annotated[
        dict[Literal["token_embed", "pos_embed"], ModulePath],
        Field(description="Paths of the submodules whose outputs are the parts of the embedding."),
    ] = Field(default={})
    attention: Annotated[
        Place | None,
        Field(description="Path inside a block of the submodule whose output is (B, heads, T, T)."),
    ] = None
    n_heads: Annotated[
        int | None,
        Field(ge=1, le=MAX_INT64, description="Heads of q and z, where they are read one by one."),
    ] = None
    n_kv_heads: Annotated[
        int | None,
        Field(ge=1, le=MAX_INT64, description="Heads of k and v, where they are fewer than n_heads."),
    ] = None
    head: Annotated[
        ModulePath | None,
        Field(description="Path of the submodule that makes logits of the last, normed hidden states."),
    ] = None
    final_norm: Annotated[
        ModulePath | None, Field(description="Path of the norm that follows the last block.")
    ] = None
    dtype: DtypeField = "float32"
    strategy: Annotated[
        Literal["auto", "replicate", "dispatch"],
        Field(
            description="How the model is laid over devices; changes no number, so it is not part of the "
            "digest. Blocks of a module need not be a chain, so it is neither cut nor streamed."
        ),
    ] = "auto"

    def heads_of(self, site: str) -> int | None:
        """Heads of `site`, one of q, k, v and z; None if unknown."""
        return self.n_kv_heads or self.n_heads if site in ("k", "v") else self.n_heads

    def problems(self) -> Iterator[Problem]:
        """Weights come from one place, and keys about blocks need blocks."""
        if self.source is None and self.weights is None:
            yield Problem(
                (),
                "expected exactly one of the keys source and weights, found none: give the path of the "
                "weights, or weights: random",
            )
        if self.source is not None and self.weights is not None:
            yield Problem(
                ("weights",),
                "expected exactly one of the keys source and weights, found both: remove one of them",
            )
        if self.seed != 0 and self.weights is None:
            yield Problem(
                ("seed",),
                f"expected no seed, because only weights: random uses it, found {self.seed}: remove seed",
            )
        if self.n_heads and self.n_kv_heads and self.n_heads % self.n_kv_heads:
            yield Problem(
                ("n_kv_heads",),
                f"expected a divisor of n_heads = {self.n_heads}, because each head of k serves as many of "
                f"q, found {self.n_kv_heads}: correct one of them",
            )
        yield from self._blocks_problems()

    def _blocks_problems(self) -> Iterator[Problem]:
        if self.blocks is None:
            for key in _OF_BLOCKS:
                if getattr(self, key):
                    yield Problem(
                        (key,), f"expected blocks beside {key}: give the path of the list of blocks"
                    )
            return
        for site in self.block_sites:
            if site in CHAIN_SITES:
                yield Problem(
                    ("block_sites", site),
                    f"expected no path, because {site} follows from the list of blocks (and final_norm), "
                    f"found '{self.block_sites[site]}': remove {site}",
                )
            elif site in EMBEDDING_SITES:
                yield Problem(
                    ("block_sites", site),
                    f"expected a site inside a block, found {site}, which is part of the embedding: move it "
                    "to embeddings",
                )


class ArraysModel(Section):
    """Points that exist already: one file per layer."""

    name: ModelName
    family: Annotated[Literal["arrays"], Field(description="Points that exist already.")]
    source: Annotated[
        PathText,
        AfterValidator(_checked_layer_pattern),
        Field(description="Path of the (N, D) array of a layer, npy or Zarr, with {layer} for its number."),
    ]
    query_source: Annotated[
        Annotated[PathText, AfterValidator(_checked_layer_pattern)] | None,
        Field(description="The same of the points of dataset.query, at the same layers."),
    ] = None
    ids: Annotated[
        PathText | None,
        Field(description="File with the sample id of each row of this model, in any order."),
    ] = None

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {key: value for key, value in found.items() if value is not None}


Model = Annotated[CatalogModel | ModuleModel | ArraysModel, Field(discriminator="family")]
