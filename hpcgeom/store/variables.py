"""Every variable that hpcgeom writes, once: dimensions, dtype, unit, meaning and source."""

from __future__ import annotations

from collections.abc import Mapping

from hpcgeom.store.layer_variables import OF_ONE_LAYER
from hpcgeom.store.variable import DENTI as DENTI
from hpcgeom.store.variable import FACCO as FACCO
from hpcgeom.store.variable import PAIR as PAIR
from hpcgeom.store.variable import REPRESENTATION as REPRESENTATION
from hpcgeom.store.variable import VALERIANI as VALERIANI
from hpcgeom.store.variable import Variable as Variable
from hpcgeom.types import Status

KORNBLITH = "Kornblith et al. 2019, Similarity of neural network representations revisited"
SONG = "Song et al. 2012, Feature selection via dependence maximization"
GLIELMO = "Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039"

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

RESULTS: Mapping[str, Variable] = {
    **OF_ONE_LAYER,
    "n_given_samples": Variable(
        ("model",), "int64", "rows of the arrays of the model; n_samples of them are in all models", "samples"
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
    "lens_kl_to_last": Variable(
        ("model", "layer"),
        "float64",
        "Kullback-Leibler divergence from the last layer's distribution: "
        "mean over samples of the mean over their tokens",
        "nat",
        LENS,
    ),
    "lens_kl_to_last_error": Variable(("model", "layer"), "float64", "standard error over samples", "nat"),
    "lens_entropy": Variable(
        ("model", "layer"),
        "float64",
        "entropy of the head's distribution: mean over samples of the mean over their tokens",
        "nat",
        LENS,
    ),
    "lens_entropy_error": Variable(("model", "layer"), "float64", "standard error over samples", "nat"),
    "lens_cosine_to_last": Variable(
        ("model", "layer"),
        "float64",
        "cosine of normed hidden states with those of the last layer: "
        "mean over samples of the mean over their tokens",
        "1",
        LENS,
    ),
    "lens_cosine_to_last_error": Variable(("model", "layer"), "float64", "standard error over samples", "1"),
    "lens_agreement": Variable(
        ("model", "layer"),
        "float64",
        "share of tokens whose most probable next token is that of the last layer: "
        "mean over samples of the mean over their tokens",
        "1",
        LENS,
    ),
    "lens_agreement_error": Variable(("model", "layer"), "float64", "standard error over samples", "1"),
    "n_lens_samples": Variable(("model",), "int64", "samples whose logit lens was kept", "samples"),
    "minimum_layer": Variable(
        ("model", "site", "pooling", "estimator"),
        "int64",
        "layer of the smallest intrinsic_dimension, the first of equal ones; -1 where there is none",
        source=VALERIANI,
    ),
    "label_overlap_at_minimum": Variable(
        ("model", "site", "pooling", "estimator", "label", "k"), "float64", "label_overlap at minimum_layer"
    ),
    "label_overlap_at_last": Variable(
        ("model", "site", "pooling", "label", "k"), "float64", "label_overlap at the last layer measured"
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
