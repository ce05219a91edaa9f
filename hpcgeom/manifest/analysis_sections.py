"""What is read from the models, and what is measured on it."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from hpcgeom.catalog.sites import (
    DETAIL_SITES,
    MODULE_PREFIX,
    SITES,
    DetailSite,
    is_module_glob,
    is_pooling,
    pooling_words,
    split_head,
)
from hpcgeom.manifest.fields import (
    MAX_INT64,
    List,
    Section,
    Slug,
    Text,
    ascending,
    descending,
    described,
    power_of_two,
    refuse,
    unique,
)

Estimator = Literal["twonn", "twonn_mle", "twonn_mle_censored", "gride"]


def _checked_site(value: str) -> str:
    if is_module_glob(value):
        if not value.removeprefix(MODULE_PREFIX).strip():
            raise refuse("module:<glob> such as module:encoder.layer.*", value)
    elif value in DETAIL_SITES:
        mend = "it is kept whole, for chosen samples: name it in representations.details.sites"
        raise refuse(f"one of {', '.join(SITES)} or module:<glob>", value, mend)
    elif split_head(value)[0] not in SITES:
        near = difflib.get_close_matches(value, SITES, 1)
        mend = f"did you mean '{near[0]}'?" if near else ""
        raise refuse(f"one of {', '.join(SITES)} or module:<glob>", value, mend)
    return value


def _checked_pooling(value: str) -> str:
    if not is_pooling(value):
        raise refuse(f"one of {pooling_words()}", value)
    return value


def _tag_of_layers(value: Any) -> str:
    return "all" if isinstance(value, str) else "list"


SiteText = Annotated[str, AfterValidator(_checked_site)]
LayerNumber = Annotated[int, Field(ge=0, le=MAX_INT64)]
Layers = Annotated[
    Annotated[Literal["all"], described("all or a list of layer numbers"), Tag("all")]
    | Annotated[tuple[LayerNumber, ...], List, Field(min_length=1), AfterValidator(ascending), Tag("list")],
    Discriminator(_tag_of_layers),
]
Fraction = Annotated[float, Field(gt=0, le=1)]
Fractions = Annotated[tuple[Fraction, ...], List, Field(min_length=1)]


class Details(Section):
    """What is kept whole of chosen samples, beside the points of all samples."""

    sites: Annotated[
        tuple[DetailSite, ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="attention, logits, probabilities, logit_lens."),
    ]
    samples: Annotated[
        tuple[Text, ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="Ids of the samples."),
    ]
    layers: Annotated[
        Layers, Field(description="Layers whose attention is kept: all, or numbers from 1, ascending.")
    ] = "all"


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
    """How many neighbors are found, and by which distance."""

    k: Annotated[int, Field(ge=2, le=MAX_INT64, description="Neighbors kept per point, self excluded.")] = 64
    metric: Annotated[Literal["euclidean", "cosine"], Field(description="Distance between points.")] = (
        "euclidean"
    )


class Geometry(Section):
    """What is measured on the neighbors."""

    estimators: Annotated[
        tuple[Estimator, ...],
        List,
        AfterValidator(unique),
        Field(min_length=1, description="Estimators of the intrinsic dimension."),
    ] = ("twonn", "twonn_mle", "gride")
    mu_fraction: Annotated[
        float, Field(gt=0, lt=1, description="Share of the smallest ratios mu = r2 / r1 that TwoNN fits.")
    ] = 0.9
    gride_range_max: Annotated[
        int,
        AfterValidator(power_of_two),
        Field(ge=2, le=MAX_INT64, description="Largest neighbor rank of GRIDE, a power of two."),
    ] = 64
    mu_fractions: Annotated[
        Fractions,
        AfterValidator(ascending),
        Field(description="Shares of the ratios at which TwoNN is fitted again, ascending."),
    ] = (0.5, 0.6, 0.7, 0.8, 0.9)
    data_fractions: Annotated[
        Fractions,
        AfterValidator(descending),
        Field(description="Shares of the samples on which the dimension is measured again, descending."),
    ] = (1.0, 0.5, 0.25, 0.125)
    overlap_k: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_INT64)], ...],
        List,
        AfterValidator(ascending),
        Field(min_length=1, description="Numbers of neighbors at which overlaps are measured, ascending."),
    ] = (1, 2, 5, 10, 20, 50)
    labels: Annotated[
        Annotated[tuple[Slug, ...], List, AfterValidator(unique)] | None,
        Field(description="Label sets whose overlap is measured; all of dataset.labels when absent."),
    ] = None
    cross_model: Annotated[bool, Field(description="Whether layers of different models are compared.")] = True
    seed: Annotated[
        int, Field(ge=0, le=MAX_INT64, description="Seed of the random subsets behind data_fractions.")
    ] = 0
