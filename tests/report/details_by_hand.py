"""Details of one sample as `open_details` gives them, with values that can be told apart."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hpcgeom.report.detail_figures import detail_figures

IDS = (7, 6, 5, 5, 9, 101, 50256, 3)


def input_ids(n: int) -> np.ndarray:
    return np.array([IDS[i % len(IDS)] + i // len(IDS) for i in range(n)])


def group(variables: dict, n_tokens: int, layers: int = 0, first: int = 1, **attrs: object) -> xr.Dataset:
    found = xr.Dataset(variables, attrs={"sample": "p3", **attrs})
    found["input_id"] = ("position", input_ids(n_tokens))
    return found.assign_coords(layer=np.arange(first, first + layers)) if layers else found


def attention(n_layers: int, n_heads: int, n: int, seed: int = 0) -> xr.Dataset:
    shares = np.random.default_rng(seed).dirichlet(np.ones(n), (n_layers, n_heads, n)).astype(np.float32)
    return group({"attention": (("layer", "head", "query", "key"), shares)}, n, n_layers)


def activations(n_layers: int, n: int, width: int, first: int = 1, **attrs: object) -> xr.Dataset:
    values = np.random.default_rng(1).standard_normal((n_layers, n, width)).astype(np.float32)
    return group({"activations": (("layer", "position", "feature"), values)}, n, n_layers, first, **attrs)


def outputs(site: str, n: int, n_outputs: int) -> xr.Dataset:
    logits = 3 * np.random.default_rng(2).standard_normal((n, n_outputs)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return group({site: (("position", "token"), logits if site == "logits" else shares)}, n)


def classes(site: str, n_classes: int, n: int = 5) -> xr.Dataset:
    values = np.random.default_rng(3).permutation(n_classes).astype(np.float32) / n_classes
    return group({site: (("class",), values)}, n)


def lens(n_layers: int, n: int, n_outputs: int) -> xr.Dataset:
    rng = np.random.default_rng(4)
    variables: dict = {
        name: (("layer", "position"), rng.uniform(low, high, (n_layers, n)).astype(np.float32))
        for name, low, high in (("entropy", 0, 3), ("kl_to_last", 0, 2), ("cosine_to_last", -0.2, 1))
    }
    top = ("layer", "position", "top")
    variables["top_token"] = (top, rng.integers(0, n_outputs, (n_layers, n, 10)))
    variables["top_probability"] = (top, -np.sort(-rng.random((n_layers, n, 10)).astype(np.float32)))
    return group(variables, n, n_layers, first=0)


def tree(groups: dict[str, xr.Dataset]) -> xr.DataTree:
    root = xr.Dataset(attrs={"model": "toy"})
    return xr.DataTree.from_dict({"/": root, **{f"/{path}": each for path, each in groups.items()}})


def drawn(groups: dict[str, xr.Dataset], texts: dict[int, str] | None = None) -> dict[str, Figure]:
    return {each.name: each.draw() for each in detail_figures(tree(groups), texts)}


def only(groups: dict[str, xr.Dataset], texts: dict[int, str] | None = None) -> Figure:
    (figure,) = drawn(groups, texts).values()
    return figure


def images(figure: Figure) -> list[AxesImage]:
    """All heat maps of a page, from top to bottom, row by row."""
    return [image for axes in figure.axes for image in axes.images]


def inside(figure: Figure) -> list[str]:
    """What is written within the panels, titles of heads left out."""
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [text for text in texts if not text.startswith("head ")]


def headings(figure: Figure) -> list[str]:
    """Titles of layers and heads, as they are read."""
    heads = [text.get_text() for axes in figure.axes for text in axes.texts]
    layers = [text.get_text() for text in figure.texts if text.get_gid() is None]
    return layers + [text for text in heads if text.startswith("head ")]
