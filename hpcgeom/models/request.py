"""What is asked of a model, what goes in, and the shapes of what comes out. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.catalog.sites import OF_THE_HEAD, SiteShape
from hpcgeom.errors import InputError
from hpcgeom.models.checkpoint import read_json

RANDOM_WEIGHTS = "random"


@dataclass(frozen=True, slots=True)
class Reading:
    """One site, how its tokens become points, and at which layers.

    Attributes
    ----------
    site
        A name of `hpcgeom.catalog.sites.SITES`, or ``module:<glob>`` over the names of submodules.
    poolings
        Names of `hpcgeom.catalog.sites.POOLINGS`.
    layers
        Ascending layer numbers; None means every layer that the model has there.
    """

    site: str
    poolings: tuple[str, ...]
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Everything that decides the numbers a model gives.

    Attributes
    ----------
    name
        Name of the model in messages.
    family
        A module of `hpcgeom.models.families`.
    folder
        Local folder with config.json and safetensors weights; for the family `module`, a folder with
        weights or one safetensors file.
    dtype
        Type of weights and arithmetic: ``float32``, ``bfloat16`` or ``float16``. Pooling is in float32.
    readings
        What is read.
    factory, factory_kwargs
        ``package.module:function`` and its keywords; family `module` only.
    weights, seed
        ``random`` for an untrained model drawn with `seed`; None for the weights in `folder`.
    tokenizer
        Folder of the tokenizer, where it is not `folder`.
    blocks, block_sites, final_norm
        Path of the list of blocks, place inside each block that a site is (see `hpcgeom.models.families.
        module`), and path of the norm after the last block; family `module` only.
    embeddings, attention, head, n_heads, n_kv_heads
        Paths of the parts of the embedding by site, of the module in each block that gives the attention
        map, and of the module that turns the last hidden states into logits; number of heads; family
        `module` only.
    config
        What config.json would say, where there is no such file: the configuration of a model of the
        catalog. None for the file in `folder`.
    details
        Names of `hpcgeom.catalog.sites.DETAIL_SITES` that will be read; a head is built for those that
        need one.
    detail_layers
        Layers whose attention maps are read; None for all.
    image_pipeline, clusters
        How images become colors (``paper`` or ``huggingface``), and the file of the palette where it is not
        in `folder`; family `igpt` only.
    """

    name: str
    family: str
    folder: Path | None
    dtype: str
    readings: tuple[Reading, ...]
    factory: str | None = None
    factory_kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: Literal["random"] | None = None
    seed: int = 0
    tokenizer: Path | None = None
    blocks: str | None = None
    block_sites: Mapping[str, str] = field(default_factory=dict)
    final_norm: str | None = None
    embeddings: Mapping[str, str] = field(default_factory=dict)
    attention: str | None = None
    head: str | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    config: Mapping[str, Any] | None = None
    details: tuple[str, ...] = ()
    detail_layers: tuple[int, ...] | None = None
    image_pipeline: Literal["paper", "huggingface"] = "paper"
    clusters: Path | None = None

    @property
    def needs_head(self) -> bool:
        """Whether something is read that only the model's head gives."""
        return bool(OF_THE_HEAD & set(self.details))

    def config_settings(self) -> Mapping[str, Any]:
        """What config.json says, read from `config` or from the file in `folder`.

        Raises
        ------
        InputError
            There is neither, or the file is not readable.
        """
        if self.config is not None:
            return self.config
        if self.folder is None:
            raise InputError(
                f"model '{self.name}' of family '{self.family}' has no source: give the folder of its "
                "config.json"
            )
        return read_json(self.folder / "config.json")

    @property
    def config_place(self) -> str:
        """Where the configuration comes from, in words."""
        if self.config is not None or self.folder is None:
            return f"the configuration of '{self.name}'"
        return str(self.folder / "config.json")


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """The sequences of one forward pass.

    Attributes
    ----------
    input_ids
        int64 (B, T).
    attention_mask
        int64 (B, T): 1 at tokens, 0 at padding.
    special_mask
        bool (B, T): True at tokens that the tokenizer added; what it says at padding does not matter.
    pixel_values
        float32 (B, C, H, W) for models that read images, whose tokens are a class token and patches;
        `input_ids` are then zeros.

    Raises
    ------
    InputError
        Shapes or dtypes differ from these, the batch is empty, the mask holds other numbers, or a row
        has no token at all.
    """

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]
    special_mask: npt.NDArray[np.bool_]
    pixel_values: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        expected = {"input_ids": np.int64, "attention_mask": np.int64, "special_mask": np.bool_}
        shape = self.input_ids.shape
        for name, dtype in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 2 or array.shape != shape or array.size == 0:
                raise InputError(
                    f"{name} of a token batch: expected {np.dtype(dtype)} of one shape (B, T) for all three "
                    f"arrays, none of it zero; found {array.dtype} {array.shape} beside input_ids {shape}: "
                    "convert it"
                )
        if not np.isin(self.attention_mask, (0, 1)).all():
            raise InputError(
                "attention_mask of a token batch: expected only 0 and 1; found other numbers: correct it"
            )
        empty = np.flatnonzero(self.attention_mask.sum(axis=1) == 0)
        if empty.size:
            raise InputError(f"row {empty[0]} of a token batch is padding only: drop the empty sample")
        pixels = self.pixel_values
        if pixels is not None and (pixels.dtype != np.float32 or pixels.ndim != 4 or len(pixels) != shape[0]):
            raise InputError(
                f"pixel_values of a token batch: expected float32 (B, C, H, W) with B = {shape[0]}; found "
                f"{pixels.dtype} {pixels.shape}: convert them"
            )

    def rows(self, n_rows: int) -> TokenBatch:
        """The first `n_rows` rows, at the padded length of the whole batch."""
        return self.between(0, n_rows)

    def between(self, first: int, last: int) -> TokenBatch:
        """Rows ``first:last``, at the padded length of the whole batch."""
        part = slice(first, last)
        pixels = None if self.pixel_values is None else self.pixel_values[part]
        return TokenBatch(self.input_ids[part], self.attention_mask[part], self.special_mask[part], pixels)


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """What a model gives for one request.

    Attributes
    ----------
    sites
        Site to shape, in the order of the request.
    n_layers, width
        Number of blocks and width of the residual stream; None for a module without blocks.
    n_parameters
        Parameters of the part that is run (heads and poolers left out).
    unused_keys
        Tensors of the weight files that this part does not need.
    """

    sites: Mapping[str, SiteShape]
    n_layers: int | None
    width: int | None
    n_parameters: int
    unused_keys: tuple[str, ...]
