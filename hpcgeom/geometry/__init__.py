"""Geometry of point clouds from their neighbor lists: pure functions of NumPy arrays.

Distances are (N, K), float64, Euclidean, self excluded, ascending, NaN where there is no neighbor; indices
are (N, K), row numbers, -1 where there is none. Definitions, error bars and references:
``docs/estimators.md``.
"""

from hpcgeom.geometry.bayes import BayesResult as BayesResult
from hpcgeom.geometry.bayes import twonn_bayes as twonn_bayes
from hpcgeom.geometry.causal import LensEvolution as LensEvolution
from hpcgeom.geometry.causal import cosine_to_last as cosine_to_last
from hpcgeom.geometry.causal import logit_lens_evolution as logit_lens_evolution
from hpcgeom.geometry.cka import CkaMatrix as CkaMatrix
from hpcgeom.geometry.cka import cka_matrix as cka_matrix
from hpcgeom.geometry.clusters import DensityPeaks as DensityPeaks
from hpcgeom.geometry.clusters import adjusted_rand as adjusted_rand
from hpcgeom.geometry.clusters import density_peaks as density_peaks
from hpcgeom.geometry.decimation import first_two_within as first_two_within
from hpcgeom.geometry.decimation import subsets as subsets
from hpcgeom.geometry.gride import GrideResult as GrideResult
from hpcgeom.geometry.gride import gride as gride
from hpcgeom.geometry.gride import gride_resampling_errors as gride_resampling_errors
from hpcgeom.geometry.gride import scales as scales
from hpcgeom.geometry.half_samples import half_sample_errors as half_sample_errors
from hpcgeom.geometry.half_sets import half_sample_set_errors as half_sample_set_errors
from hpcgeom.geometry.imbalance import ImbalanceBounds as ImbalanceBounds
from hpcgeom.geometry.imbalance import ImbalanceCounts as ImbalanceCounts
from hpcgeom.geometry.imbalance import ImbalanceMatrix as ImbalanceMatrix
from hpcgeom.geometry.imbalance import imbalance_bounds as imbalance_bounds
from hpcgeom.geometry.imbalance import imbalance_counts as imbalance_counts
from hpcgeom.geometry.imbalance import imbalance_matrix as imbalance_matrix
from hpcgeom.geometry.imbalance import information_imbalance as information_imbalance
from hpcgeom.geometry.labels import class_fraction_ks as class_fraction_ks
from hpcgeom.geometry.labels import label_overlap as label_overlap
from hpcgeom.geometry.labels import label_overlap_balanced as label_overlap_balanced
from hpcgeom.geometry.labels import label_overlap_counts as label_overlap_counts
from hpcgeom.geometry.labels import label_overlap_from_counts as label_overlap_from_counts
from hpcgeom.geometry.local import LocalDimension as LocalDimension
from hpcgeom.geometry.local import local_dimension as local_dimension
from hpcgeom.geometry.mle import LevinaBickelResult as LevinaBickelResult
from hpcgeom.geometry.mle import levina_bickel as levina_bickel
from hpcgeom.geometry.moments import MomentErrors as MomentErrors
from hpcgeom.geometry.moments import Moments as Moments
from hpcgeom.geometry.moments import MomentSums as MomentSums
from hpcgeom.geometry.moments import merge_moments as merge_moments
from hpcgeom.geometry.moments import moment_errors as moment_errors
from hpcgeom.geometry.moments import moment_sums as moment_sums
from hpcgeom.geometry.moments import moments as moments
from hpcgeom.geometry.moments import moments_from_sums as moments_from_sums
from hpcgeom.geometry.overlap import overlap as overlap
from hpcgeom.geometry.overlap import overlap_counts as overlap_counts
from hpcgeom.geometry.overlap import overlap_from_counts as overlap_from_counts
from hpcgeom.geometry.overlap import overlap_matrix as overlap_matrix
from hpcgeom.geometry.plateau import Plateau as Plateau
from hpcgeom.geometry.plateau import plateau as plateau
from hpcgeom.geometry.retrieval import Retrieval as Retrieval
from hpcgeom.geometry.retrieval import retrieval as retrieval
from hpcgeom.geometry.sets import NeighborSets as NeighborSets
from hpcgeom.geometry.sets import chance_levels as chance_levels
from hpcgeom.geometry.sets import common_bins as common_bins
from hpcgeom.geometry.sets import jackknife_error as jackknife_error
from hpcgeom.geometry.sets import neighbor_sets as neighbor_sets
from hpcgeom.geometry.sets import set_sums as set_sums
from hpcgeom.geometry.spectrum import Covariance as Covariance
from hpcgeom.geometry.spectrum import Spectrum as Spectrum
from hpcgeom.geometry.spectrum import pca_components as pca_components
from hpcgeom.geometry.spectrum import spectrum as spectrum
from hpcgeom.geometry.token_clouds import CloudSpectra as CloudSpectra
from hpcgeom.geometry.token_clouds import CloudSpectrum as CloudSpectrum
from hpcgeom.geometry.token_clouds import gram_log_volume as gram_log_volume
from hpcgeom.geometry.token_clouds import prompt_volumes as prompt_volumes
from hpcgeom.geometry.trimmed import trimming_bias as trimming_bias
from hpcgeom.geometry.trimmed import twonn_mle_trimmed as twonn_mle_trimmed
from hpcgeom.geometry.twonn import twonn as twonn
from hpcgeom.geometry.twonn import twonn_by_mu_fraction as twonn_by_mu_fraction
from hpcgeom.geometry.twonn import twonn_mle as twonn_mle
from hpcgeom.geometry.twonn import twonn_mle_censored as twonn_mle_censored
