"""The manifest: what a user asks for, as typed sections.

`load_manifest` reads a YAML file and reports everything that is wrong with it at once, with its lines;
`canonical`, `manifest_digest` and `difference` say what was asked for; `template` is one to start from.
Nothing that a manifest names is opened here. The facts of a cluster are in the module `profile`.
"""

from hpcgeom.manifest.identity import canonical, difference, manifest_digest
from hpcgeom.manifest.load import LoadedManifest, load_manifest, resolve_path
from hpcgeom.manifest.sections import (
    ArraysDataset,
    ArraysModel,
    CatalogModel,
    Dataset,
    Extract,
    FastaDataset,
    Geometry,
    ImagesDataset,
    Manifest,
    Model,
    ModuleModel,
    Neighbors,
    Representations,
    TextDataset,
    TokensDataset,
)
from hpcgeom.manifest.template import template

__all__ = [
    "ArraysDataset",
    "ArraysModel",
    "CatalogModel",
    "Dataset",
    "Extract",
    "FastaDataset",
    "Geometry",
    "ImagesDataset",
    "LoadedManifest",
    "Manifest",
    "Model",
    "ModuleModel",
    "Neighbors",
    "Representations",
    "TextDataset",
    "TokensDataset",
    "canonical",
    "difference",
    "load_manifest",
    "manifest_digest",
    "resolve_path",
    "template",
]
