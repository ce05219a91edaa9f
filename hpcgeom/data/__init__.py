"""Data sets as samples: strict readers, labels, arrays of points, and clouds of known dimension.

Nothing heavy is imported here; pyarrow and zarr load inside the functions that need them.
"""

from hpcgeom.data.arrays import (
    PointsFile,
    array_samples,
    layer_files,
    open_points,
    points_shape,
    read_rows,
)
from hpcgeom.data.fasta import RESIDUES, read_fasta
from hpcgeom.data.files import SourceDigest, read_text_file, require_unchanged, source_digest
from hpcgeom.data.labels import encode, labels_from_file, values_in_order
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

__all__ = [
    "RESIDUES",
    "TEXT_SUFFIXES",
    "PointsFile",
    "Samples",
    "SourceDigest",
    "array_samples",
    "encode",
    "exclude",
    "first_rows",
    "labels_from_file",
    "layer_files",
    "make_samples",
    "open_points",
    "points_shape",
    "read_fasta",
    "read_rows",
    "read_samples",
    "read_text",
    "read_text_file",
    "require_unchanged",
    "source_digest",
    "take",
    "values_in_order",
    "write_samples",
]
