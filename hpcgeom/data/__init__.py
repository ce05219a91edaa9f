"""Data sets as samples: strict readers, labels, arrays of points, and clouds of known dimension.

Nothing heavy is imported here; pyarrow, zarr and Pillow load inside the functions that need them.
"""

from hpcgeom.data.arrays import (
    PointsFile,
    array_samples,
    layer_files,
    open_points,
    points_shape,
    read_rows,
)
from hpcgeom.data.colors import N_COLORS, image_tokens, quantize, read_clusters
from hpcgeom.data.fasta import RESIDUES, read_fasta
from hpcgeom.data.files import SourceDigest, read_text_file, require_unchanged, source_digest
from hpcgeom.data.image_folders import IMAGE_SUFFIXES, class_folders, read_classes
from hpcgeom.data.images import ImageList, image_samples, list_images, verified_bytes
from hpcgeom.data.labels import encode, labels_from_file, values_in_order
from hpcgeom.data.pixels import check_array, decode, paper_pixels
from hpcgeom.data.queries import with_queries
from hpcgeom.data.samples import (
    Samples,
    exclude,
    first_rows,
    make_samples,
    read_samples,
    take,
    write_samples,
)
from hpcgeom.data.text import TEXT_SUFFIXES, read_text
from hpcgeom.data.tokens import TokenArray, open_tokens, token_digest, token_samples

__all__ = [
    "IMAGE_SUFFIXES",
    "N_COLORS",
    "RESIDUES",
    "TEXT_SUFFIXES",
    "ImageList",
    "PointsFile",
    "Samples",
    "SourceDigest",
    "TokenArray",
    "array_samples",
    "check_array",
    "class_folders",
    "decode",
    "encode",
    "exclude",
    "first_rows",
    "image_samples",
    "image_tokens",
    "labels_from_file",
    "layer_files",
    "list_images",
    "make_samples",
    "open_points",
    "open_tokens",
    "paper_pixels",
    "points_shape",
    "quantize",
    "read_classes",
    "read_clusters",
    "read_fasta",
    "read_rows",
    "read_samples",
    "read_text",
    "read_text_file",
    "require_unchanged",
    "source_digest",
    "take",
    "token_digest",
    "token_samples",
    "values_in_order",
    "verified_bytes",
    "with_queries",
    "write_samples",
]
