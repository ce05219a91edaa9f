"""Convert a published TensorFlow checkpoint of Image GPT into a folder as transformers writes it.

    python tools/convert_igpt.py CHECKPOINT --clusters kmeans_centers.npy --out FOLDER [--n-head N] [--bert]

CHECKPOINT is what its files have in common, such as model.ckpt-1000000 of model.ckpt-1000000.index and
model.ckpt-1000000.data-00000-of-00032. FOLDER gets config.json, the weights of ImageGPTForCausalImageModeling
as safetensors, number by number those of the checkpoint, and preprocessor_config.json with the colors. The
optimizer's variables are left out.

Needs TensorFlow to read the checkpoint: pip install 'hpcgeom[igpt]'.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from hpcgeom.data import read_clusters
from hpcgeom.errors import HpcgeomError, InputError, ProblemsError, ResourceError
from hpcgeom.models import igpt_names
from hpcgeom.models.converted import folder_beside, publish
from hpcgeom.models.igpt_names import Array, IgptSizes, Shape
from hpcgeom.models.shards import METADATA, write_shards

MADE_BY = "hpcgeom convert_igpt 1"
_FLOATS = ("float32", "float16", "float64")
_PART = re.compile(r"\.(index|meta|data-\d{5}-of-(\d{5}))$")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Variables of a checkpoint: their shapes, types, and how their values are read."""

    path: Path
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    read: Callable[[str], Array]


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert, and print what was done; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        checkpoint = open_checkpoint(options.checkpoint)
        said = convert(checkpoint, options.clusters, options.out, n_head=options.n_head, is_bert=options.bert)
    except HpcgeomError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(said)
    return 0


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a TensorFlow checkpoint, all of whose files are there.

    Raises
    ------
    InputError
        Files are missing or damaged, or TensorFlow is not installed.
    """
    prefix = path.with_name(_PART.sub("", path.name))
    _check_files(prefix)
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("TF_ENABLE_ONEDNN_OPTS", "0")):
        os.environ.setdefault(name, value)  # it tells what it computes with, and nothing is computed
    try:
        import tensorflow as tf
    except ImportError as error:
        raise InputError(
            f"TensorFlow, which reads {prefix}, cannot be imported ({error}): pip install 'hpcgeom[igpt]'"
        ) from error
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
        dtypes = {name: kind.name for name, kind in reader.get_variable_to_dtype_map().items()}
    except Exception as error:  # the library raises what its formats raise
        raise InputError(_unreadable(prefix, "its index", error)) from error

    def read(name: str) -> Array:
        try:
            return np.asarray(reader.get_tensor(name))
        except Exception as error:
            raise InputError(_unreadable(prefix, f"variable {name}", error)) from error

    return Checkpoint(prefix, shapes, dtypes, read)


def _check_files(prefix: Path) -> None:
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        near = sorted(file.name.removesuffix(".index") for file in prefix.parent.glob("*.index"))
        hint = f": found {', '.join(near)}" if near else ""
        raise InputError(
            f"{prefix}.index does not exist: expected what the files of a checkpoint have in common, such as "
            f"model.ckpt-1000000{hint}"
        )
    shards = [file.name for file in prefix.parent.iterdir() if file.name.startswith(f"{prefix.name}.data-")]
    totals = {match[2] for name in shards if (match := _PART.search(name))}
    if len(totals) != 1:
        raise InputError(
            f"{prefix}.data-* are parts of {len(totals)} checkpoints: expected those of one, such as "
            f"{prefix.name}.data-00000-of-00032"
        )
    total = totals.pop()
    wanted = [f"{prefix.name}.data-{i:05d}-of-{total}" for i in range(int(total))]
    if missing := [name for name in wanted if name not in shards]:
        shown = ", ".join(missing[:6]) + (", ..." if len(missing) > 6 else "")
        raise InputError(f"{prefix} lacks {len(missing)} of {len(wanted)} files: {shown}: fetch them")


def _unreadable(prefix: Path, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (
        f"{prefix}: {what} cannot be read ({type(error).__name__}: {reason}): a file was "
        "probably cut off in a copy: fetch it again"
    )


def convert(
    checkpoint: Checkpoint, clusters: Path, out: Path, *, n_head: int | None = None, is_bert: bool = False
) -> str:
    """Write the folder `out`, and return what there is to say.

    Parameters
    ----------
    clusters
        ``kmeans_centers.npy``: one color a row, in [-1, 1].
    n_head
        Checked where given: the variables tell how many heads there are.
    is_bert
        Whether the model was trained as BERT.

    Raises
    ------
    InputError, ProblemsError
        `out` is taken; the colors are those of another model; or variables are missing, unknown, or of
        another shape or type.
    ResourceError
        The disk is too small, or full.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists and is not an empty folder: name another one as --out, or remove it")
    ours, optimizer, classifier = igpt_names.split_names(sorted(checkpoint.shapes))
    shapes = {name: checkpoint.shapes[name] for name in ours}
    sizes = igpt_names.sizes_of(shapes, str(checkpoint.path), is_bert=is_bert, n_head=n_head)
    dtype = _dtype_of(checkpoint, ours)
    colors = read_clusters(clusters, sizes.n_vocab)
    tensors = igpt_names.tensors_of(sizes)
    n_bytes = {name: int(np.prod(made.shape)) * dtype.itemsize for name, made in sorted(tensors.items())}

    def read(name: str) -> Array:
        return igpt_names.make(tensors[name], checkpoint.read, dtype)

    with folder_beside(out, sum(n_bytes.values())) as beside:
        write_shards(beside, n_bytes, read, _save)
        _write_json(beside / "config.json", igpt_names.config_of(sizes, dtype.name))
        _write_json(beside / "preprocessor_config.json", igpt_names.preprocessor_of(sizes, colors))
        left_out = {"optimizer": len(optimizer), "classifier": classifier}
        publish(beside, out, MADE_BY, {"left_out": left_out, "source": checkpoint.path.name})
    return _summary(sizes, dtype, len(ours), len(tensors), optimizer, classifier) + f"written: {out}\n"


def _dtype_of(checkpoint: Checkpoint, names: Sequence[str]) -> np.dtype[Any]:
    kinds = {checkpoint.dtypes[name] for name in names}
    if len(kinds) == 1 and kinds <= set(_FLOATS):
        return np.dtype(kinds.pop())
    first = {kind: next(name for name in names if checkpoint.dtypes[name] == kind) for kind in sorted(kinds)}
    raise ProblemsError(
        [
            f"{checkpoint.path} has variables of type {kind}, such as {name}: expected one of "
            f"{', '.join(_FLOATS)} for all of them"
            for kind, name in first.items()
        ]
    )


def _save(tensors: dict[str, Array], file: Path) -> None:
    try:
        save_file(tensors, file, METADATA)
    except SafetensorError as error:
        raise ResourceError(f"{file} cannot be written ({error}): free some space, then run again") from error


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _summary(
    sizes: IgptSizes,
    dtype: np.dtype[Any],
    n_variables: int,
    n_tensors: int,
    optimizer: Sequence[str],
    classifier: Sequence[str],
) -> str:
    kind = "BERT-trained" if sizes.is_bert else "autoregressive"
    size = f"{sizes.n_layer} layers, width {sizes.n_embd}, {sizes.n_head} heads"
    size += f", {sizes.n_vocab} colors, {sizes.n_ctx} pixels, {dtype.name}"
    made = f"{n_variables} variables became {n_tensors} tensors"
    lines = [f"{kind} Image GPT: {size}", f"{made}, of which {4 * sizes.n_layer} are biases of zeros"]
    if sizes.is_bert:
        lines.append("it has no start token: the last row of the embedding is zeros")
    if optimizer:
        lines.append(f"left out: {len(optimizer)} variables of the optimizer, such as {optimizer[0]}")
    if classifier:
        lines.append(f"left out: the classifier ({', '.join(classifier)})")
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="such as model.ckpt-1000000", metavar="CHECKPOINT")
    parser.add_argument("--clusters", type=Path, required=True, help="the colors: kmeans_centers.npy")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write", metavar="FOLDER")
    parser.add_argument(
        "--n-head",
        type=int,
        help="heads that it must have (the checkpoint tells how many it has)",
        metavar="N",
    )
    parser.add_argument("--bert", action="store_true", help="trained as BERT: no start token, no causal mask")
    return parser


if __name__ == "__main__":
    sys.exit(main())
