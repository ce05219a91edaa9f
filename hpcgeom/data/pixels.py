"""Bytes of an image file to pixels, strictly; and pixels to the small square that iGPT reads."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hpcgeom.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Alpha = Literal["error", "white", "black"]
Interpolation = Literal["area", "bilinear", "bicubic", "lanczos"]
Pixels = npt.NDArray[np.uint8]
"""(H, W, 3): red, green, blue."""

CROP_SIDE = 224
MIN_SIDE = 8

# What is opened: no format of Pillow's that runs other programs (EPS) or that nobody keeps photographs in.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_MODES = ("1", "L", "P", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
# Pillow keeps the high byte of 16-bit colors in silence; only the raw mode of the file's tiles tells.
# BGR;16 is not meant: 5 or 6 bits per channel.
_SIXTEEN_BITS = re.compile(r"\b(?!BGR)[A-Za-z]+;16")


def decode(raw: bytes, sample_id: str, alpha: Alpha = "error") -> Pixels:
    """Decode an image file with Pillow.

    The format (BMP, GIF, JPEG, PNG, TIFF, WebP) is seen from the bytes. The orientation of EXIF is applied.
    Gray and bilevel become three equal channels, a palette its colors, YCbCr is converted as Pillow does,
    and CMYK becomes ``(255 - K) (255 - C) / 255`` for red and so on; color profiles and gamma are not
    applied. What Pillow only warns about (damaged EXIF, as a rule) does not make an image unreadable;
    Python's warning filters are changed meanwhile, so one thread of a process may decode at a time.

    Parameters
    ----------
    raw
        The file.
    sample_id
        For messages.
    alpha
        What becomes of transparent pixels: an error, or the color behind them. An alpha channel that is
        opaque throughout is dropped.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    InputError
        If the file is empty, truncated, damaged or of another format; has more than 8 bits a channel, more
        than one frame, or more pixels than Pillow's ``MAX_IMAGE_PIXELS``; or holds transparent pixels where
        `alpha` is ``error``. Also if somebody told Pillow to fill truncated images up with gray.
    """
    if alpha not in ("error", "white", "black"):
        raise InputError(f"alpha is {alpha!r}; expected 'error', 'white' or 'black': choose one of them")
    if not raw:
        raise InputError(f"{sample_id!r} has no bytes: copy it again, or exclude it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decoded(raw, sample_id, alpha)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged bytes raise whatever they stumble over
        name = type(error).__name__
        reason = "no format that is read" if name == "UnidentifiedImageError" else f"{name}: {error}"
        raise InputError(
            f"{sample_id!r} cannot be decoded ({reason}; {len(raw)} bytes, starting with {raw[:12]!r}): it "
            "is truncated, damaged or not an image; copy it again, or exclude it"
        ) from error


def check_array(array: npt.NDArray[Any], sample_id: str) -> Pixels:
    """Check that an array holds pixels: uint8, (H, W, 3). Nothing is scaled, moved or guessed.

    Raises
    ------
    InputError
        If it is of another type or shape, or empty.
    """
    shape = np.shape(array)
    expected = "expected uint8 of shape (height, width, 3)"
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(
            f"{sample_id!r}: the image holds {found} of shape {shape}; {expected}: scale and round it first"
        )
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        raise InputError(
            f"{sample_id!r}: the image has shape {shape}, channels first; {expected}: transpose it to that"
        )
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise InputError(f"{sample_id!r}: the image has shape {shape}; {expected}: convert it to RGB")
    return array


def paper_pixels(
    image: Pixels, n_side: int, interpolation: Interpolation = "area", *, sample_id: str = "image"
) -> Pixels:
    """Make the square of iGPT: shorter side to 224, center crop of 224 x 224, reduced to `n_side`.

    These steps are the paper's (Chen et al., Generative pretraining from pixels, 2020), which states no
    interpolation. Ours: the shorter side is resized by Pillow's antialiased bicubic filter, the
    longer one to ``224 long / short`` pixels, rounded half up; the crop starts at ``(length - 224) // 2``;
    the reduction takes the mean over the area of each new pixel, exactly, and rounds half up: blocks of 7 x 7
    at 32, parts of pixels at 48 and 64 (where Pillow's box filter takes whole pixels only).

    Parameters
    ----------
    image
        Shape (H, W, 3), uint8.
    n_side
        32, 48 or 64 for iGPT; 8 to 224.
    interpolation
        How the crop is reduced: ``area``, or one of Pillow's antialiased filters.
    sample_id
        For messages.

    Returns
    -------
    ndarray of uint8, shape (n_side, n_side, 3)

    Raises
    ------
    InputError
        If `check_array` would refuse the image, it is too narrow to be resized, or a parameter is out of
        range.
    """
    from PIL import Image

    check_array(image, sample_id)
    filters = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }
    if not MIN_SIDE <= n_side <= CROP_SIDE:
        raise InputError(f"n_side is {n_side}; expected {MIN_SIDE} to {CROP_SIDE}: 32, 48 or 64 for iGPT")
    if interpolation not in ("area", *filters):
        raise InputError(
            f"interpolation is {interpolation!r}; expected 'area', 'bilinear', 'bicubic' or 'lanczos': "
            "choose one of them"
        )
    crop = _center_crop(image, sample_id)
    if interpolation == "area":
        return _area_means(crop, n_side)
    small = Image.fromarray(crop).resize((n_side, n_side), filters[interpolation])
    return np.array(small, dtype=np.uint8)


def _decoded(raw: bytes, sample_id: str, alpha: Alpha) -> Pixels:
    from PIL import Image, ImageFile, ImageOps

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so truncated images would be filled up with gray: "
            "find what sets it (a module of yours?) and remove that"
        )
    try:
        image: Image.Image = Image.open(io.BytesIO(raw), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(sample_id, str(error))) from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:  # at twice the limit Pillow stops by itself
        raise InputError(_too_large(sample_id, f"{image.width} x {image.height} pixels, at most {limit}"))
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        raise InputError(
            f"{sample_id!r} holds {n_frames} frames or pages; expected one: save that wanted, or exclude it"
        )
    _refuse_depth(image, sample_id)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        return _without_alpha(np.array(image.convert("RGBA"), dtype=np.uint8), sample_id, alpha)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _too_large(sample_id: str, found: str) -> str:
    return f"{sample_id!r} is too large to be opened safely ({found}): make it smaller, or exclude it"


def _refuse_depth(image: PillowImage, sample_id: str) -> None:
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    if image.mode.startswith(("I", "F")) or any(map(_SIXTEEN_BITS.search, raw_modes)):
        raise InputError(
            f"{sample_id!r} has more than 8 bits a channel (mode {image.mode}); expected 8: convert it, for "
            "its scale cannot be known"
        )
    if image.mode not in _MODES:
        raise InputError(
            f"{sample_id!r} has the mode {image.mode}; expected one of {', '.join(_MODES)}: convert it to RGB"
        )


def _without_alpha(rgba: Pixels, sample_id: str, alpha: Alpha) -> Pixels:
    opacity = rgba[..., 3:].astype(np.int32)
    n_transparent = int(np.count_nonzero(opacity < 255))
    if not n_transparent:
        return np.ascontiguousarray(rgba[..., :3])
    if alpha == "error":
        raise InputError(
            f"{sample_id!r} has {n_transparent} transparent of {opacity.size} pixels; set alpha to 'white' "
            "or 'black' to put them on that color, or exclude it"
        )
    behind = 255 if alpha == "white" else 0
    mixed = rgba[..., :3] * opacity + behind * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)  # rounded to nearest: 255 is odd, there are no halves


def _center_crop(image: Pixels, sample_id: str) -> Pixels:
    from PIL import Image

    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    resized = (2 * long * CROP_SIDE + short) // (2 * short)
    if Image.MAX_IMAGE_PIXELS is not None and resized * CROP_SIDE > Image.MAX_IMAGE_PIXELS:
        raise InputError(
            f"{sample_id!r} is too narrow ({width} x {height}): with its shorter side at {CROP_SIDE} it "
            f"would have {resized * CROP_SIDE} pixels; exclude it"
        )
    size = (CROP_SIDE, resized) if height > width else (resized, CROP_SIDE)
    whole = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)
    start = (resized - CROP_SIDE) // 2
    top, left = (start, 0) if height > width else (0, start)
    return np.ascontiguousarray(whole[top : top + CROP_SIDE, left : left + CROP_SIDE])


def _area_means(crop: Pixels, n_side: int) -> Pixels:
    """Mean over the area of each new pixel, in integers.

    In units of 1/n_side of a pixel, pixel i covers [i n_side, (i + 1) n_side) and new pixel j covers
    [j side, (j + 1) side); weights are overlaps, and those of one new pixel sum to side^2.
    """
    side = crop.shape[0]
    edges, new_edges = np.arange(side + 1) * n_side, np.arange(n_side + 1) * side
    upper = np.minimum(new_edges[1:, None], edges[None, 1:])
    lower = np.maximum(new_edges[:-1, None], edges[None, :-1])
    weights = np.maximum(upper - lower, 0).astype(np.float64)  # whole numbers: sums stay below 2^53, exact
    sums = np.einsum("iy,yxc,jx->ijc", weights, crop.astype(np.float64), weights, optimize=True)
    total = side * side
    means: Pixels = ((2 * sums.astype(np.int64) + total) // (2 * total)).astype(np.uint8)
    return means
