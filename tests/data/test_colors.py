"""Nearest colors against brute force and transformers; files of colors; rows of tokens."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hpcgeom.data import N_COLORS, image_tokens, quantize, read_clusters
from hpcgeom.errors import InputError

RNG = np.random.default_rng(3)
CLUSTERS = RNG.uniform(-1, 1, (512, 3)).astype(np.float32)


def brute_force(pixels, clusters):
    """All differences at once, in float64; argmin takes the first of equals."""
    scaled = pixels.astype(np.float64) / 127.5 - 1
    return ((scaled[..., None, :] - clusters.astype(np.float64)) ** 2).sum(axis=-1).argmin(axis=-1)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (700, 3), (2, 5, 7, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_nearest_color_is_that_of_brute_force(shape, dtype):
    pixels = RNG.uniform(0, 255.99, shape).astype(dtype).clip(0, 255)
    found = quantize(pixels, CLUSTERS)
    assert (found.dtype, found.shape) == (np.int64, shape[:-1])
    np.testing.assert_array_equal(found, brute_force(pixels, CLUSTERS))


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=2, max_side=9).map(lambda shape: (*shape, 3))),
    hnp.arrays(
        np.float32, st.integers(1, 9).map(lambda n: (n, 3)), elements=st.sampled_from([-1, -0.5, 0, 0.5, 1])
    ),
)
def test_of_equally_near_colors_the_first_is_taken(pixels, clusters):
    np.testing.assert_array_equal(quantize(pixels, clusters), brute_force(pixels, clusters))


def test_ties_go_to_the_smaller_number():
    gray = np.full((2, 3), 127.5)
    assert quantize(gray, np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32)).tolist() == [0, 0]
    assert quantize(gray, np.array([[1, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=np.float32)).tolist() == [1, 1]


def test_colors_agree_with_the_image_processor_of_transformers():
    import transformers  # here, for it takes seconds

    pixels = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    processor = transformers.ImageGPTImageProcessor(clusters=CLUSTERS.tolist(), do_resize=False)
    theirs = processor([Image.fromarray(image) for image in pixels])["input_ids"]
    np.testing.assert_array_equal(quantize(pixels, CLUSTERS).reshape(2, -1), np.asarray(theirs))


def test_the_files_that_transformers_writes_are_read(tmp_path):
    import transformers

    transformers.ImageGPTImageProcessor(clusters=CLUSTERS.tolist()).save_pretrained(tmp_path)
    np.testing.assert_array_equal(read_clusters(tmp_path / "preprocessor_config.json"), CLUSTERS)


def test_a_batch_of_images_takes_little_memory():
    pixels = RNG.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    tracemalloc.start()
    found = quantize(pixels, CLUSTERS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * found.size  # bytes a pixel; all distances at once would take 4096
    np.testing.assert_array_equal(found[:2], brute_force(pixels[:2], CLUSTERS))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.zeros((3, 4), dtype=np.uint8),
            r"pixels have shape \(3, 4\); expected \(..., 3\): the channels last, so reshape them",
        ),
        (np.uint8(3), r"pixels have shape \(\)"),
        (np.zeros((0, 3), dtype=np.uint8), r"pixels have shape \(0, 3\)"),
        (
            np.zeros((2, 3), dtype=np.int64),
            "pixels are int64; expected uint8, or floating point from 0 to 255: convert them",
        ),
        (np.full((2, 3), 256.0), "pixels go from 256 to 256; expected 0 to 255: scale or clip them first"),
        (np.full((2, 3), -0.5), "pixels go from -0.5 to -0.5"),
        (np.array([[0, 1, np.nan]]), "pixels go from nan to nan"),
        (np.array([[0, 0.5, 1]]), "pixels go from 0 to 1, a scale of 0 to 1; expected 0 to 255: scale them"),
    ],
)
def test_pixels_of_another_scale_or_shape_are_refused(pixels, message):
    with pytest.raises(InputError, match=message):
        quantize(pixels, CLUSTERS)


def test_black_floats_are_black():
    assert quantize(np.zeros((2, 3)), np.array([[1, 1, 1], [-1, -1, -1]], dtype=np.float32)).tolist() == [
        1,
        1,
    ]


@pytest.mark.parametrize("clusters", [CLUSTERS[:, :2], CLUSTERS[0], CLUSTERS[:0], CLUSTERS.astype(np.int8)])
def test_clusters_of_another_shape_are_refused(clusters):
    with pytest.raises(
        InputError, match=r"clusters are .* of shape .*; expected floating point \(n_colors, 3\): conv"
    ):
        quantize(np.zeros((2, 3), dtype=np.uint8), clusters)


def test_clusters_come_back_from_both_files(tmp_path):
    np.save(tmp_path / "kmeans_centers.npy", CLUSTERS)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"clusters": CLUSTERS.tolist(), "do_color_quantize": True})
    )
    for name in ("kmeans_centers.npy", "preprocessor_config.json"):
        found = read_clusters(tmp_path / name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, CLUSTERS)
    np.save(tmp_path / "few.npy", CLUSTERS[:7].astype(np.float64))
    np.testing.assert_array_equal(read_clusters(tmp_path / "few.npy", n_colors=7), CLUSTERS[:7])
    assert N_COLORS == 512


def changed(row, column, value):
    clusters = CLUSTERS.copy()
    clusters[row, column] = value
    return clusters


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (
            CLUSTERS[:256],
            r"has clusters of shape \(256, 3\); expected \(512, 3\): use the file of this model",
        ),
        (CLUSTERS.T, r"has clusters of shape \(3, 512\)"),
        (changed(7, 1, np.nan), r"color 7 is not finite: \[.*nan.*\]; copy the file again"),
        (changed(7, 1, np.inf), "color 7 is not finite"),
        (changed(7, 1, 1.0011), "has colors up to 1.0011"),
        (
            changed(7, 1, -1.1),
            r"has colors up to 1.1; expected values in \[-1, 1\]: scale 0..255 by x / 127.5 - 1",
        ),
        ((CLUSTERS + 1) * 127.5, "has colors up to 25"),
        (CLUSTERS.astype(np.int32), r"holds int32; expected floating-point colors in \[-1, 1\]: save"),
    ],
)
def test_clusters_of_another_model_or_scale_are_refused(clusters, message, tmp_path):
    np.save(tmp_path / "kmeans_centers.npy", clusters)
    with pytest.raises(InputError, match=message):
        read_clusters(tmp_path / "kmeans_centers.npy")


def test_colors_may_leave_the_range_by_rounding(tmp_path):
    np.save(tmp_path / "kmeans_centers.npy", changed(0, 0, 1.0009))
    assert read_clusters(tmp_path / "kmeans_centers.npy")[0, 0] == np.float32(1.0009)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"image_mean": [0.5]}',
            "has no 'clusters': this is not the image processor of an ImageGPT model; use its",
        ),
        ('{"cluster": []}', r"has no 'clusters' \(nearest: 'cluster'\)"),
        ('{"clusters": null}', r"has no 'clusters'.*: this is not the image processor"),
        ("[]", "has no 'clusters'"),
        ("{", r"is not JSON \(.*\): copy it again"),
        ('{"clusters": [[0, 0, 0], [0, 0]]}', "'clusters' is not a list of lists of three numbers"),
        ('{"clusters": 3}', "'clusters' is not a list of lists of three numbers"),
        ('{"clusters": [[0, 0, "0"]]}', "'clusters' holds something that is not a number"),
        ('{"clusters": [[0, 0, true]]}', "'clusters' holds something that is not a number"),
        ('{"clusters": []}', r"has clusters of shape \(0, 3\); expected \(512, 3\)"),
    ],
)
def test_configs_without_clusters_are_refused(text, message, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_clusters(tmp_path / "preprocessor_config.json")


def test_files_of_clusters_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"the suffix is '.txt'; expected one of .npy, .json"):
        read_clusters(tmp_path / "centers.txt")
    np.save(tmp_path / "kmeans_centers.npy", np.array([[None] * 3] * 512), allow_pickle=True)
    with pytest.raises(InputError, match="holds Python objects"):
        read_clusters(tmp_path / "kmeans_centers.npy")


def test_tokens_are_pixels_in_raster_order_after_the_start():
    colors = np.arange(16).reshape(4, 4) % 13
    flat = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 2]
    assert image_tokens(colors, None).tolist() == flat
    tokens = image_tokens(colors.ravel().astype(np.int16), 512)
    assert tokens.tolist() == [512, *flat[:-1]]
    assert tokens.dtype == np.int64


@pytest.mark.parametrize(
    ("colors", "sos", "message"),
    [
        (np.zeros(4), 512, r"colors are float64 of shape \(4,\); expected integers, one a .*: convert them"),
        (np.zeros((1, 2, 2), dtype=int), 512, r"colors are int64 of shape \(1, 2, 2\)"),
        (np.zeros(0, dtype=int), 512, r"colors are int64 of shape \(0,\)"),
        (np.zeros(5, dtype=int), 512, r"colors have shape \(5,\), which is no square; .*: pass all of them"),
        (np.zeros((2, 8), dtype=int), 512, r"colors have shape \(2, 8\), which is no square"),
        (np.array([0, 1, -1, 2]), 512, "color -1 at pixel 2; expected numbers from 0: correct it"),
        (
            np.array([0, 1, 3, 2]),
            3,
            "sos is 3; expected a number from 0 that is not a .*, such as 512: choose another",
        ),
        (np.array([0, 1, 3, 2]), -1, "sos is -1; expected a number from 0"),
    ],
)
def test_colors_that_make_no_square_of_tokens_are_refused(colors, sos, message):
    with pytest.raises(InputError, match=message):
        image_tokens(colors, sos)
