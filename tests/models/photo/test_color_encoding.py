"""Linear light, HDR and other color encodings, compared with the formulas of the standards and with LittleCMS."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from metadata_samples import png_with
from photo_samples import RGB, RGB16, decoded, encoded
from PIL import ExifTags, Image, ImageCms

from models.photo import icc as profiles
from models.photo.color_encoding import ADOBE_RGB, SRGB_PRIMARIES
from models.photo.read import FORMATS, read_photo
from models.photo.write import encode_photo

CHRM_SWAPPED = struct.pack(">8I", 31270, 32900, 30000, 60000, 64000, 33000, 15000, 6000)
P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def flat(value, dtype=np.uint8):
    return np.full((8, 8, 3), value, dtype)


def in_srgb(data: bytes) -> np.ndarray:
    """A written file's pixels, converted to sRGB by LittleCMS."""
    image = decoded(data)
    image = image.convert("RGB") if image.mode == "RGBA" else image
    icc = image.info.get("icc_profile")
    if icc is None:
        return np.asarray(image.convert("RGB")).astype(int)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, profile, target, renderingIntent=1, outputMode="RGB")).astype(
        int
    )


@pytest.mark.parametrize("target", FORMATS)
def test_linear_light_is_converted_to_the_srgb_curve(target):
    photo = read_photo(png_with((b"gAMA", struct.pack(">I", 100_000)), image=Image.fromarray(flat(128))))
    assert photo.pixels[0, 0].tolist() == [188, 188, 188]  # IEC 61966-2-1
    assert "linear light" in photo.warnings[0]
    assert np.abs(np.asarray(decoded(encode_photo(photo, target)).convert("RGB")).astype(int) - 188).max() <= 1


@pytest.mark.parametrize("gray", [False, True])
def test_a_linear_profile_is_converted_too(gray):
    icc = profiles.profile("linear", SRGB_PRIMARIES, 1.0, gray=gray)
    samples = flat(128)[..., 0] if gray else flat(128)
    photo = read_photo(encoded(Image.fromarray(samples), "tiff", icc_profile=icc))
    assert photo.pixels[0, 0].tolist() == [188, 188, 188]
    assert np.abs(in_srgb(encode_photo(photo)) - 188).max() <= 1


def test_sixteen_bit_linear_light_keeps_its_depth():
    linear = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    png = imagecodecs.png_encode(linear)
    photo = read_photo(png[:33] + png_with((b"gAMA", struct.pack(">I", 100_000)))[33:49] + png[33:])
    light = linear / 65535
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 65535
    np.testing.assert_allclose(photo.pixels[..., 0], expected, atol=0.51)


@pytest.mark.parametrize("chunk", [(b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0"), (b"cICP", b"\1\x0d\0\1")])
def test_srgb_is_left_as_it_is(chunk):
    photo = read_photo(png_with(chunk))
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert (photo.icc, photo.warnings) == (None, ())


@pytest.mark.parametrize("target", FORMATS)
def test_swapped_primaries_keep_their_look_in_every_format(target):
    pure_red = Image.fromarray(np.tile(np.array([255, 0, 0], np.uint8), (16, 16, 1)))
    data = png_with((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", CHRM_SWAPPED), image=pure_red)
    red, green, blue = in_srgb(encode_photo(read_photo(data), target))[8, 8]
    assert green >= 250 and red <= 12 and blue <= 12  # the file's "red" is sRGB's green


@pytest.mark.parametrize("chunks", [[(b"cICP", b"\x0c\x0d\0\1")], [(b"cHRM", P3)]])
def test_display_p3_becomes_a_profile(chunks):
    photo = read_photo(png_with(*chunks))
    np.testing.assert_array_equal(photo.pixels, RGB)
    red = np.frombuffer(profiles.inspect(photo.icc).tags[b"rXYZ"], ">i4", 3, 8) / 65536
    np.testing.assert_allclose(red, [0.5151, 0.2412, -0.0011], atol=0.001)  # Apple's Display P3 profile


@pytest.mark.parametrize("gamma", [1.8, 2.4])
def test_other_exponents_become_a_profile(gamma):
    photo = read_photo(png_with((b"gAMA", struct.pack(">I", round(100_000 / gamma)))))
    np.testing.assert_array_equal(photo.pixels, RGB)
    assert profiles.gamma_of(photo.icc) == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize("target", FORMATS)
def test_a_cameras_adobe_rgb_mark_becomes_a_profile(target):
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[40961] = 65535
    details[int(ExifTags.IFD.Interop)] = {1: "R03"}
    photo = read_photo(encoded(Image.fromarray(RGB), "jpeg", exif=exif.tobytes()))
    icc = decoded(encode_photo(photo, target)).info["icc_profile"]
    assert "Adobe RGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    tags = profiles.inspect(icc).tags
    published = {
        b"rXYZ": (0.6097, 0.3111, 0.0195),
        b"gXYZ": (0.2053, 0.6257, 0.0609),
        b"bXYZ": (0.1492, 0.0632, 0.7446),
    }
    for name, xyz in published.items():  # Adobe's own profile
        np.testing.assert_allclose(np.frombuffer(tags[name], ">i4", 3, 8) / 65536, xyz, atol=0.0005)
    assert profiles.gamma_of(icc) == pytest.approx(2.199, abs=0.002)


@pytest.mark.parametrize("code", [16, 18], ids=["PQ", "HLG"])
@pytest.mark.parametrize("format", ["png", "avif"])
def test_hdr_is_converted_with_a_warning_and_keeps_sixteen_bits(code, format):
    signal = {16: 0.5807, 18: 0.75}[code]  # reference white, 203 nits (BT.2408, table 1)
    if format == "png":
        samples = flat(round(signal * 65535), np.uint16)
        png = imagecodecs.png_encode(samples)
        chunk = png_with((b"cICP", bytes((9, code, 0, 1))))[33:49]
        data = png[:33] + chunk + png[33:]
    else:
        data = imagecodecs.avif_encode(
            flat(round(signal * 1023), np.uint16), level=100, bitspersample=10, primaries=9, transfer=code, matrix=9
        )
    photo = read_photo(data)
    assert photo.pixels.dtype == np.uint16
    assert any("HDR" in warning for warning in photo.warnings)
    white = photo.pixels[4, 4] / 65535
    assert white.min() > 0.9 and white.max() - white.min() < 0.01  # bright, and without a tint


def test_darker_light_of_hdr_is_converted_exactly():
    signal = 0.4403  # 50 nits (SMPTE ST 2084)
    png = imagecodecs.png_encode(flat(round(signal * 65535), np.uint16))
    data = png[:33] + png_with((b"cICP", b"\x09\x10\0\1"))[33:49] + png[33:]
    expected = 1.055 * (50 / 203) ** (1 / 2.4) - 0.055
    assert read_photo(data).pixels[0, 0, 1] / 65535 == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("depth", [10, 12])
def test_deep_avif_is_read_with_sixteen_bits(depth):
    samples = (RGB16 >> (16 - depth)).astype(np.uint16)
    data = imagecodecs.avif_encode(samples, level=100, bitspersample=depth, primaries=1, transfer=13, matrix=0)
    read = read_photo(data).pixels
    assert read.dtype == np.uint16
    assert np.abs(read.astype(int) - samples.astype(int) * 65535 // (2**depth - 1)).max() <= 65535 // (2**depth - 1)


def test_sixteen_bit_cmyk_names_the_depth_or_keeps_it():
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((8, 8, 4), np.uint16), photometric="separated")
    photo = read_photo(file.getvalue())
    assert photo.sixteen_bit or any("8 bits" in warning for warning in photo.warnings)


def test_our_profiles_mean_what_they_say():
    """LittleCMS agrees with the matrices of the published primaries."""
    icc = profiles.profile("test", ADOBE_RGB, 563 / 256)
    data = encoded(Image.fromarray(flat([60, 160, 90])), "png", icc_profile=icc)
    light = (np.array([60, 160, 90]) / 255) ** (563 / 256)
    srgb = np.linalg.solve(profiles.xyz_matrix(SRGB_PRIMARIES), profiles.xyz_matrix(ADOBE_RGB) @ light)
    expected = np.round(profiles.linear_to_srgb(np.clip(srgb, 0, 1)) * 255)
    assert np.abs(in_srgb(data)[0, 0] - expected).max() <= 1


@pytest.mark.parametrize("icc", [b"", b"x", bytes(131), bytes(128) + b"\xff" * 40, b"\xff" * 500])
def test_damaged_profiles_are_inspected_without_an_error(icc):
    assert profiles.gamma_of(icc) is None and profiles.transfer_of(icc) is None
    assert profiles.for_written(icc, gray=True) is None


@pytest.mark.parametrize(("target", "alpha"), [("webp", False), ("webp", True), ("avif", True), ("tiff", False)])
def test_a_gray_profile_becomes_an_rgb_profile_where_gray_is_stored_as_rgb(target, alpha):
    icc = profiles.profile("gray", SRGB_PRIMARIES, 1.8, gray=True)
    image = Image.fromarray(flat(100)[..., 0])
    if alpha:
        image.putalpha(255)
    data = encoded(image, "png", icc_profile=icc)
    light = (100 / 255) ** 1.8
    expected = (1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(in_srgb(encode_photo(read_photo(data), target)) - expected).max() <= 2


def test_hdr_in_a_profile_is_converted():
    icc = profiles._file("PQ", b"RGB ", {b"cicp": b"cicp\0\0\0\0\x09\x10\0\1"})
    photo = read_photo(encoded(Image.fromarray(flat(148)), "jpeg", icc_profile=icc))
    assert photo.icc is None
    assert "HDR (PQ)" in photo.warnings[0]
