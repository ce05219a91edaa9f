"""Geometry of point clouds from their neighbor lists: pure functions of NumPy arrays.

Distances are (N, K), float64, Euclidean, self excluded, ascending, NaN where there is no neighbor; indices
are (N, K), row numbers, -1 where there is none. Definitions, error bars and references:
``docs/estimators.md``.
"""

from hpcgeom.geometry.decimation import first_two_within as first_two_within
from hpcgeom.geometry.decimation import subsets as subsets
from hpcgeom.geometry.gride import GrideResult as GrideResult
from hpcgeom.geometry.gride import gride as gride
from hpcgeom.geometry.gride import scales as scales
from hpcgeom.geometry.labels import class_fraction_ks as class_fraction_ks
from hpcgeom.geometry.labels import label_overlap as label_overlap
from hpcgeom.geometry.labels import label_overlap_balanced as label_overlap_balanced
from hpcgeom.geometry.labels import label_overlap_counts as label_overlap_counts
from hpcgeom.geometry.labels import label_overlap_from_counts as label_overlap_from_counts
from hpcgeom.geometry.overlap import overlap as overlap
from hpcgeom.geometry.overlap import overlap_counts as overlap_counts
from hpcgeom.geometry.overlap import overlap_from_counts as overlap_from_counts
from hpcgeom.geometry.overlap import overlap_matrix as overlap_matrix
from hpcgeom.geometry.retrieval import Retrieval as Retrieval
from hpcgeom.geometry.retrieval import retrieval as retrieval
from hpcgeom.geometry.twonn import twonn as twonn
from hpcgeom.geometry.twonn import twonn_by_mu_fraction as twonn_by_mu_fraction
from hpcgeom.geometry.twonn import twonn_mle as twonn_mle
from hpcgeom.geometry.twonn import twonn_mle_censored as twonn_mle_censored
