"""Image GPT (Chen et al. 2020) in the names of its first publication and in those of transformers.

The published variables live below ``model/``. Attention has one map for each of q, k, v and the output, with
the heads as first axis: q, k and v are (head, within the head, in), the output is (head, within the head,
out). transformers has one matrix (in, q and k and v side by side) and one (in, out), and biases everywhere,
which these models do not have: they are zeros. The start token is the last row of the embedding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.data.wording import shortened
from hpcgeom.errors import InputError, ProblemsError

Shape = tuple[int, ...]
Array = npt.NDArray[np.floating[Any]]

SOS, FIRST_QUERY = "model/sos", "model/h0/attn/q_proj"
_OPTIMIZER = re.compile(
    r"(^|/)(Adam(WeightDecayOptimizer)?(_\d+)?|adam_[mv]|beta[12]_power(_\d+)?|global_step"
    r"|_CHECKPOINTABLE_OBJECT_GRAPH)(/|$)"
)
_CLASSIFIER = "model/clf/"
_LAYER = re.compile(r"model/h(\d+)/")
_SHOWN = 6
_OTHER = "name another checkpoint"


@dataclass(frozen=True, slots=True)
class IgptSizes:
    """What tells one Image GPT from another.

    Attributes
    ----------
    n_layer, n_embd, n_head
        Blocks, width, attention heads.
    n_ctx, n_vocab
        Pixels of an image, and colors.
    is_bert
        Whether it was trained to fill in masked pixels: it has no start token.
    """

    n_layer: int
    n_embd: int
    n_head: int
    n_ctx: int = 32 * 32
    n_vocab: int = 512
    is_bert: bool = False


PUBLISHED = {"S": IgptSizes(24, 512, 8), "M": IgptSizes(36, 1024, 8), "L": IgptSizes(48, 1536, 16)}
"""The models whose checkpoints were published, autoregressive ones and the same sizes trained as BERT."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a tensor of transformers is made.

    Attributes
    ----------
    shape
        Its shape.
    how
        ``copied``; ``qkv``: of three variables, transposed and side by side; ``merged``: heads and what is
        within them become one axis; ``colors``: the embedding and the start token below it; ``zeros``.
    sources
        The variables.
    """

    shape: Shape
    how: Literal["copied", "qkv", "merged", "colors", "zeros"]
    sources: tuple[str, ...] = ()


def variables_of(sizes: IgptSizes) -> dict[str, Shape]:
    """Every variable of a checkpoint, without its optimizer."""
    width, by_head = sizes.n_embd, (sizes.n_head, sizes.n_embd // sizes.n_head, sizes.n_embd)
    shapes: dict[str, Shape] = {"model/wpe": (sizes.n_ctx, width)}
    shapes |= {f"model/{name}": (sizes.n_vocab, width) for name in ("wte", "wtet")}
    if not sizes.is_bert:
        shapes[SOS] = (width,)
    for layer in range(sizes.n_layer):
        block = f"model/h{layer}"
        shapes |= {f"{block}/{norm}/g": (width,) for norm in ("ln_1", "ln_2")}
        shapes |= {f"{block}/attn/{part}_proj": by_head for part in "qkvc"}
        shapes[f"{block}/mlp/c_fc/w"] = (width, 4 * width)
        shapes[f"{block}/mlp/c_proj/w"] = (4 * width, width)
    return shapes | {"model/ln_f/g": (width,)}


def tensors_of(sizes: IgptSizes) -> dict[str, Made]:
    """Every tensor of ImageGPTForCausalImageModeling, and what it is made of."""
    width, colors = sizes.n_embd, ("model/wte",) if sizes.is_bert else ("model/wte", SOS)
    made = {
        "transformer.wte.weight": Made((sizes.n_vocab + 1, width), "colors", colors),
        "transformer.wpe.weight": Made((sizes.n_ctx, width), "copied", ("model/wpe",)),
        "transformer.ln_f.weight": Made((width,), "copied", ("model/ln_f/g",)),
        "lm_head.weight": Made((sizes.n_vocab, width), "copied", ("model/wtet",)),
    }
    for layer in range(sizes.n_layer):
        ours, theirs = f"transformer.h.{layer}", f"model/h{layer}"
        for norm in ("ln_1", "ln_2"):
            made[f"{ours}.{norm}.weight"] = Made((width,), "copied", (f"{theirs}/{norm}/g",))
        qkv = tuple(f"{theirs}/attn/{part}_proj" for part in "qkv")
        made[f"{ours}.attn.c_attn.weight"] = Made((width, 3 * width), "qkv", qkv)
        made[f"{ours}.attn.c_proj.weight"] = Made((width, width), "merged", (f"{theirs}/attn/c_proj",))
        made[f"{ours}.mlp.c_fc.weight"] = Made((width, 4 * width), "copied", (f"{theirs}/mlp/c_fc/w",))
        made[f"{ours}.mlp.c_proj.weight"] = Made((4 * width, width), "copied", (f"{theirs}/mlp/c_proj/w",))
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
            n_out = made[f"{ours}.{part}.weight"].shape[1]
            made[f"{ours}.{part}.bias"] = Made((n_out,), "zeros")
    return made


def make(made: Made, read: Callable[[str], Array], dtype: npt.DTypeLike) -> Array:
    """Make one tensor.

    Parameters
    ----------
    read
        The values of a variable.
    dtype
        Type of all variables, which tensors keep.
    """
    parts = [read(name) for name in made.sources]
    if made.how == "zeros":
        tensor = np.zeros(made.shape, dtype)
    elif made.how == "qkv":
        width = made.shape[0]
        tensor = np.concatenate([part.reshape(width, width).T for part in parts], axis=1)
    elif made.how == "colors":
        sos = parts[1] if len(parts) > 1 else np.zeros(made.shape[1], dtype)
        tensor = np.concatenate([parts[0], sos[None]])
    else:
        tensor = parts[0].reshape(made.shape)
    return np.ascontiguousarray(tensor)


def split_names(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The variables of the model, those of its optimizer, and those of a classifier on top."""
    optimizer = [name for name in names if _OPTIMIZER.search(name)]
    classifier = [name for name in names if name.startswith(_CLASSIFIER) and not _OPTIMIZER.search(name)]
    left_out = {*optimizer, *classifier}
    return [name for name in names if name not in left_out], optimizer, classifier


def sizes_of(shapes: Mapping[str, Shape], where: str, *, is_bert: bool, n_head: int | None) -> IgptSizes:
    """The sizes of a checkpoint, all of whose variables are there and fit.

    Parameters
    ----------
    shapes
        Those of the model's variables.
    where
        What the checkpoint is called in messages.
    is_bert
        Whether it is said to be trained as BERT.
    n_head
        How many heads it is said to have; None if nothing is said: the variables tell.

    Raises
    ------
    InputError
        It is not a checkpoint of Image GPT, or has another number of heads.
    ProblemsError
        Variables are missing, unknown, or of another shape; all of it at once.
    """
    wanted = {FIRST_QUERY: 3, "model/wpe": 2, "model/wte": 2}
    strange = [
        f"{name} ({shapes.get(name, 'missing')})"
        for name, n_axes in wanted.items()
        if len(shapes.get(name, ())) != n_axes or 0 in shapes[name]
    ]
    if strange:
        raise InputError(
            f"{where} is no checkpoint of Image GPT: expected {FIRST_QUERY} (heads, within a head, width), "
            f"model/wpe (pixels, width) and model/wte (colors, width); found {', '.join(strange)}: "
            f"{_OTHER}"
        )
    found_heads, _, width = shapes[FIRST_QUERY]
    if n_head not in (None, found_heads):
        raise InputError(
            f"{where} has {found_heads} heads, as {FIRST_QUERY} {shapes[FIRST_QUERY]} says; "
            f"expected {n_head}: leave --n-head out, or name another checkpoint"
        )
    layers = [int(match[1]) for name in shapes if (match := _LAYER.match(name))]
    sizes = IgptSizes(
        n_layer=1 + max(layers),
        n_embd=width,
        n_head=found_heads,
        n_ctx=shapes["model/wpe"][0],
        n_vocab=shapes["model/wte"][0],
        is_bert=is_bert,
    )
    if problems := _problems(shapes, sizes):
        raise ProblemsError([f"{where} {problem}" for problem in problems])
    return sizes


def _problems(shapes: Mapping[str, Shape], sizes: IgptSizes) -> list[str]:
    expected = variables_of(sizes)
    missing = [name for name in expected if name not in shapes and name != SOS]
    unknown = [name for name in shapes if name not in expected and name != SOS]
    misfits = [
        f"{name} has shape {shapes[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    problems = []
    if missing:
        problems.append(
            f"lacks {len(missing)} variables of an Image GPT of its size: {shortened(missing, _SHOWN)}: "
            "fetch it again"
        )
    if unknown:
        problems.append(
            f"has {len(unknown)} variables that Image GPT has not: {shortened(unknown, _SHOWN)}: {_OTHER}"
        )
    if misfits:
        problems.append(f"has variables that do not fit each other: {shortened(misfits, _SHOWN)}: {_OTHER}")
    if SOS in expected and SOS not in shapes:
        problems.append(f"lacks {SOS}, the start token: if it was trained as BERT, say so by --bert")
    if SOS in shapes and SOS not in expected:
        problems.append(f"has {SOS}, a start token, so it was not trained as BERT: leave --bert out")
    if sizes.n_embd % sizes.n_head:
        problems.append(f"has {sizes.n_head} heads, which do not divide its width {sizes.n_embd}: {_OTHER}")
    if math.isqrt(sizes.n_ctx) ** 2 != sizes.n_ctx:
        problems.append(
            f"has {sizes.n_ctx} positions (model/wpe), expected the pixels of a square image: {_OTHER}"
        )
    return problems


def config_of(sizes: IgptSizes, dtype: str) -> dict[str, Any]:
    """The config.json of a model, with the settings of those on the hub; all variables have `dtype`."""
    config = {
        "activation_function": "quick_gelu",
        "architectures": ["ImageGPTForCausalImageModeling"],
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "imagegpt",
        "n_embd": sizes.n_embd,
        "n_head": sizes.n_head,
        "n_inner": None,
        "n_layer": sizes.n_layer,
        "n_positions": sizes.n_ctx,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": sizes.n_vocab + 1,
    }
    if sizes.is_bert:
        config |= {"bert": True, "sos_row": "zeros: trained as BERT, without a start token or causal mask"}
    return config


def preprocessor_of(sizes: IgptSizes, clusters: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The preprocessor_config.json: the colors, float32 (n_vocab, 3) in [-1, 1], and the image's size."""
    n_side = math.isqrt(sizes.n_ctx)
    return {
        "clusters": clusters.astype(np.float64).tolist(),
        "do_color_quantize": True,
        "do_normalize": True,
        "do_resize": True,
        "image_processor_type": "ImageGPTImageProcessor",
        "resample": 2,
        "size": {"height": n_side, "width": n_side},
    }
