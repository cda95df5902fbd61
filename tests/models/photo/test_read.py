"""Photo files written by Pillow and read back; limits are checked before decoding."""

import struct
import zlib

import numpy as np
import pytest
from photo_samples import LOSSLESS, RGB, RGB16, decoded, encoded
from PIL import Image

from models.errors import PhotoError, PhotoTooLarge, UnsupportedPhoto
from models.photo.read import FORMATS, Limits, format_of, read_photo


@pytest.mark.parametrize("kind", LOSSLESS)
def test_eight_bit_pixels_are_read_unchanged(kind):
    photo = read_photo(encoded(Image.fromarray(RGB), kind, **LOSSLESS[kind]))
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert (photo.format, photo.alpha, photo.gray, photo.warnings) == (kind, None, False, ())


@pytest.mark.parametrize("kind", ["jpeg", "avif"])
def test_lossy_formats_decode_as_in_pillow(kind):
    data = encoded(Image.fromarray(RGB), kind)
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, np.asarray(decoded(data)))
    assert photo.format == kind


@pytest.mark.parametrize(
    ("kind", "options", "coarse"),
    [
        ("jpeg", {"quality": 60}, True),
        ("jpeg", {"quality": 80}, True),
        ("jpeg", {"quality": 90}, False),
        ("png", {}, False),
        ("webp", {"quality": 10}, False),  # nothing tells whether it was lossless
    ],
)
def test_coarse_compression_is_known_of_jpeg_files(kind, options, coarse):
    assert read_photo(encoded(Image.fromarray(RGB), kind, **options)).compressed is coarse


def test_a_palette_becomes_rgb_and_its_transparent_entry_becomes_alpha():
    palette = Image.fromarray(np.arange(140, dtype=np.uint8).reshape(10, 14) % 4, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    photo = read_photo(encoded(palette, "png", transparency=2))
    assert photo.pixels[0, :4].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    assert photo.alpha[0, :4].tolist() == [255, 255, 0, 255]
    assert read_photo(encoded(palette, "png")).alpha is None


@pytest.mark.parametrize("samples", [RGB[..., 0], RGB[..., 0] > 100, RGB16[..., 0]], ids=["8", "1", "16"])
def test_a_transparent_gray_of_a_png_becomes_alpha_at_any_depth(samples):
    photo = read_photo(with_transparency(encoded(Image.fromarray(samples), "png"), int(samples[3, 5])))
    assert photo.gray
    np.testing.assert_array_equal(photo.alpha == 0, samples == samples[3, 5])


def with_transparency(png, gray):
    """The same PNG with a tRNS chunk before its samples."""
    body = b"tRNS" + struct.pack(">H", gray)
    offset = png.index(b"IDAT") - 4
    return png[:offset] + struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body)) + png[offset:]


def test_a_transparent_color_of_an_rgb_png_becomes_alpha():
    photo = read_photo(encoded(Image.fromarray(RGB), "png", transparency=tuple(RGB[3, 5].tolist())))
    assert photo.alpha[3, 5] == 0
    assert photo.alpha.sum() == 255 * (RGB.shape[0] * RGB.shape[1] - 1)


def test_black_and_white_is_read_as_gray():
    photo = read_photo(encoded(Image.fromarray(RGB[..., 0] > 100), "png"))
    assert photo.gray
    assert set(np.unique(photo.pixels)) == {0, 255}


def test_cmyk_becomes_rgb_with_a_warning():
    cmyk = Image.merge("CMYK", [Image.new("L", (4, 4), value) for value in (0, 255, 255, 0)])
    photo = read_photo(encoded(cmyk, "tiff"))
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]
    assert "CMYK" in photo.warnings[0]


def test_a_damaged_cmyk_profile_is_dropped_with_a_warning():
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (0, 255, 255, 0)])
    photo = read_photo(encoded(cmyk, "jpeg", quality=95, icc_profile=b"no profile" * 20))
    assert np.abs(photo.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    assert photo.icc is None
    assert "damaged" in photo.warnings[0]


def test_lab_becomes_rgb():
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (255, 128, 128)])
    photo = read_photo(encoded(lab, "tiff"))
    assert photo.pixels.min() >= 253  # L* 100 without color is white


@pytest.mark.parametrize(
    ("kind", "words"), [("png", "frames"), ("webp", "frames"), ("avif", "frames"), ("tiff", "pages")]
)
def test_a_file_with_several_pictures_is_refused_because_the_others_would_be_lost(kind, words):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    with pytest.raises(UnsupportedPhoto, match=f"2 {words}.*separate files"):
        read_photo(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))


def test_further_images_of_a_camera_s_jpeg_are_named_as_lost():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    photo = read_photo(encoded(frames[0], "mpo", save_all=True, append_images=frames[1:]))
    assert np.abs(photo.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    assert "2 images" in photo.warnings[0]
    assert photo.losses == ("its further images",)


def test_a_picture_or_video_behind_a_jpeg_is_named_as_lost():
    data = encoded(Image.fromarray(RGB), "jpeg")
    assert read_photo(data).losses == ()
    assert read_photo(data + b"\0\0\0\x18ftypmp42").losses == ("the pictures or the video behind it",)
    assert read_photo(data + data).losses == ("the pictures or the video behind it",)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_a_photo_one_pixel_wide_or_high_is_read(kind, size):
    photo = read_photo(encoded(Image.new("RGB", size, "teal"), kind))
    assert photo.pixels.shape == (size[1], size[0], 3)
    assert photo.warnings == ()


def png_header_of_size(width, height):
    """A PNG header of this size without the pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (60_000, 60_000), (2_000_000, 1), (70_000, 2)])
def test_a_photo_over_the_limits_is_refused_on_its_header(width, height):
    with pytest.raises(PhotoTooLarge, match="megapixels"):
        read_photo(png_header_of_size(width, height))


def test_a_file_over_the_byte_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(10 * 2**40)  # sparse: it takes no disk space
    with pytest.raises(PhotoTooLarge, match="expected at most 419 MB"):
        read_photo(path)


def test_the_limits_can_be_changed():
    with pytest.raises(PhotoTooLarge):
        read_photo(encoded(Image.fromarray(RGB), "png"), Limits(pixels=139))
    assert read_photo(encoded(Image.fromarray(RGB), "png"), Limits(pixels=140)).pixels.shape == (10, 14, 3)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(PhotoError, match="is a folder"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="No such file"):
        read_photo(tmp_path / "none.jpg")


def test_the_file_extension_names_the_format():
    assert [format_of(name) for name in ("a.JPG", "b.tiff", "c.webp", "d.gif", "e")] == [
        "jpeg", "tiff", "webp", None, None,
    ]  # fmt: skip
