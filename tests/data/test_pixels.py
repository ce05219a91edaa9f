"""Image files to pixels: against Pillow, files written by hand, and arithmetic."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from hpcgeom.data import decode
from hpcgeom.errors import InputError

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
WAVES = (np.add.outer(np.arange(40), np.arange(60))[..., None] * np.array([1, 2, 3]) % 256).astype(np.uint8)


def saved(image, file_format, **options):
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, file_format, **options)
    return file.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, depth, color_type, rows, between=b""):
    """Write a PNG as its specification says (ISO/IEC 15948), without Pillow."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def tiff_of_16_bits():
    """Write 1 x 1 RGB of 16 bits a channel (TIFF 6.0), which Pillow cannot write."""
    tags = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 3, 122),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 128),
    ]
    tags += [(277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 9)
        + entries
        + bytes(4)
        + struct.pack("<6H", 16, 16, 16, 9, 9, 9)
    )


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_files_give_their_pixels(file_format, options):
    pixels = decode(saved(NOISE, file_format, **options), "a")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, NOISE)


def test_jpeg_is_decoded_as_pillow_does():
    raw = saved(WAVES, "JPEG")
    np.testing.assert_array_equal(decode(raw, "a"), np.asarray(Image.open(io.BytesIO(raw))))


def test_gray_and_bilevel_become_three_equal_channels():
    gray = NOISE[..., 0]
    np.testing.assert_array_equal(decode(saved(gray, "PNG"), "a"), np.stack([gray] * 3, axis=2))
    bits = decode(png(8, 1, 1, 0, [b"\xa5"]), "a")
    np.testing.assert_array_equal(bits[0, :, 0], [255, 0, 255, 0, 0, 255, 0, 255])
    two_bits = decode(png(4, 1, 2, 0, [b"\x1b"]), "a")  # 0, 1, 2, 3 of 3
    np.testing.assert_array_equal(two_bits[0, :, 1], [0, 85, 170, 255])


def test_palettes_become_their_colors():
    palette = chunk(b"PLTE", bytes([1, 2, 3, 250, 251, 252]))
    pixels = decode(png(2, 1, 8, 3, [b"\x01\x00"], palette), "a")
    np.testing.assert_array_equal(pixels, [[[250, 251, 252], [1, 2, 3]]])


def test_cmyk_becomes_rgb_by_its_formula():
    inks = RNG.integers(0, 256, (5, 4, 4), dtype=np.uint8)
    pixels = decode(saved(Image.frombytes("CMYK", (4, 5), inks.tobytes()), "TIFF"), "a")
    paper = 255 - inks.astype(float)
    np.testing.assert_array_equal(pixels, np.round(paper[..., 3:] * paper[..., :3] / 255))


def test_ycbcr_becomes_rgb_within_rounding():
    colors = decode(saved(Image.fromarray(NOISE).convert("YCbCr"), "TIFF"), "a")
    assert np.abs(colors.astype(int) - NOISE).max() <= 4  # Y, Cb and Cr were rounded too


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_applied(orientation):
    upright = [
        NOISE, NOISE[:, ::-1], NOISE[::-1, ::-1], NOISE[::-1], NOISE.swapaxes(0, 1),
        np.rot90(NOISE, -1), np.rot90(NOISE, 2).swapaxes(0, 1), np.rot90(NOISE),
    ]  # CIPA DC-008 (Exif), tag 0x0112  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(saved(NOISE, "PNG", exif=exif), "a"), upright[orientation - 1])


@pytest.mark.parametrize(
    ("mode", "file_format"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("LA", "TIFF")]
)
def test_an_opaque_alpha_channel_is_dropped(mode, file_format):
    image = Image.fromarray(NOISE).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    options = {"lossless": True} if file_format == "WEBP" else {}
    np.testing.assert_array_equal(decode(saved(image, file_format, **options), "a"), expected)


@pytest.mark.parametrize(("alpha", "behind"), [("white", 255), ("black", 0)])
def test_transparent_pixels_lie_on_the_color_asked_for(alpha, behind):
    rgba = RNG.integers(0, 256, (64, 64, 4), dtype=np.uint8)
    share = rgba[..., 3:] / 255
    expected = np.floor(rgba[..., :3] * share + behind * (1 - share) + 0.5)
    np.testing.assert_array_equal(decode(saved(rgba, "PNG"), "a", alpha), expected)


def test_transparent_pixels_are_refused_by_default():
    rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, dtype=np.uint8)])
    rgba[1, 1, 3] = 254
    with pytest.raises(
        InputError, match="'a' has 1 transparent of 54 pixels; set alpha to 'white' or 'black'"
    ):
        decode(saved(rgba, "PNG"), "a")
    key = png(2, 1, 8, 2, [bytes([1, 2, 3, 4, 5, 6])], chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    with pytest.raises(InputError, match="1 transparent of 2 pixels"):
        decode(key, "a")
    np.testing.assert_array_equal(decode(key, "a", "white"), [[[255, 255, 255], [4, 5, 6]]])
    palette = chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])) + chunk(b"tRNS", b"\xff\x00")
    with pytest.raises(InputError, match="1 transparent of 2 pixels"):
        decode(png(2, 1, 8, 3, [b"\x00\x01"], palette), "a")
    with pytest.raises(InputError, match="alpha is 'gray'; expected 'error', 'white' or 'black': choose"):
        decode(key, "a", "gray")


@pytest.mark.parametrize(
    ("raw", "mode"),
    [
        (png(1, 1, 16, 0, [bytes(2)]), "I;16"),
        (png(1, 1, 16, 2, [bytes(6)]), "RGB"),  # Pillow would keep the high bytes in silence
        (png(1, 1, 16, 4, [bytes(4)]), r"\w+"),
        (png(1, 1, 16, 6, [bytes(8)]), "RGBA"),
        (tiff_of_16_bits(), "RGB"),
        (saved(Image.new("I;16", (2, 2)), "TIFF"), "I;16"),
        (saved(Image.new("I", (2, 2)), "TIFF"), "I"),
        (saved(Image.new("F", (2, 2)), "TIFF"), "F"),
    ],
)
def test_more_than_8_bits_a_channel_are_refused(raw, mode):
    with pytest.raises(
        InputError, match=rf"'a' has more than 8 bits a channel \(mode {mode}\); expected 8: convert"
    ):
        decode(raw, "a")


def test_a_bitmap_of_16_bits_a_pixel_has_less_than_8_a_channel():
    head = struct.pack("<IiiHHIIiiIIIII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0, 0xF800, 0x07E0, 0x1F)
    raw = b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + head + struct.pack("<HH", 0xF800, 0x07E0)
    np.testing.assert_array_equal(decode(raw, "a"), [[[255, 0, 0], [0, 255, 0]]])


def test_other_color_spaces_are_refused():
    with pytest.raises(
        InputError, match=r"'a' has the mode LAB; expected one of 1, L, P, .*: convert it to RGB"
    ):
        decode(saved(Image.new("LAB", (2, 2)), "TIFF"), "a")


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_several_frames_are_refused_and_one_is_read(file_format):
    frames = {"save_all": True, "append_images": [Image.new("RGB", (9, 6))]}
    with pytest.raises(
        InputError, match="'a' holds 2 frames or pages; expected one: save that wanted, or exclude"
    ):
        decode(saved(NOISE, file_format, **frames), "a")
    assert decode(saved(NOISE, file_format), "a").shape == NOISE.shape


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_a_truncated_file_is_refused_or_lacks_no_pixel(file_format, options):
    raw = saved(WAVES, file_format, **options)
    whole = decode(raw, "a")
    n_refused = 0
    for size in {*range(1, len(raw), 7), *range(len(raw) - 30, len(raw))}:
        try:
            found = decode(raw[:size], "a")
        except InputError:
            n_refused += 1
        else:
            np.testing.assert_array_equal(found, whole)  # only the end marks of the file are missing
            assert len(raw) - size <= 20
    assert n_refused


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"]), st.data())
def test_damaged_bytes_end_in_pixels_or_in_one_kind_of_error(file_format, data):
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = bytearray(saved(NOISE, file_format, exif=exif))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        pixels = decode(bytes(raw), "a", "white")
    except InputError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "'a' has no bytes: copy it again, or exclude it"),
        (
            b"<!DOCTYPE html>",
            r"cannot be decoded \(no format that is read; 15 bytes, starting with b'<!DOCTYPE ht'\)",
        ),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no format that is read; 47 bytes"),
        (saved(NOISE, "PPM"), "no format that is read"),
        (
            png(12000, 10000, 8, 0, [b"\0"]),
            r"too large to be opened safely \(12000 x 10000 pixels, at most 89478485",
        ),
        (
            png(60000, 60000, 8, 0, [b"\0"]),
            r"too large .*3600000000 pixels\) exceeds limit.*: make it smaller",
        ),
    ],
)
def test_what_is_no_image_or_a_bomb_is_refused(raw, message):
    with pytest.raises(InputError, match=message):
        decode(raw, "a")


def test_damaged_color_profiles_and_exif_are_no_reason_to_refuse():
    profile = png(1, 1, 8, 2, [b"\x01\x02\x03"], chunk(b"iCCP", b"icc\0\0garbage"))
    np.testing.assert_array_equal(decode(profile, "a"), [[[1, 2, 3]]])
    too_short = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x09")  # nine tags announced, none there
    cut = png(1, 1, 8, 2, [b"\x01\x02\x03"], too_short)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(cut)).getexif()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(decode(cut, "a"), [[[1, 2, 3]]])
    assert heard == []


def test_filling_up_truncated_images_is_not_allowed(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(
        InputError, match="LOAD_TRUNCATED_IMAGES is set, so truncated images would be filled up"
    ):
        decode(saved(WAVES, "JPEG")[:-200], "a")


def test_running_out_of_memory_is_not_blamed_on_the_image(monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises(MemoryError):
        decode(b"x", "a")
