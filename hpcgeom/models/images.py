"""Images as models read them: colors for iGPT, normalized pixels for vision transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.data.colors import image_tokens, quantize, read_clusters
from hpcgeom.data.pixels import decode, paper_pixels
from hpcgeom.errors import InputError
from hpcgeom.models.checkpoint import read_json
from hpcgeom.models.encodings import Encoding
from hpcgeom.models.limits import Limits
from hpcgeom.models.request import ModelRequest

PREPROCESSOR = "preprocessor_config.json"
PALETTE = "kmeans_centers.npy"
Transparent = Literal["error", "white", "black"]


def start_token(request: ModelRequest) -> int | None:
    """The id that stands before an image's colors: the last of an iGPT's vocabulary.

    None for one that was trained as BERT is, and where images are encoded as transformers does.
    """
    if request.image_pipeline == "huggingface" or request.config_settings().get("bert", False):
        return None
    return int(request.config_settings()["vocab_size"]) - 1


def color_encoding(colors: npt.NDArray[np.int64], start: int | None) -> Encoding:
    """Colors (T,) in raster order; with a start token before them the last one is not read."""
    ids = image_tokens(colors, start)
    special = np.zeros(len(ids), bool)
    special[0] = start is not None
    return Encoding(ids, special)


class ColorEncoder:
    """Images as rows of colors (Chen et al. 2020): the pipeline of the paper, or that of transformers.

    Parameters
    ----------
    request
        Of family igpt; `image_pipeline` and `clusters` are read.
    limits
        Of the same model: one position a pixel.
    transparent
        What is done with transparent pixels.

    Raises
    ------
    InputError
        There is no palette, it has another number of colors than the model, the model's positions are not a
        square, or the preprocessor makes images of another size.
    """

    pad_id = 0

    def __init__(self, request: ModelRequest, limits: Limits, transparent: Transparent) -> None:
        self.n_tokens: int | None = limits.max_tokens
        self._side = _side_of(request, limits.max_tokens or 0)
        self._transparent, self._start = transparent, start_token(request)
        self._clusters = _clusters(request, (limits.vocab_size or 0) - 1)
        self._processor = (
            _igpt_processor(request, self._side, self._clusters)
            if request.image_pipeline == "huggingface"
            else None
        )

    def encode(self, ids: Sequence[str], contents: Sequence[Any]) -> list[list[Encoding]]:
        """See `hpcgeom.models.encoders.Encoder.encode`."""
        return [[self._encode(name, raw)] for name, raw in zip(ids, contents, strict=True)]

    def _encode(self, name: str, raw: bytes) -> Encoding:
        image = decode(raw, name, self._transparent)
        if self._processor is None:
            colors = quantize(paper_pixels(image, self._side), self._clusters).ravel()
        else:
            found = self._processor(image, return_tensors="np", input_data_format="channels_last")
            colors = np.asarray(found["input_ids"][0], dtype=np.int64)
        return color_encoding(colors, self._start)


class PixelEncoder:
    """Images as normalized pixels, by the preprocessor that the model's folder describes.

    Raises
    ------
    InputError
        The folder has no preprocessor_config.json, or it makes images of another size than the model reads.
    """

    pad_id = 0

    def __init__(self, request: ModelRequest, limits: Limits, transparent: Transparent) -> None:
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        self.n_tokens: int | None = limits.max_tokens
        self._shape, self._transparent = limits.image_shape, transparent
        settings = _preprocessor(request, required=request.weights is None)
        if not settings and limits.image_shape is not None:
            settings = {"size": {"height": limits.image_shape[1], "width": limits.image_shape[2]}}
        self._processor = ViTImageProcessorPil(**settings)
        probe = self._pixels(np.zeros((8, 8, 3), np.uint8))
        if probe.shape != self._shape:
            raise InputError(
                f"{_folder(request) / PREPROCESSOR} makes images of shape {probe.shape}, but model "
                f"'{request.name}' reads {self._shape}: it belongs to another model: fetch that of this one"
            )

    def encode(self, ids: Sequence[str], contents: Sequence[Any]) -> list[list[Encoding]]:
        """See `hpcgeom.models.encoders.Encoder.encode`."""
        special = np.arange(self.n_tokens or 0) == 0  # the class token
        return [
            [
                Encoding(
                    np.zeros(len(special), np.int64),
                    special,
                    pixels=self._pixels(decode(raw, name, self._transparent)),
                )
            ]
            for name, raw in zip(ids, contents, strict=True)
        ]

    def _pixels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        found = self._processor(image, return_tensors="np", input_data_format="channels_last")
        return np.asarray(found["pixel_values"][0], dtype=np.float32)


def _side_of(request: ModelRequest, n_pixels: int) -> int:
    side = math.isqrt(n_pixels)
    if side * side != n_pixels or side == 0:
        raise InputError(
            f"model '{request.name}' has {n_pixels} positions, which are not the pixels of a square image: "
            "expected 32 x 32, 48 x 48 or 64 x 64: name an iGPT for images"
        )
    return side


def _clusters(request: ModelRequest, n_colors: int) -> npt.NDArray[np.float32]:
    folder = request.folder
    candidates = [request.clusters] if request.clusters else []
    candidates += [folder / name for name in (PALETTE, PREPROCESSOR)] if folder else []
    for path in candidates:
        if path is not None and (path == request.clusters or path.is_file()):
            return read_clusters(path, n_colors)
    raise InputError(
        f"model '{request.name}' has no palette: expected {PALETTE} or {PREPROCESSOR} in its folder: name "
        "the file as `clusters`"
    )


def _igpt_processor(request: ModelRequest, side: int, clusters: npt.NDArray[np.float32]) -> Any:
    from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil

    settings = _preprocessor(request, required=request.weights is None)
    kept = {key: value for key, value in settings.items() if key not in ("clusters", "do_color_quantize")}
    kept.setdefault("size", {"height": side, "width": side})
    processor = ImageGPTImageProcessorPil(clusters=clusters, **kept)
    found = (processor.size["height"], processor.size["width"])
    if found != (side, side):
        raise InputError(
            f"{_folder(request) / PREPROCESSOR} makes images of {found[0]} x {found[1]}, but model "
            f"'{request.name}' has {side} x {side} positions: it belongs to another model: fetch "
            "that of this one"
        )
    return processor


def _preprocessor(request: ModelRequest, *, required: bool) -> dict[str, Any]:
    folder = _folder(request)
    if not required and not (folder / PREPROCESSOR).is_file():
        return {}
    ignored = ("image_processor_type", "feature_extractor_type", "processor_class", "image_processor_class")
    return {key: value for key, value in read_json(folder / PREPROCESSOR).items() if key not in ignored}


def _folder(request: ModelRequest) -> Path:
    return request.folder or Path()
