"""The whole of a manifest, and its sections by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from hpcgeom.manifest.analysis_sections import Details, Extract, Neighbors, Representations
from hpcgeom.manifest.catalog_section import CatalogModel, Checkpoint, Dtype, is_hub_id
from hpcgeom.manifest.crosschecks import cross_problems, expanded, is_arrays_only
from hpcgeom.manifest.dataset_parts import ArraysLabel, FastaLabel, ImagesLabel, TextColumns, TextLabel
from hpcgeom.manifest.dataset_sections import (
    ArraysDataset,
    Dataset,
    FastaDataset,
    ImagesDataset,
    TextDataset,
    TokensDataset,
    label_names,
)
from hpcgeom.manifest.fields import List, Problem, Section, Slug
from hpcgeom.manifest.geometry_section import Estimator, Geometry
from hpcgeom.manifest.model_sections import ArraysModel, Model, ModuleModel
from hpcgeom.manifest.query_sections import ArraysQuery, FastaQuery, ImagesQuery, TextQuery, TokensQuery

__all__ = [
    "ArraysDataset",
    "ArraysLabel",
    "ArraysModel",
    "ArraysQuery",
    "CatalogModel",
    "Checkpoint",
    "Dataset",
    "Details",
    "Dtype",
    "Estimator",
    "Extract",
    "FastaDataset",
    "FastaLabel",
    "FastaQuery",
    "Geometry",
    "ImagesDataset",
    "ImagesLabel",
    "ImagesQuery",
    "Manifest",
    "Model",
    "ModuleModel",
    "Neighbors",
    "Representations",
    "Section",
    "TextColumns",
    "TextDataset",
    "TextLabel",
    "TextQuery",
    "TokensDataset",
    "TokensQuery",
    "is_hub_id",
]


class Manifest(Section):
    """The whole of what a user asks for: samples, models, and what is measured on their representations."""

    name: Annotated[
        Slug, Field(description="Name of the manifest and the start of its run directories' names.")
    ]
    dataset: Dataset
    models: Annotated[
        tuple[Model, ...], List, Field(min_length=1, description="The models, in the order of the results.")
    ]
    representations: Annotated[
        Representations,
        Field(description="What is read from the models; left out when all models are arrays."),
    ] = Representations()
    extract: Annotated[Extract, Field(description="How the forward passes are cut up.")] = Extract()
    neighbors: Annotated[Neighbors, Field(description="How neighbors are found.")] = Neighbors()
    geometry: Annotated[Geometry, Field(description="What is measured on the neighbors.")] = Geometry()

    @property
    def all_models(self) -> tuple[CatalogModel | ModuleModel | ArraysModel, ...]:
        """The models, in the order of the results: every checkpoint is one."""
        return expanded(self.models)

    @property
    def is_arrays(self) -> bool:
        """Whether the points exist already, so that no model is run."""
        return is_arrays_only(self.models)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label sets that are measured: those of `geometry.labels`, else all, sorted."""
        return label_names(self.dataset) if self.geometry.labels is None else self.geometry.labels

    @property
    def overlap_ks(self) -> tuple[int, ...]:
        """Numbers of neighbors of overlaps, ascending; with labels of queries also the nearest neighbor."""
        asked = self.geometry.overlap_k
        ks = range(1, self.neighbors.k + 1) if asked == "all" else asked
        of_queries = {1} if self.dataset.query is not None and self.labels else set()
        return tuple(sorted({*of_queries, *ks}))

    def problems(self) -> Iterator[Problem]:
        """Find the contradictions between sections."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        given = {(name,) for name in self.model_fields_set} | {
            (name, key)
            for name, section in sections.items()
            if isinstance(section, Section)
            for key in section.model_fields_set
        }
        return cross_problems(sections, given)
