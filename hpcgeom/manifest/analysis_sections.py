"""What is read from the models, and what is measured on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from hpcgeom.catalog.sites import (
    DETAIL_SITES,
    MODULE_PREFIX,
    POOLINGS,
    SITES,
    DetailSite,
    Site,
    is_module_glob,
    is_pooling,
    layers_of_site,
    pooling_words,
    split_head,
    token_position,
)
from hpcgeom.manifest.fields import (
    MAX_INT64,
    List,
    Problem,
    Section,
    Text,
    ascending,
    described,
    list_text,
    nearest,
    power_of_two,
    refuse,
    unique,
)

_SITE_WORDS = f"one of {', '.join(SITES)}, one head such as z.3 (of q, k, v or z), or module:<glob>"


def _checked_site(value: str) -> str:
    base, head = split_head(value)
    if is_module_glob(value):
        if not value.removeprefix(MODULE_PREFIX).strip():
            raise refuse("module:<glob> such as module:encoder.layer.*", value, "write it so")
    elif value in DETAIL_SITES:
        mend = "it is kept whole, for chosen samples: name it in representations.details.sites"
        raise refuse(_SITE_WORDS, value, mend)
    elif base not in SITES:
        raise refuse(_SITE_WORDS, value, nearest(value, SITES))
    elif head is not None and value != f"{base}.{head}":
        raise refuse("the number of a head without leading zeros", value, f"write {base}.{head}")
    return value


def _checked_pooling(value: str) -> str:
    if not is_pooling(value):
        raise refuse(f"one of {pooling_words()}", value, nearest(value, POOLINGS))
    position = token_position(value)
    if position is not None and value != f"token:{position}":
        raise refuse("a position without leading zeros", value, f"write token:{position}")
    return value


def tag_of_numbers(value: Any) -> str:
    return "all" if isinstance(value, str) else "list"


def _tag_of_standardize(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "bool"


SiteText = Annotated[str, AfterValidator(_checked_site)]
LayerNumber = Annotated[int, Field(ge=0, le=MAX_INT64)]
Layers = Annotated[
    Annotated[Literal["all"], described("all or a list of layer numbers"), Tag("all")]
    | Annotated[tuple[LayerNumber, ...], List, Field(min_length=1), AfterValidator(ascending), Tag("list")],
    Discriminator(tag_of_numbers),
]
Standardize = Annotated[
    Annotated[bool, described("true, false or a list of sites"), Tag("bool")]
    | Annotated[tuple[SiteText, ...], List, Field(min_length=1), AfterValidator(unique), Tag("list")],
    Discriminator(_tag_of_standardize),
]


class Details(Section):
    """What is kept whole of chosen samples, beside the points of all samples."""

    sites: Annotated[
        tuple[Literal[DetailSite, Site], ...],
        List,
        AfterValidator(unique),
        Field(
            min_length=1,
            description="attention, logits, probabilities, logit_lens, or places in a block with all tokens.",
        ),
    ]
    samples: Annotated[
        tuple[Text, ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="Ids of the samples."),
    ]
    layers: Annotated[
        Layers,
        Field(description="Layers of attention and of places in a block: all, or numbers, ascending."),
    ] = "all"

    def problems(self) -> Iterator[Problem]:
        """Layers are those of places in blocks; the head has none."""
        if self.layers == "all":
            return
        layered = [site for site in self.sites if site == "attention" or site in SITES]
        if not layered:
            yield Problem(
                ("layers",),
                "expected no layers, because only attention and places in a block are kept at chosen layers, "
                f"found sites {', '.join(self.sites)}: remove layers, or add one of these to sites",
            )
        for site in layered:
            known = layers_of_site(site, max(1, *self.layers))
            if not set(known) & set(self.layers):
                only = "layer 0 only" if known == (0,) else "layers from 1"
                yield Problem(
                    ("layers",),
                    f"expected a layer of '{site}', which has {only}, found {list_text(self.layers)}: add "
                    f"one, or take {site} out of sites",
                )


class Representations(Section):
    """Where activations are read, and how tokens become points."""

    sites: Annotated[
        tuple[SiteText, ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="Places in a block, or module:<glob> for submodules."),
    ] = ("resid",)
    pooling: Annotated[
        tuple[Annotated[str, AfterValidator(_checked_pooling)], ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="How the tokens of a sample become one point."),
    ] = ("mean",)
    layers: Annotated[Layers, Field(description="all, or the numbers of the layers, ascending.")] = "all"
    heads: Annotated[
        Literal["together", "separate"],
        Field(
            description="Whether q, k, v and z hold all heads one after the other, or every head is a site "
            "such as z.0."
        ),
    ] = "together"
    details: Annotated[
        Details | None, Field(description="What is kept whole of chosen samples; nothing when absent.")
    ] = None
    store_dtype: Annotated[
        Literal["float32", "float16"], Field(description="Type of the activations on disk.")
    ] = "float32"

    def problems(self) -> Iterator[Problem]:
        """A head is read once: by its number, or as one of all."""
        for position, site in enumerate(self.sites):
            base, head = split_head(site)
            if self.heads == "separate" and head is not None and base in self.sites:
                yield Problem(
                    ("sites", position),
                    f"expected every head once, found '{site}' beside '{base}', of which every head is a "
                    f"site because heads is separate: remove '{site}'",
                )


class Extract(Section):
    """How the forward passes are cut up."""

    tokens_per_batch: Annotated[
        int, Field(ge=1, le=MAX_INT64, description="Tokens of one forward pass, padding included.")
    ] = 8192
    unit_rows: Annotated[
        Annotated[int, Field(ge=256, le=8192), AfterValidator(power_of_two)] | None,
        Field(description="Samples of one unit, a power of two; worked out by the plan when absent."),
    ] = None


class Neighbors(Section):
    """How many neighbors are found, by which distance, and by which means."""

    k: Annotated[int, Field(ge=2, le=MAX_INT64, description="Neighbors kept per point, self excluded.")] = 64
    metric: Annotated[Literal["euclidean", "cosine"], Field(description="Distance between points.")] = (
        "euclidean"
    )
    standardize: Annotated[
        Standardize,
        Field(
            description="Whether every feature is centered and divided by its standard deviation first: "
            "true, false, or the sites where."
        ),
    ] = False
    kernel: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "faiss"],
        Field(description="What proposes neighbors; it changes no number."),
    ] = "auto"
    unit_work: Annotated[
        float,
        Field(
            ge=1,
            allow_inf_nan=False,
            description="Most N x N x D of one unit; larger searches are split, which changes no number.",
        ),
    ] = 1e12
