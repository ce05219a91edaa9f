"""The models of a manifest: where their weights are, and how they are run."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hpcgeom.catalog.sites import Site
from hpcgeom.manifest.fields import (
    MAX_INT64,
    PACKAGE_PREFIX,
    Factory,
    ModulePath,
    PathText,
    Problem,
    Section,
    Slug,
    Source,
    Text,
    described,
    refuse,
)

Dtype = Literal["float32", "bfloat16", "float16"]
Strategy = Literal["auto", "replicate"]

LAYER_FIELD = "{layer}"


def _checked_layer_pattern(value: str) -> str:
    if value.count(LAYER_FIELD) != 1 or set("{}") & set(value.replace(LAYER_FIELD, "")):
        raise refuse("a path with {layer} in it once, such as layer{layer}.npy", value)
    return value


def _checked_argument_name(value: str) -> str:
    if not value.isidentifier() or keyword.iskeyword(value):
        raise refuse("the name of an argument of the factory", value)
    return value


Scalar = Annotated[bool | int | float | str | None, described("a finite number, a text, true, false or null")]
ArgumentName = Annotated[str, AfterValidator(_checked_argument_name)]
ModelName = Annotated[Slug, Field(description="Name of the model in all results and file names.")]
DtypeField = Annotated[
    Dtype, Field(description="Type in which weights are held and the forward pass is computed.")
]
StrategyField = Annotated[
    Strategy,
    Field(
        description="How the model is laid over devices; changes no number, so it is not part of the digest."
    ),
]


class BertModel(Section):
    """A BERT encoder in Hugging Face format."""

    name: ModelName
    family: Annotated[Literal["bert"], Field(description="A BERT encoder.")]
    source: Annotated[
        Source,
        Field(
            description="A local folder, package:<import name>/<folder in the package>, or hub id org/name."
        ),
    ]
    revision: Annotated[
        Text | None, Field(description="Commit of the hub id; pinned by prepare when absent.")
    ] = None
    dtype: DtypeField = "float32"
    strategy: StrategyField = "auto"

    def problems(self) -> Iterator[Problem]:
        """A revision needs a hub id."""
        if self.revision is not None and not is_hub_id(self.source):
            yield Problem(
                ("revision",),
                f"expected no revision, because source is '{self.source}' and only a hub id org/name has "
                "revisions: remove revision",
            )


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
    blocks: Annotated[
        ModulePath | None,
        Field(description="Path of the ModuleList of blocks; without it only module:<glob> sites exist."),
    ] = None
    block_sites: Annotated[
        dict[Site, ModulePath],
        Field(description="For each site, the path inside a block of the submodule whose output it is."),
    ] = Field(default={})
    final_norm: Annotated[
        ModulePath | None, Field(description="Path of the norm that follows the last block.")
    ] = None
    dtype: DtypeField = "float32"
    strategy: StrategyField = "auto"

    def problems(self) -> Iterator[Problem]:
        """Weights come from one place, and keys about blocks need blocks."""
        if self.source is None and self.weights is None:
            yield Problem((), "expected exactly one of the keys source and weights, found none")
        if self.source is not None and self.weights is not None:
            yield Problem(("weights",), "expected exactly one of the keys source and weights, found both")
        if self.seed != 0 and self.weights is None:
            yield Problem(
                ("seed",),
                f"expected no seed, because only weights: random uses it, found {self.seed}: remove seed",
            )
        if self.blocks is None:
            for key, given in (("block_sites", self.block_sites), ("final_norm", self.final_norm)):
                if given:
                    yield Problem(
                        (key,), f"expected blocks beside {key}: give the path of the list of blocks"
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


Model = Annotated[BertModel | ModuleModel | ArraysModel, Field(discriminator="family")]


def is_hub_id(source: str) -> bool:
    """Whether `source` could be a hub id ``org/name`` by its form; a local folder may have this form too."""
    organization, slash, name = source.partition("/")
    return bool(slash and organization.strip(".") and name.strip(".")) and not (
        source.startswith((PACKAGE_PREFIX, "/")) or "/" in name
    )
