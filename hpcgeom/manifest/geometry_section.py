"""What is measured on the neighbors, and on the points themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from hpcgeom.manifest.analysis_sections import tag_of_numbers
from hpcgeom.manifest.fields import (
    MAX_INT64,
    List,
    Section,
    Slug,
    ascending,
    descending,
    described,
    power_of_two,
    unique,
)

Estimator = Literal["twonn", "twonn_mle", "twonn_mle_censored", "twonn_bayes", "gride", "levina_bickel"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Fractions = Annotated[tuple[Fraction, ...], List, Field(min_length=1)]
OverlapK = Annotated[
    Annotated[Literal["all"], described("all or a list of numbers of neighbors"), Tag("all")]
    | Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_INT64)], ...],
        List,
        Field(min_length=1),
        AfterValidator(ascending),
        Tag("list"),
    ],
    Discriminator(tag_of_numbers),
]


class Clusters(Section):
    """Clusters of points as peaks of their density."""

    z: Annotated[
        float,
        Field(
            gt=0,
            description="Errors by which the density of a peak stands above the pass to a higher one; the "
            "larger, the fewer clusters.",
        ),
    ] = 1.65
    halo: Annotated[
        bool,
        Field(description="Whether points below the density at the border of their cluster are in none."),
    ] = False


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
    plateau_tolerance: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Relative spread, beyond the error bars, within which GRIDE's curve counts as flat.",
        ),
    ] = 0.02
    levina_bickel_k: Annotated[
        tuple[Annotated[int, Field(ge=2, le=MAX_INT64)], ...],
        List,
        AfterValidator(ascending),
        Field(min_length=1, description="Numbers of neighbors of the estimator levina_bickel, ascending."),
    ] = (5, 10, 20)
    local_dimension_k: Annotated[
        Annotated[int, Field(ge=2, le=MAX_INT64)] | None,
        Field(
            description="Neighbors that the dimension around every point is measured from; none if absent."
        ),
    ] = None
    spectrum: Annotated[
        bool,
        Field(
            description="Whether the covariance of the points is measured (eigenvalues, participation ratio, "
            "numbers of principal components), and their norms and directions."
        ),
    ] = False
    variance_fractions: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        List,
        AfterValidator(ascending),
        Field(min_length=1, description="Shares of variance for which components are counted, ascending."),
    ] = (0.8, 0.9, 0.99)
    clusters: Annotated[
        Clusters | None,
        Field(
            description="Clusters of the points around the peaks of their density, by DADApy, which has to "
            "be installed. Not looked for if absent; {} for the defaults."
        ),
    ] = None
    token_clouds: Annotated[
        Annotated[int, Field(ge=1, le=MAX_INT64)] | None,
        Field(
            description="Singular values kept of the cloud of each sample's tokens, with its volume; needs "
            "the pooling tokens. Not measured if absent."
        ),
    ] = None
    overlap_k: Annotated[
        OverlapK,
        Field(
            description="Numbers of neighbors at which overlaps are measured, ascending, or all from 1 to "
            "neighbors.k."
        ),
    ] = (1, 2, 5, 10, 20, 50)
    jaccard: Annotated[
        bool, Field(description="Whether Jaccard indices of neighborhoods are measured beside overlaps.")
    ] = False
    cka: Annotated[
        bool,
        Field(description="Whether the alignment of all layers (linear CKA) is measured, from their points."),
    ] = False
    information_imbalance: Annotated[
        bool,
        Field(
            description="Whether bounds of the information imbalance of all layers are taken from the lists."
        ),
    ] = False
    error_splits: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            description="Random splits of the points into halves, for errors of overlaps that count "
            "correlated points; each takes twice as long as the overlaps, or longer.",
        ),
    ] = 0
    labels: Annotated[
        Annotated[tuple[Slug, ...], List, AfterValidator(unique)] | None,
        Field(description="Label sets whose overlap is measured; all of dataset.labels when absent."),
    ] = None
    exclude_same: Annotated[
        dict[Slug, Slug],
        Field(
            description="Label sets whose overlap is measured again among neighbors of another value of a "
            "second label set: {superfamily: family}.",
        ),
    ] = Field(default={})
    cross_model: Annotated[bool, Field(description="Whether layers of different models are compared.")] = True
    seed: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_INT64,
            description="Seed of the random subsets behind data_fractions, and of the halves.",
        ),
    ] = 0
