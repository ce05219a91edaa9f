"""What is measured on one layer alone, once: dimensions, dtype, unit, meaning and source of each number."""

from __future__ import annotations

from collections.abc import Mapping

from hpcgeom.store.variable import DENTI, FACCO, LEVINA_BICKEL, REPRESENTATION, VALERIANI, Variable

GAO = "Gao et al. 2017, doi:10.1101/214262"
ETHAYARAJH = "Ethayarajh 2019, doi:10.18653/v1/D19-1006"
DERRICO = "d'Errico et al. 2021, Information Sciences 560, 476"
HUBERT = "Hubert and Arabie 1985, Journal of Classification 2, 193"
JACKKNIFE = "standard error by the jackknife over ten groups of points, which are taken for independent"
_ID = "intrinsic dimension"
OF_ONE_LAYER: Mapping[str, Variable] = {
    "intrinsic_dimension": Variable((*REPRESENTATION, "estimator"), "float64", _ID, source=FACCO),
    "intrinsic_dimension_error": Variable(
        (*REPRESENTATION, "estimator"),
        "float64",
        "one standard error of intrinsic_dimension, "
        "with the correlation of ratios that share a point; for twonn_bayes the posterior's deviation",
    ),
    "n_points": Variable(
        (*REPRESENTATION, "estimator"), "int64", "points that entered the estimate", "points"
    ),
    "status": Variable(
        (*REPRESENTATION, "estimator"), "int8", "why intrinsic_dimension is what it is (flag_meanings)"
    ),
    "n_zero_distances": Variable(
        REPRESENTATION, "int64", "points whose nearest neighbor lies at distance zero", "points"
    ),
    "n_all_points": Variable(
        REPRESENTATION, "int64", "points, equal ones included: samples, or tokens", "points"
    ),
    "n_distinct_points": Variable(
        REPRESENTATION, "int64", "points after equal ones are counted once", "points"
    ),
    "n_duplicate_groups": Variable(
        REPRESENTATION, "int64", "groups of two or more points that are equal", "groups"
    ),
    "n_proven_rows": Variable(
        REPRESENTATION,
        "int64",
        "distinct points, of queries too, whose lists were proven: n_certified_rows + n_recomputed_rows",
        "points",
    ),
    "n_certified_rows": Variable(
        REPRESENTATION,
        "int64",
        "distinct points whose candidates were proven to miss no neighbor",
        "points",
    ),
    "n_recomputed_rows": Variable(
        REPRESENTATION, "int64", "distinct points that were searched again in float64", "points"
    ),
    "largest_relative_error": Variable(
        REPRESENTATION,
        "float64",
        "largest relative error of a distance as it was proposed, before it was exact",
    ),
    "twonn_bayes_shape": Variable(
        REPRESENTATION,
        "float64",
        "shape of the Gamma distribution that is the posterior of twonn_bayes: 2 + ratios that count",
        source=FACCO,
    ),
    "twonn_bayes_rate": Variable(REPRESENTATION, "float64", "rate of the posterior of twonn_bayes"),
    "twonn_bayes_quantile": Variable(
        (*REPRESENTATION, "quantile"), "float64", "quantiles of the posterior of twonn_bayes"
    ),
    "gride": Variable((*REPRESENTATION, "n2"), "float64", f"{_ID} from r(n2)/r(n2/2)", source=DENTI),
    "gride_error": Variable(
        (*REPRESENTATION, "n2"),
        "float64",
        "standard error of gride from Fisher information: of independent ratios, too short",
    ),
    "gride_resampling_error": Variable(
        (*REPRESENTATION, "n2"),
        "float64",
        "standard error of gride from random halves of the points, each with its own neighbors",
    ),
    "gride_distance": Variable(
        (*REPRESENTATION, "n2"),
        "float64",
        "scale: mean of the distances to neighbors n2/2 and n2",
        "activation",
    ),
    "gride_status": Variable((*REPRESENTATION, "n2"), "int8", "why gride is what it is (flag_meanings)"),
    "plateau_dimension": Variable(
        REPRESENTATION,
        "float64",
        f"{_ID} where gride is flat: weighted mean over the longest flat range of n2, to read beside gride",
        source=DENTI,
    ),
    "plateau_dimension_error": Variable(
        REPRESENTATION,
        "float64",
        "weighted mean of the bars in that range; that it was chosen is not counted",
    ),
    "plateau_n2_min": Variable(
        REPRESENTATION, "int64", "smallest n2 of the flat range; 0 where none is flat"
    ),
    "plateau_n2_max": Variable(REPRESENTATION, "int64", "largest n2 of the flat range; 0 where none is flat"),
    "plateau_status": Variable(
        REPRESENTATION,
        "int8",
        "why plateau_dimension is what it is; no_solution: nowhere flat (flag_meanings)",
    ),
    "levina_bickel": Variable(
        (*REPRESENTATION, "levina_bickel_k"),
        "float64",
        f"{_ID} from the distances to the first k neighbors, by the inverse average",
        source=LEVINA_BICKEL,
    ),
    "levina_bickel_error": Variable(
        (*REPRESENTATION, "levina_bickel_k"),
        "float64",
        "standard error of levina_bickel from random halves of the points, each with its own neighbors",
    ),
    "levina_bickel_status": Variable(
        (*REPRESENTATION, "levina_bickel_k"), "int8", "why levina_bickel is what it is (flag_meanings)"
    ),
    "twonn_by_mu_fraction": Variable(
        (*REPRESENTATION, "mu_fraction"),
        "float64",
        f"{_ID} (twonn) by share of the ratios kept",
        source=FACCO,
    ),
    "twonn_by_mu_fraction_error": Variable(
        (*REPRESENTATION, "mu_fraction"), "float64", "one standard error of twonn_by_mu_fraction"
    ),
    "decimated_dimension": Variable(
        (*REPRESENTATION, "data_fraction"),
        "float64",
        f"{_ID} (twonn), mean over disjoint random subsets of this share of the points",
        source=FACCO,
    ),
    "decimated_dimension_error": Variable(
        (*REPRESENTATION, "data_fraction"),
        "float64",
        "standard error of the mean over subsets; for one subset the estimator's own",
    ),
    "local_dimension": Variable(
        (*REPRESENTATION, "sample"),
        "float64",
        f"{_ID} around every point, from local_dimension_k neighbors; its standard error is "
        "value / sqrt(k - 1). Copies have that of the first; none where every token is a point",
        source=LEVINA_BICKEL,
    ),
    "local_dimension_quantile": Variable(
        (*REPRESENTATION, "quantile"), "float64", "quantiles of local_dimension over distinct points"
    ),
    "local_dimension_n_points": Variable(
        REPRESENTATION, "int64", "distinct points that have a local_dimension", "points"
    ),
    "local_dimension_status": Variable(
        REPRESENTATION, "int8", "why no point has a local_dimension (flag_meanings)"
    ),
    "covariance_eigenvalue": Variable(
        (*REPRESENTATION, "component"),
        "float64",
        "variances along the principal axes of the stored points, N - 1 in the denominator",
        "activation^2",
    ),
    "n_components": Variable(
        (*REPRESENTATION, "variance_fraction"),
        "int64",
        "least principal components that hold this share of the variance; 0 where there is none",
        "components",
    ),
    "participation_ratio": Variable(
        REPRESENTATION,
        "float64",
        "directions over which the variance is spread: (sum l)^2 / sum l^2 of the eigenvalues l",
        source=GAO,
    ),
    "participation_ratio_error": Variable(REPRESENTATION, "float64", JACKKNIFE),
    "spectrum_status": Variable(
        REPRESENTATION, "int8", "why participation_ratio is what it is (flag_meanings)"
    ),
    "norm_mean": Variable(REPRESENTATION, "float64", "mean norm of the stored points", "activation"),
    "norm_mean_error": Variable(REPRESENTATION, "float64", JACKKNIFE, "activation"),
    "norm_std": Variable(REPRESENTATION, "float64", "standard deviation of the norms", "activation"),
    "norm_std_error": Variable(REPRESENTATION, "float64", JACKKNIFE, "activation"),
    "norm_max": Variable(REPRESENTATION, "float64", "largest norm", "activation"),
    "mean_cosine": Variable(
        REPRESENTATION, "float64", "mean cosine of a point with the mean direction of all"
    ),
    "mean_cosine_error": Variable(REPRESENTATION, "float64", JACKKNIFE),
    "anisotropy": Variable(
        REPRESENTATION, "float64", "mean cosine of two different points", source=ETHAYARAJH
    ),
    "anisotropy_error": Variable(REPRESENTATION, "float64", JACKKNIFE),
    "n_zero_norms": Variable(
        REPRESENTATION, "int64", "points at the origin, which have no direction", "points"
    ),
    "direction_status": Variable(
        REPRESENTATION, "int8", "why mean_cosine and anisotropy are what they are (flag_meanings)"
    ),
    "cluster": Variable(
        (*REPRESENTATION, "sample"),
        "int64",
        "cluster of every point, from 0, around peaks of the density; -1 for none. Copies have that of the "
        "first; none where every token is a point",
        source=DERRICO,
    ),
    "n_clusters": Variable(REPRESENTATION, "int64", "clusters around peaks of the density", "clusters"),
    "n_unclustered_points": Variable(
        REPRESENTATION, "int64", "points in no cluster: of a halo, or where there is no clustering", "points"
    ),
    "n_densities_at_limit": Variable(
        REPRESENTATION,
        "int64",
        "distinct points whose neighborhood of constant density reaches the end of their list",
        "points",
    ),
    "cluster_status": Variable(REPRESENTATION, "int8", "why there are no clusters (flag_meanings)"),
    "adjusted_rand": Variable(
        (*REPRESENTATION, "label"),
        "float64",
        "adjusted Rand index of clusters and labels, over the points in a cluster: 1 for the same partition, "
        "0 for one at random",
        source=HUBERT,
    ),
    "cloud_log_volume": Variable(
        (*REPRESENTATION, "sample"),
        "float64",
        "sum of log s over the cloud_rank singular values s of a sample's tokens minus their mean; "
        "volumes of different ranks are not comparable",
    ),
    "cloud_rank": Variable(
        (*REPRESENTATION, "sample"), "int64", "singular values above the rounding of the stored tokens"
    ),
    "cloud_singular_value": Variable(
        (*REPRESENTATION, "sample", "cloud_component"),
        "float64",
        "largest singular values of a sample's tokens minus their mean",
        "activation",
    ),
    "cloud_status": Variable(
        (*REPRESENTATION, "sample"), "int8", "why cloud_log_volume is what it is (flag_meanings)"
    ),
    "label_overlap": Variable(
        (*REPRESENTATION, "label", "k"),
        "float64",
        "mean share of the k nearest neighbors with the own label of the point's sample",
        source=VALERIANI,
    ),
    "label_overlap_error": Variable((*REPRESENTATION, "label", "k"), "float64", "standard error over points"),
    "label_overlap_balanced": Variable(
        (*REPRESENTATION, "label", "k"), "float64", "label_overlap with every class of equal weight"
    ),
    "label_overlap_balanced_error": Variable(
        (*REPRESENTATION, "label", "k"), "float64", "standard error over points"
    ),
    "top_1_accuracy": Variable(
        (*REPRESENTATION, "label"),
        "float64",
        "share of points whose nearest neighbor has their label: leave-one-out",
    ),
    "top_1_accuracy_error": Variable(
        (*REPRESENTATION, "label"), "float64", "binomial standard error over points"
    ),
    "n_unmatched_points": Variable(
        (*REPRESENTATION, "label"),
        "int64",
        "points whose label no other point has; they count as missed",
        "points",
    ),
    "label_overlap_excluded": Variable(
        (*REPRESENTATION, "label", "k"),
        "float64",
        "label_overlap among the k nearest points of other values of the label set that exclude_same names",
        source=VALERIANI,
    ),
    "label_overlap_excluded_error": Variable(
        (*REPRESENTATION, "label", "k"), "float64", "standard error over points"
    ),
    "label_overlap_excluded_n_points": Variable(
        (*REPRESENTATION, "label", "k"),
        "int64",
        "points that have k such neighbors; the others enter no number",
        "points",
    ),
    "label_overlap_excluded_chance": Variable(
        (*REPRESENTATION, "label"), "float64", "label_overlap_excluded expected of such points at random"
    ),
    "top_1_accuracy_excluded": Variable(
        (*REPRESENTATION, "label"),
        "float64",
        "top_1_accuracy by the nearest point of another value of the label set that exclude_same names",
    ),
    "top_1_accuracy_excluded_error": Variable(
        (*REPRESENTATION, "label"), "float64", "binomial standard error over points"
    ),
    "n_unmatched_points_excluded": Variable(
        (*REPRESENTATION, "label"),
        "int64",
        "points whose label no such point has; they count as missed",
        "points",
    ),
    "retrieval_accuracy": Variable(
        (*REPRESENTATION, "label", "k"),
        "float64",
        "top-k accuracy: share of queries with a point of their label among the k nearest of the data set",
    ),
    "retrieval_accuracy_error": Variable(
        (*REPRESENTATION, "label", "k"), "float64", "binomial standard error over queries"
    ),
    "retrieval_overlap": Variable(
        (*REPRESENTATION, "label", "k"),
        "float64",
        "mean share of the k nearest points of the data set with the query's label",
    ),
    "retrieval_overlap_error": Variable(
        (*REPRESENTATION, "label", "k"), "float64", "standard error over queries"
    ),
    "n_queries": Variable(REPRESENTATION, "int64", "points that are queries", "points"),
    "n_unknown_label": Variable(
        (*REPRESENTATION, "label"),
        "int64",
        "queries whose label no point of the data set has; they count as missed",
        "points",
    ),
}
