"""iGPT's words: pixels to the nearest of its colors, and an image to a row of tokens."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hpcgeom.data.files import read_text_file
from hpcgeom.data.npy import map_npy, read_npy_header
from hpcgeom.data.tables import require_suffix, suffix_of
from hpcgeom.data.wording import nearest
from hpcgeom.errors import InputError

N_COLORS = 512
"""Colors of the released iGPT models."""

_BLOCK = 256  # pixels at once: (256, 512) float64 stays in the cache
_KEY = "clusters"
_SLACK = 1e-3


def read_clusters(path: Path | str, n_colors: int = N_COLORS) -> npt.NDArray[np.float32]:
    """Read the colors of an iGPT model: cluster centers of RGB values scaled to [-1, 1].

    Parameters
    ----------
    path
        OpenAI's ``kmeans_centers.npy``, or a ``preprocessor_config.json`` with the key ``clusters``.
    n_colors
        How many there must be; another number belongs to another model.

    Returns
    -------
    ndarray of float32, shape (n_colors, 3)
        The nearest float32 where the file has more digits.

    Raises
    ------
    InputError
        If the file cannot be read, has no clusters, or they are not `n_colors` by 3 finite numbers in [-1, 1]
        (give or take 0.001).
    """
    path = require_suffix(path, (".npy", ".json"))
    found = _npy_clusters(path) if suffix_of(path) == ".npy" else _json_clusters(path)
    if found.shape != (n_colors, 3):
        raise InputError(
            f"{path} has clusters of shape {found.shape}; expected {(n_colors, 3)}: use the file of this "
            "model"
        )
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise InputError(f"{path}: color {row} is not finite: {found[row].tolist()}; copy the file again")
    if (largest := float(np.abs(found).max())) > 1 + _SLACK:
        raise InputError(
            f"{path} has colors up to {largest:g}; expected values in [-1, 1]: scale 0..255 by x / 127.5 - 1"
        )
    return found.astype(np.float32)


def quantize(pixels: npt.NDArray[Any], clusters: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Find the nearest color of each pixel.

    Pixels are scaled to ``x / 127.5 - 1``; distances are sums over the three channels, in order, of squared
    differences in float64; of equally near colors the first is taken.

    Parameters
    ----------
    pixels
        Shape (..., 3): uint8, or floating point in [0, 255].
    clusters
        Shape (n_colors, 3), in [-1, 1].

    Returns
    -------
    ndarray of int64, shape (...)

    Raises
    ------
    InputError
        If shapes or types are others, or floating-point pixels are not finite, outside [0, 255], or all of
        them in [0, 1], which would be a scale of its own.
    """
    _check_pixels(pixels)
    if clusters.ndim != 2 or clusters.shape[1] != 3 or not len(clusters) or clusters.dtype.kind != "f":
        raise InputError(
            f"clusters are {clusters.dtype} of shape {clusters.shape}; expected floating point "
            "(n_colors, 3): convert them"
        )
    flat = pixels.reshape(-1, 3)
    if pixels.dtype != np.uint8:
        nearest_colors = _nearest(flat.astype(np.float64), clusters)
    else:  # images repeat their colors: each is looked up once
        codes = flat.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
        distinct, rows = np.unique(codes, return_inverse=True)
        channels = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1)
        nearest_colors = _nearest(channels.astype(np.float64), clusters)[rows]
    return nearest_colors.reshape(pixels.shape[:-1])


def image_tokens(colors: npt.NDArray[np.integer[Any]], sos: int | None) -> npt.NDArray[np.int64]:
    """Make the row of tokens that an iGPT model reads, in raster order.

    Parameters
    ----------
    colors
        Shape (n_side * n_side,) or (n_side, n_side): one color a pixel.
    sos
        The token that starts a sequence, after which all pixels but the last follow (Chen et al., 2020); no
        such token where None, and all pixels are there.

    Returns
    -------
    ndarray of int64, shape (n_side * n_side,)

    Raises
    ------
    InputError
        If the colors are not whole numbers from 0, do not form a square, or `sos` is one of them.
    """
    if colors.dtype.kind not in "iu" or colors.ndim not in (1, 2) or not colors.size:
        raise InputError(
            f"colors are {colors.dtype} of shape {colors.shape}; expected integers, one a pixel of a square: "
            "convert them"
        )
    n_side = math.isqrt(colors.size)
    if colors.shape not in ((n_side * n_side,), (n_side, n_side)):
        raise InputError(
            f"colors have shape {colors.shape}, which is no square; expected one a pixel of a square: pass "
            "all of them"
        )
    tokens = colors.reshape(-1).astype(np.int64)
    if (smallest := int(tokens.min())) < 0:
        raise InputError(
            f"color {smallest} at pixel {int(tokens.argmin())}; expected numbers from 0: correct it"
        )
    if sos is None:
        return tokens
    if sos < 0 or (tokens == sos).any():
        raise InputError(
            f"sos is {sos}; expected a number from 0 that is not a color, such as {N_COLORS}: choose another"
        )
    return np.concatenate([np.array([sos], dtype=np.int64), tokens[:-1]])


def _check_pixels(pixels: npt.NDArray[Any]) -> None:
    if not pixels.ndim or pixels.shape[-1] != 3 or not pixels.size:
        raise InputError(
            f"pixels have shape {pixels.shape}; expected (..., 3): the channels last, so reshape them"
        )
    if pixels.dtype == np.uint8:
        return
    if pixels.dtype.kind != "f":
        raise InputError(
            f"pixels are {pixels.dtype}; expected uint8, or floating point from 0 to 255: convert them"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):
        raise InputError(f"pixels go from {low:g} to {high:g}; expected 0 to 255: scale or clip them first")
    if 0 < high <= 1:
        raise InputError(
            f"pixels go from {low:g} to {high:g}, a scale of 0 to 1; expected 0 to 255: scale them"
        )


def _nearest(channels: npt.NDArray[np.float64], clusters: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    scaled, centers = channels / 127.5 - 1, clusters.astype(np.float64)
    found = np.empty(len(scaled), dtype=np.int64)
    for start in range(0, len(scaled), _BLOCK):
        block = scaled[start : start + _BLOCK]
        squared = np.zeros((len(block), len(centers)))
        for channel in range(3):
            squared += np.square(block[:, channel, None] - centers[None, :, channel])
        found[start : start + _BLOCK] = squared.argmin(axis=1)
    return found


def _npy_clusters(path: Path) -> npt.NDArray[np.floating[Any]]:
    header = read_npy_header(path)
    if header.dtype.kind != "f":
        raise InputError(
            f"{path} holds {header.dtype}; expected floating-point colors in [-1, 1]: save them as such"
        )
    return map_npy(path)


def _json_clusters(path: Path) -> npt.NDArray[np.floating[Any]]:
    try:
        config = json.loads(read_text_file(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): copy it again") from error
    if not isinstance(config, dict) or config.get(_KEY) is None:
        near = nearest(_KEY, config) if isinstance(config, dict) else ""
        raise InputError(
            f"{path} has no {_KEY!r}{near}: this is not the image processor of an ImageGPT model; use its "
            "preprocessor_config.json or kmeans_centers.npy"
        )
    rows = config[_KEY]
    if not (isinstance(rows, list) and all(isinstance(row, list) and len(row) == 3 for row in rows)):
        raise InputError(f"{path}: {_KEY!r} is not a list of lists of three numbers; copy the file again")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for row in rows for value in row):
        raise InputError(f"{path}: {_KEY!r} holds something that is not a number; copy the file again")
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
