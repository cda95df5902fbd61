"""Files written by Pillow, tifffile and imagecodecs, read back: what must survive does, what must go is gone."""

import io
import os
import struct
import tempfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps

from models.errors import PhotoError, PhotoTooLarge
from models.photo.read import FORMATS, Limits, Photo, format_of, read_photo
from models.photo.write import encode_photo, losses, write_photo, write_whole

RGB = np.random.default_rng(1).integers(0, 256, (10, 14, 3), dtype=np.uint8)
ALPHA = np.random.default_rng(2).integers(0, 256, (10, 14), dtype=np.uint8)
RGB16 = np.random.default_rng(3).integers(0, 65536, (10, 14, 3), dtype=np.uint16)
ALPHA16 = np.random.default_rng(4).integers(0, 65536, (10, 14), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXACT = {"png": {}, "tiff": {}, "webp": {"lossless": True, "exact": True}}


def written(image, kind, **options):
    target = io.BytesIO()
    image.save(target, format=kind.upper(), **options)
    return target.getvalue()


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def exif(orientation=1):
    """As a phone writes it: who, when, how, and where.  Bytes: Pillow would drop a directory from a TIFF otherwise."""
    notes = Image.Exif()
    notes[ExifTags.Base.Make] = "Maker"
    notes[ExifTags.Base.Orientation] = orientation
    notes.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:11:21 10:00:00"
    notes.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.5), 3: "E", 4: (13.0, 24.0, 17.25)})
    return notes.tobytes()


@pytest.mark.parametrize("kind", EXACT)
def test_eight_bits_are_read_as_they_were_written(kind):
    photo = read_photo(written(Image.fromarray(RGB), kind, **EXACT[kind]))
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert (photo.format, photo.alpha, photo.gray, photo.warnings) == (kind, None, False, ())


@pytest.mark.parametrize("kind", ["jpeg", "avif"])
def test_a_lossy_format_is_read_as_pillow_decodes_it(kind):
    data = written(Image.fromarray(RGB), kind)
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, np.asarray(opened(data)))
    assert photo.format == kind


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_and_not_written_again(kind, orientation):
    data = written(Image.fromarray(RGB), kind, exif=exif(orientation), **EXACT.get(kind, {}))
    photo = read_photo(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.shape == ((14, 10, 3) if orientation > 4 else (10, 14, 3))
    assert opened(encode_photo(photo)).getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_like_eight(orientation):
    data = encode_photo(Photo(pixels=RGB16, format="png", exif=exif(orientation)))
    high = Image.fromarray((RGB16 >> 8).astype(np.uint8))
    high.getexif()[ExifTags.Base.Orientation] = orientation
    np.testing.assert_array_equal(read_photo(data).pixels >> 8, np.asarray(ImageOps.exif_transpose(high)))


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_exif_survives_from_any_format_to_any_without_the_place(source, target, samples):
    carried = read_photo(written(Image.fromarray(RGB), source, exif=exif())).exif
    data = encode_photo(Photo(pixels=samples, format=source, exif=carried), target)
    notes = Image.Exif()
    notes.load(read_photo(data).exif)  # a second time round, from our own file
    check_notes(notes)
    assert ExifTags.Base.ImageWidth not in notes  # a TIFF's bookkeeping
    with Image.open(io.BytesIO(data)) as image:
        check_notes(image.getexif())


def check_notes(notes):
    assert notes[ExifTags.Base.Make] == "Maker"
    assert notes.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2026:11:21 10:00:00"
    assert not notes.get_ifd(ExifTags.IFD.GPSInfo)


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
def test_libtiff_reads_our_tiffs_as_another_encoder_does(samples):
    data = encode_photo(Photo(pixels=samples, format="tiff", exif=exif(), icc=SRGB))
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), samples)
    pillow = np.asarray(opened(data))
    np.testing.assert_array_equal(pillow, samples if samples.dtype == np.uint8 else samples >> 8)


def test_the_place_is_in_no_byte_of_the_new_file():
    longitude = struct.pack(">II", 69, 4)  # 17.25 as EXIF stores it
    data = written(Image.fromarray(RGB), "jpeg", exif=exif(), xmp=b"<x exif:GPSLatitude='52,31.2N'/>")
    assert longitude in data
    assert b"GPSLatitude" in data
    new = encode_photo(read_photo(data))
    assert longitude not in new
    assert b"GPSLatitude" not in new


def test_damaged_exif_costs_the_notes_and_not_the_photo():
    data = written(Image.fromarray(RGB), "png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x0f\x01\x02\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_photo(data).pixels, RGB)


def test_exif_that_is_too_long_for_jpeg_does_not_stop_the_photo():
    notes = Image.Exif()
    notes[ExifTags.Base.ImageDescription] = "x" * 70_000
    photo = read_photo(written(Image.fromarray(RGB), "png", exif=notes))
    assert opened(encode_photo(photo, "jpeg")).size == (14, 10)


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("kind", FORMATS)
def test_the_color_profile_survives_byte_for_byte(kind, samples):
    data = written(Image.fromarray(RGB), kind, icc_profile=SRGB)
    photo = read_photo(data)
    assert photo.icc == SRGB
    again = encode_photo(Photo(pixels=samples, format=kind, icc=photo.icc))
    assert opened(again).info["icc_profile"] == SRGB
    assert read_photo(again).icc == SRGB


def test_a_profile_for_gray_does_not_go_into_a_file_of_colors():
    gray_icc = SRGB[:16] + b"GRAY" + SRGB[20:]
    photo = read_photo(written(Image.fromarray(RGB[..., 0]), "png", icc_profile=gray_icc))
    assert opened(encode_photo(photo)).info["icc_profile"] == gray_icc
    assert "icc_profile" not in opened(encode_photo(photo, "webp")).info


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_alpha_survives(kind):
    data = written(Image.fromarray(np.dstack([RGB, ALPHA])), kind, **EXACT[kind])
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, RGB)
    np.testing.assert_array_equal(photo.alpha, ALPHA)
    np.testing.assert_array_equal(np.asarray(opened(encode_photo(photo)).getchannel("A")), ALPHA)
    assert losses(photo, kind) == ()


def test_avif_keeps_alpha():
    photo = Photo(pixels=RGB, format="avif", alpha=ALPHA)
    assert np.abs(read_photo(encode_photo(photo)).alpha.astype(int) - ALPHA).mean() < 8


def test_gray_with_alpha_stays_gray_with_alpha():
    photo = read_photo(written(Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA"), "png"))
    again = opened(encode_photo(photo))
    assert again.mode == "LA"
    np.testing.assert_array_equal(np.asarray(again), np.dstack([RGB[..., 0], ALPHA]))


def test_jpeg_lays_transparency_over_white_and_says_so():
    photo = Photo(pixels=np.zeros((8, 8, 3), np.uint8), format="png", alpha=np.full((8, 8), 51, np.uint8))
    assert abs(np.asarray(opened(encode_photo(photo, "jpeg"))).astype(int) - 204).max() <= 1
    assert losses(photo, "jpeg") == ("JPEG has no transparency: laid over white",)


def test_a_palette_becomes_rgb_and_its_transparent_entry_alpha():
    palette = Image.fromarray(np.arange(140, dtype=np.uint8).reshape(10, 14) % 4, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    photo = read_photo(written(palette, "png", transparency=2))
    assert photo.pixels[0, :4].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    assert photo.alpha[0, :4].tolist() == [255, 255, 0, 255]
    assert read_photo(written(palette, "png")).alpha is None


@pytest.mark.parametrize("samples", [RGB[..., 0], RGB[..., 0] > 100, RGB16[..., 0]], ids=["8", "1", "16"])
def test_a_transparent_gray_of_a_png_becomes_alpha_at_any_depth(samples):
    photo = read_photo(with_transparency(written(Image.fromarray(samples), "png"), int(samples[3, 5])))
    assert photo.gray
    np.testing.assert_array_equal(photo.alpha == 0, samples == samples[3, 5])


def with_transparency(png, gray):
    """The same PNG with a tRNS chunk before its samples."""
    body = b"tRNS" + struct.pack(">H", gray)
    place = png.index(b"IDAT") - 4
    return png[:place] + struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body)) + png[place:]


def test_a_transparent_color_of_an_rgb_png_becomes_alpha():
    photo = read_photo(written(Image.fromarray(RGB), "png", transparency=tuple(RGB[3, 5].tolist())))
    assert photo.alpha[3, 5] == 0
    assert photo.alpha.sum() == 255 * (RGB.shape[0] * RGB.shape[1] - 1)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_a_gray_photo_comes_back_gray(kind):
    data = written(Image.fromarray(RGB[..., 0]), kind)
    photo = read_photo(data)
    assert photo.gray
    assert photo.pixels.shape == (10, 14, 3)
    assert opened(encode_photo(photo)).mode == "L"
    if kind != "jpeg":
        np.testing.assert_array_equal(np.asarray(opened(encode_photo(photo))), RGB[..., 0])


def test_black_and_white_is_read_as_gray():
    photo = read_photo(written(Image.fromarray(RGB[..., 0] > 100), "png"))
    assert photo.gray
    assert set(np.unique(photo.pixels)) == {0, 255}


def test_print_colors_become_rgb_with_a_word_about_it():
    cmyk = Image.merge("CMYK", [Image.new("L", (4, 4), value) for value in (0, 255, 255, 0)])
    photo = read_photo(written(cmyk, "tiff"))
    assert photo.pixels[0, 0].tolist() == [255, 0, 0]
    assert "CMYK" in photo.warnings[0]


def test_a_damaged_profile_of_print_colors_costs_the_profile_and_not_the_photo():
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (0, 255, 255, 0)])
    photo = read_photo(written(cmyk, "jpeg", quality=95, icc_profile=b"no profile" * 20))
    assert np.abs(photo.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    assert photo.icc is None
    assert "damaged" in photo.warnings[0]


def test_lab_becomes_rgb():
    lab = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (255, 128, 128)])
    photo = read_photo(written(lab, "tiff"))
    assert photo.pixels.min() >= 253  # L* 100, no color: white


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("alpha", [None, ALPHA16], ids=["opaque", "alpha"])
def test_sixteen_bits_survive_exactly(kind, alpha):
    samples = RGB16 if alpha is None else np.dstack([RGB16, alpha])
    if kind == "png":
        data = imagecodecs.png_encode(samples)
    else:
        target = io.BytesIO()
        tifffile.imwrite(target, samples, photometric="rgb", extrasamples=[] if alpha is None else ["unassalpha"])
        data = target.getvalue()
    photo = read_photo(data)
    assert photo.sixteen_bit
    again = encode_photo(photo)
    decoded = imagecodecs.png_decode(again) if kind == "png" else tifffile.imread(io.BytesIO(again))
    np.testing.assert_array_equal(decoded, samples)
    np.testing.assert_array_equal(read_photo(again).pixels, RGB16)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_gray_survives_exactly(kind):
    photo = read_photo(written(Image.fromarray(RGB16[..., 0]), kind))
    assert photo.gray
    again = opened(encode_photo(photo))
    assert again.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(again), RGB16[..., 0])


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_tiffs_are_read_in_either_byte_order_and_plane_by_plane(order, planar):
    target = io.BytesIO()
    samples = RGB16 if planar == "contig" else np.moveaxis(RGB16, 2, 0)
    tifffile.imwrite(target, samples, photometric="rgb", planarconfig=planar, byteorder=order, compression="lzw")
    np.testing.assert_array_equal(read_photo(target.getvalue()).pixels, RGB16)


def test_a_tiff_whose_zero_is_white_is_not_a_negative():
    target = io.BytesIO()
    tifffile.imwrite(target, RGB16[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(target.getvalue()).pixels[..., 0], 65535 - RGB16[..., 0])


def test_premultiplied_alpha_is_divided_out():
    target = io.BytesIO()
    pixel = np.array([[[20000, 10000, 0, 40000]]], np.uint16)
    tifffile.imwrite(target, pixel, photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(target.getvalue())
    assert photo.pixels[0, 0].tolist() == [round(20000 * 65535 / 40000), round(10000 * 65535 / 40000), 0]
    assert photo.alpha[0, 0] == 40000


def test_sixteen_bits_are_rounded_where_the_format_has_eight():
    photo = Photo(pixels=np.full((4, 4, 3), 257 * 100 + 128, np.uint16), format="png")
    assert np.asarray(opened(encode_photo(photo, "webp"))).shape == (4, 4, 3)
    assert read_photo(encode_photo(photo, "webp", 100)).pixels[0, 0, 0] in (99, 100, 101)
    assert losses(photo, "webp") == ("WEBP has 8 bits a sample here: rounded from 16",)


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "avif", "mpo"])
def test_of_an_animation_the_first_picture_is_taken_with_a_warning(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    photo = read_photo(written(frames[0], kind, save_all=True, append_images=frames[1:], duration=50))
    assert np.abs(photo.pixels[0, 0].astype(int) - [255, 0, 0]).max() <= 2
    assert "2 pictures" in photo.warnings[0]


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_extreme_shapes_go_in_and_out(size, kind):
    photo = read_photo(written(Image.new("RGB", size, "teal"), kind))
    assert opened(encode_photo(photo)).size == size


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_a_picture_that_a_format_cannot_hold_gets_a_sentence(kind):
    photo = Photo(pixels=np.zeros((1, 70_000, 3), np.uint8), format="png")
    with pytest.raises(PhotoError, match=r"70000 x 1 as .*--format png"):
        encode_photo(photo, kind)


def test_quality_changes_the_size_of_a_lossy_file():
    photo = Photo(pixels=RGB, format="jpeg")
    assert len(encode_photo(photo, quality=30)) < len(encode_photo(photo)) < len(encode_photo(photo, quality=100))


def png_of_size(width, height):
    """A header that promises what the file does not hold."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (60_000, 60_000), (2_000_000, 1), (70_000, 2)])
def test_a_photo_over_the_limits_is_refused_on_its_header(width, height):
    with pytest.raises(PhotoTooLarge, match="megapixels"):
        read_photo(png_of_size(width, height))


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(10 * 2**40)  # sparse: it has this size, and takes no room
    with pytest.raises(PhotoTooLarge, match="MiB"):
        read_photo(path)


def test_limits_can_be_set():
    with pytest.raises(PhotoTooLarge):
        read_photo(written(Image.fromarray(RGB), "png"), Limits(pixels=139))
    assert read_photo(written(Image.fromarray(RGB), "png"), Limits(pixels=140)).pixels.shape == (10, 14, 3)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"GIF89a" + b"\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x02\0\x02\0\0\x02\x02\x84Q\0;", "GIF"),
    ],
)
def test_what_is_no_photo_gets_a_sentence(tmp_path, data, sentence):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=sentence) as raised:
        read_photo(path)
    assert str(path) in str(raised.value)


def test_a_folder_and_a_missing_file_get_a_sentence(tmp_path):
    with pytest.raises(PhotoError, match="is a folder"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="No such file"):
        read_photo(tmp_path / "none.jpg")


@pytest.fixture
def nobody():
    """Root may read and write everything; here root is nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_what_may_not_be_read_or_written_gets_a_sentence(nobody):
    with tempfile.TemporaryDirectory() as folder:  # of its own: tmp_path belongs to root
        path = Path(folder) / "secret.png"
        path.write_bytes(written(Image.fromarray(RGB), "png"))
        path.chmod(0)
        with pytest.raises(PhotoError, match="Permission denied"):
            read_photo(path)
        Path(folder).chmod(0o500)
        with pytest.raises(PhotoError, match=r"cannot write .*new\.png: Permission denied"):
            write_photo(Photo(pixels=RGB, format="png"), Path(folder) / "new.png")
        assert os.listdir(folder) == ["secret.png"]
        Path(folder).chmod(0o700)


@pytest.mark.parametrize("kind", [np.uint32, np.float64])
def test_a_tiff_of_unusual_samples_is_known_to_be_a_tiff(kind):
    target = io.BytesIO()
    tifffile.imwrite(target, RGB.astype(kind), photometric="rgb")
    with pytest.raises(PhotoError, match=r"looks like a TIFF .*: save it again as 8- or 16-bit RGB"):
        read_photo(target.getvalue())


def test_floating_point_samples_get_a_sentence():
    with pytest.raises(PhotoError, match="expected 8 or 16 bits"):
        read_photo(written(Image.fromarray(RGB[..., 0].astype(np.float32)), "tiff"))


LARGE = np.random.default_rng(5).integers(0, 256, (120, 160, 3), dtype=np.uint8)
SAMPLES = {kind: written(Image.fromarray(LARGE), kind) for kind in FORMATS}
SAMPLES["png16"] = encode_photo(Photo(pixels=LARGE.astype(np.uint16) * 257, format="png"))
SAMPLES["tiff16"] = encode_photo(Photo(pixels=LARGE.astype(np.uint16) * 257, format="tiff"))


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_file_that_is_cut_short_gets_a_sentence(kind, share):
    with pytest.raises(PhotoError):
        read_photo(SAMPLES[kind][: int(len(SAMPLES[kind]) * share)])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(sorted(SAMPLES)), flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255))))
def test_flipped_bytes_give_a_photo_or_a_sentence(kind, flips):
    data = bytearray(SAMPLES[kind])
    for place, value in flips:
        data[place] = value
    try:
        assert read_photo(bytes(data), Limits(pixels=10**6)).pixels.shape[2] == 3
    except PhotoError as error:
        assert str(error)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "photo.png"
    write_photo(Photo(pixels=RGB, format="jpeg"), path, "png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), RGB)
    assert [entry.name for entry in path.parent.iterdir()] == ["photo.png"]
    with pytest.raises(PhotoError, match="cannot write"):
        write_whole(path / "below.png", b"x")  # a file is no folder
    with pytest.raises(TypeError):
        write_whole(path, "text is not bytes")
    with pytest.raises(PhotoError, match="--format png"):  # too wide for the encoder
        write_photo(Photo(pixels=np.zeros((1, 70_000, 3), np.uint8), format="webp"), path)
    assert [entry.name for entry in path.parent.iterdir()] == ["photo.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(path)), RGB)


def test_the_format_is_told_by_the_ending():
    assert [format_of(name) for name in ("a.JPG", "b.tiff", "c.webp", "d.gif", "e")] == [
        "jpeg", "tiff", "webp", None, None,
    ]  # fmt: skip
