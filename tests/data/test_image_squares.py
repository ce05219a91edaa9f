"""From pixels to the small square that iGPT reads, and arrays that are not pixels."""

import numpy as np
import pytest
from PIL import Image

from hpcgeom.data import check_array, paper_pixels
from hpcgeom.errors import InputError

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            NOISE / 255,
            r"'a': the image holds float64 of shape \(6, 9, 3\); expected uint8 of shape \(height, width, 3",
        ),
        (NOISE.astype(np.int16), "holds int16"),
        ([[1, 2, 3]], "holds list of shape"),
        (NOISE.transpose(2, 0, 1), r"has shape \(3, 6, 9\), channels first; .*: transpose it to that"),
        (NOISE[..., 0], r"has shape \(6, 9\); expected uint8 .*: convert it to RGB"),
        (NOISE[..., :2], r"has shape \(6, 9, 2\)"),
        (NOISE[None], r"has shape \(1, 6, 9, 3\)"),
        (NOISE[:0], r"has shape \(0, 9, 3\)"),
    ],
)
def test_arrays_that_are_not_pixels_are_refused(array, message):
    assert check_array(NOISE, "a") is NOISE
    with pytest.raises(InputError, match=message):
        check_array(array, "a")


def test_at_32_the_new_pixels_are_means_of_blocks_of_7_by_7():
    image = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    means = image.reshape(32, 7, 32, 7, 3).astype(float).mean(axis=(1, 3))
    small = paper_pixels(image, 32)
    np.testing.assert_array_equal(small, np.floor(means + 0.5))
    reduced = np.asarray(Image.fromarray(image).reduce(7)).astype(int)
    assert np.abs(small - reduced).max() <= 1  # Pillow multiplies by a rounded 1/49


@pytest.mark.parametrize("n_side", [8, 48, 64, 100, 223, 224])
def test_areas_agree_with_pixels_cut_into_equal_pieces(n_side):
    image = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    new_of_piece = np.arange(224 * n_side) // 224  # each pixel in n_side pieces, each new one of 224 pieces
    weights = np.zeros((n_side, 224))
    np.add.at(weights, (new_of_piece, np.arange(224 * n_side) // n_side), 1 / 224)
    means = np.stack([weights @ image[..., channel] @ weights.T for channel in range(3)], axis=2)
    small = paper_pixels(image, n_side)
    assert np.abs(small - means).max() <= 0.5 + 1e-9
    assert small.shape == (n_side, n_side, 3)
    if 224 % n_side == 0:  # elsewhere Pillow's box counts whole pixels, and is no area mean
        box = np.asarray(Image.fromarray(image).resize((n_side, n_side), Image.Resampling.BOX))
        assert np.abs(small.astype(int) - box).max() <= 1  # and it rounds between its two passes


def test_halves_are_rounded_up():
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    image[::2] = 1
    np.testing.assert_array_equal(paper_pixels(image, 112), 1)


@pytest.mark.parametrize(
    ("height", "width", "length", "start"),
    [(100, 150, 336, 56), (150, 100, 336, 56), (3, 4, 299, 37), (448, 449, 225, 0), (500, 375, 299, 37)],
)
def test_the_crop_is_the_center_after_the_shorter_side_is_224(height, width, length, start):
    image = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = (length, 224) if width > height else (224, length)
    whole = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    crop = whole[:, start : start + 224] if width > height else whole[start : start + 224]
    np.testing.assert_array_equal(paper_pixels(image, 224), crop)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_the_filters_of_pillow_may_be_asked_for(interpolation):
    image = RNG.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(paper_pixels(image, 32, interpolation), np.asarray(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_side": 7}, "n_side is 7; expected 8 to 224: 32, 48 or 64 for iGPT"),
        ({"n_side": 225}, "n_side is 225; expected 8 to 224"),
        (
            {"n_side": 32, "interpolation": "box"},
            "interpolation is 'box'; expected 'area', 'bilinear', 'bicubic' or 'lanczos': choose one of them",
        ),
    ],
)
def test_sizes_and_filters_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        paper_pixels(NOISE, **options)


def test_images_too_narrow_to_be_resized_are_refused():
    narrow = np.zeros((1, 2000, 3), dtype=np.uint8)
    with pytest.raises(
        InputError, match=r"'a' is too narrow \(2000 x 1\): .* at 224 it would have 100352000 pixels"
    ):
        paper_pixels(narrow, 32, sample_id="a")
    with pytest.raises(InputError, match="'a': the image holds float64"):
        paper_pixels(NOISE / 255, 32, sample_id="a")
