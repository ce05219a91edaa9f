"""Every variable that hpcgeom writes, once: dimensions, dtype, unit, meaning and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hpcgeom.types import Status

VALERIANI = "Valeriani et al. 2023, The geometry of hidden representations of large transformer models"
FACCO = "Facco et al. 2017, doi:10.1038/s41598-017-11873-y"
DENTI = "Denti et al. 2022, doi:10.1038/s41598-022-20991-1 (generalized ratios, GRIDE)"

KORNBLITH = "Kornblith et al. 2019, Similarity of neural network representations revisited"
SONG = "Song et al. 2012, Feature selection via dependence maximization"

GLIELMO = "Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039"


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of a store."""

    dims: tuple[str, ...]
    dtype: str
    long_name: str
    units: str = "1"
    source: str = ""
    coordinates: tuple[str, ...] = ()

    def attributes(self) -> dict[str, object]:
        """What is written into the array's attributes."""
        found: dict[str, object] = {"long_name": self.long_name, "units": self.units}
        if self.source:
            found["source"] = self.source
        if self.coordinates:  # by CF: arrays that are coordinates, though no dimension has their name
            found["coordinates"] = " ".join(self.coordinates)
        return found

    def along(self, dim: str, coordinates: tuple[str, ...] = ()) -> Variable:
        """The same variable where the points along `sample` are those along `dim`, with these coordinates."""
        dims = tuple(dim if name == "sample" else name for name in self.dims)
        return replace(self, dims=dims, coordinates=coordinates)


REPRESENTATION = ("model", "site", "pooling", "layer")
PAIR = ("site", "pooling", "model", "layer", "other_model", "other_layer")
SAME_DEPTH = ("site", "pooling", "model", "layer", "other_model")
_OVER_POINTS = (
    "standard deviation over points / sqrt(N): too small, as points that share neighbors are correlated"
)
_BY_HALVES = (
    "standard error that counts correlated points: half the difference of random halves of the points"
)

ACTIVATIONS: Mapping[str, Variable] = {
    "activations": Variable(
        ("layer", "sample", "feature"),
        "float32",
        "activations, one row per point: pooled over a sample, or of a token",
        "activation",
    ),
}

TOKEN_COORDINATES: Mapping[str, Variable] = {
    "sample": Variable(("point",), "string", "id of the sample that the token is of"),
    "position": Variable(
        ("point",), "int64", "position among the tokens of the sample, special ones counted; windows go on"
    ),
}

LENS = "nostalgebraist 2020, interpreting GPT: the logit lens"
DETAILS: Mapping[str, Variable] = {
    "input_id": Variable(("position",), "int64", "token ids of the sample, special ones included"),
    "activations": Variable(
        ("layer", "position", "feature"), "float32", "activations of every token", "activation"
    ),
    "attention": Variable(
        ("layer", "head", "query", "key"), "float32", "share of a query's attention that goes to a key"
    ),
    "logits": Variable(("position", "token"), "float32", "scores that the model's head gives"),
    "probabilities": Variable(("position", "token"), "float32", "softmax of the logits"),
    "entropy": Variable(
        ("layer", "position"), "float32", "entropy of the head's distribution at this layer", "nat", LENS
    ),
    "kl_to_last": Variable(
        ("layer", "position"),
        "float32",
        "Kullback-Leibler divergence of this layer's distribution from that of the last layer",
        "nat",
        LENS,
    ),
    "cosine_to_last": Variable(
        ("layer", "position"), "float32", "cosine between the normed hidden states here and at the last layer"
    ),
    "top_token": Variable(("layer", "position", "top"), "int64", "most probable tokens", source=LENS),
    "top_probability": Variable(("layer", "position", "top"), "float32", "their probabilities", source=LENS),
}

NEIGHBORS: Mapping[str, Variable] = {
    "neighbor_index": Variable(
        ("layer", "sample", "rank"),
        "int32",
        "row number, in the order of the points, of the neighbor at this rank; the point itself is excluded, "
        "ties go to the smaller row",
    ),
    "neighbor_distance": Variable(
        ("layer", "sample", "rank"),
        "float64",
        "distance to the neighbor at this rank, not squared",
        "activation",
    ),
    "duplicate_of": Variable(
        ("layer", "sample"), "int32", "first row with an equal point; the row itself where it is the first"
    ),
    "distinct_index": Variable(
        ("layer", "sample", "rank"),
        "int32",
        "as neighbor_index, among first rows of equal points only; "
        "written for layers with equal points, else -1",
    ),
    "distinct_distance": Variable(
        ("layer", "sample", "rank"),
        "float64",
        "as neighbor_distance, among first rows of equal points only; "
        "written for layers with equal points, else NaN",
        "activation",
    ),
}

_ID = "intrinsic dimension"
RESULTS: Mapping[str, Variable] = {
    "intrinsic_dimension": Variable((*REPRESENTATION, "estimator"), "float64", _ID, source=FACCO),
    "intrinsic_dimension_error": Variable(
        (*REPRESENTATION, "estimator"),
        "float64",
        "one standard error of intrinsic_dimension; "
        "for twonn_mle with the correlation of ratios that share a point",
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
    "n_given_samples": Variable(
        ("model",), "int64", "rows of the arrays of the model; n_samples of them are in all models", "samples"
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
    "gride": Variable((*REPRESENTATION, "n2"), "float64", f"{_ID} from r(n2)/r(n2/2)", source=DENTI),
    "gride_error": Variable(
        (*REPRESENTATION, "n2"), "float64", "standard error of gride from Fisher information"
    ),
    "gride_distance": Variable(
        (*REPRESENTATION, "n2"),
        "float64",
        "scale: mean of the distances to neighbors n2/2 and n2",
        "activation",
    ),
    "gride_status": Variable((*REPRESENTATION, "n2"), "int8", "why gride is what it is (flag_meanings)"),
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
    "overlap": Variable(
        (*PAIR, "k"),
        "float64",
        "mean share of the k nearest neighbors that two layers have in common",
        source=VALERIANI,
    ),
    "overlap_error": Variable((*PAIR, "k"), "float64", _OVER_POINTS),
    "overlap_half_sample_error": Variable((*PAIR, "k"), "float64", _BY_HALVES),
    "overlap_chance": Variable(
        ("model", "pooling", "k"), "float64", "overlap expected of neighbors drawn at random: k / (N - 1)"
    ),
    "consecutive_overlap": Variable(
        (*REPRESENTATION, "k"), "float64", "overlap of a layer with the next layer kept", source=VALERIANI
    ),
    "consecutive_overlap_error": Variable((*REPRESENTATION, "k"), "float64", _OVER_POINTS),
    "consecutive_overlap_half_sample_error": Variable((*REPRESENTATION, "k"), "float64", _BY_HALVES),
    "same_depth_overlap": Variable(
        (*SAME_DEPTH, "k"),
        "float64",
        "overlap of a layer with that of nearest relative depth in another model",
    ),
    "same_depth_overlap_error": Variable((*SAME_DEPTH, "k"), "float64", _OVER_POINTS),
    "same_depth_overlap_half_sample_error": Variable((*SAME_DEPTH, "k"), "float64", _BY_HALVES),
    "same_depth_layer": Variable(
        SAME_DEPTH,
        "int64",
        "layer of other_model of nearest relative depth, the shallower of two; -1 for none",
    ),
    "jaccard": Variable(
        (*PAIR, "k"),
        "float64",
        "mean share of the points that are among the k nearest neighbors in both layers, of those in either",
    ),
    "jaccard_error": Variable((*PAIR, "k"), "float64", _OVER_POINTS),
    "jaccard_half_sample_error": Variable((*PAIR, "k"), "float64", _BY_HALVES),
    "jaccard_chance": Variable(
        ("model", "pooling", "k"), "float64", "jaccard expected of neighbors drawn at random"
    ),
    "cka": Variable(
        PAIR,
        "float64",
        "linear centered kernel alignment; too large where features are many",
        source=KORNBLITH,
    ),
    "cka_debiased": Variable(
        PAIR,
        "float64",
        "cka with the unbiased estimator of HSIC; about 0 for independent layers",
        source=SONG,
    ),
    "cka_status": Variable(REPRESENTATION, "int8", "why cka with a layer is what it is (flag_meanings)"),
    "cka_debiased_status": Variable(
        REPRESENTATION, "int8", "why cka_debiased with a layer is what it is (flag_meanings)"
    ),
    "information_imbalance_low": Variable(
        PAIR,
        "float64",
        "least information imbalance from layer to other_layer that the lists allow",
        source=GLIELMO,
    ),
    "information_imbalance_high": Variable(PAIR, "float64", "largest one that the lists allow"),
    "n_unknown_ranks": Variable(
        PAIR, "int64", "points whose nearest neighbor is not in their list in other_layer", "points"
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
    "label_overlap_chance": Variable(
        ("label",), "float64", "label_overlap expected of neighbors drawn at random from all samples"
    ),
    "label_overlap_chance_of_tokens": Variable(
        ("model", "label"), "float64", "label_overlap expected of neighbors drawn at random from all tokens"
    ),
}


def flags() -> dict[str, object]:
    """CF attributes of a status variable."""
    return {
        "flag_values": [int(status) for status in Status],
        "flag_meanings": " ".join(status.name.lower() for status in Status),
    }
