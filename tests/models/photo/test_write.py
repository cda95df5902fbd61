"""What a written file keeps: profile, alpha, grayscale; and files appear complete or not at all."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from photo_samples import ALPHA, LOSSLESS, RGB, RGB16, SRGB, decoded, encoded
from PIL import Image

from models.errors import PhotoError
from models.photo.atomic_write import write_atomically
from models.photo.read import FORMATS, Photo, read_photo
from models.photo.write import conversion_warnings, encode_photo


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("kind", FORMATS)
def test_the_color_profile_survives_byte_for_byte(kind, samples):
    data = encoded(Image.fromarray(RGB), kind, icc_profile=SRGB)
    photo = read_photo(data)
    assert photo.icc == SRGB
    again = encode_photo(Photo(pixels=samples, format=kind, icc=photo.icc))
    assert decoded(again).info["icc_profile"] == SRGB
    assert read_photo(again).icc == SRGB


def test_a_gray_profile_is_not_written_to_a_color_file():
    gray_icc = SRGB[:16] + b"GRAY" + SRGB[20:]
    photo = read_photo(encoded(Image.fromarray(RGB[..., 0]), "png", icc_profile=gray_icc))
    assert decoded(encode_photo(photo)).info["icc_profile"] == gray_icc
    assert "icc_profile" not in decoded(encode_photo(photo, "webp")).info


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_alpha_survives(kind):
    data = encoded(Image.fromarray(np.dstack([RGB, ALPHA])), kind, **LOSSLESS[kind])
    photo = read_photo(data)
    np.testing.assert_array_equal(photo.pixels, RGB)
    np.testing.assert_array_equal(photo.alpha, ALPHA)
    np.testing.assert_array_equal(np.asarray(decoded(encode_photo(photo)).getchannel("A")), ALPHA)
    assert conversion_warnings(photo, kind) == ()


def test_avif_keeps_alpha():
    photo = Photo(pixels=RGB, format="avif", alpha=ALPHA)
    assert np.abs(read_photo(encode_photo(photo)).alpha.astype(int) - ALPHA).mean() < 8


def test_gray_with_alpha_stays_gray_with_alpha():
    photo = read_photo(encoded(Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA"), "png"))
    again = decoded(encode_photo(photo))
    assert again.mode == "LA"
    np.testing.assert_array_equal(np.asarray(again), np.dstack([RGB[..., 0], ALPHA]))


def test_jpeg_gets_a_white_background_with_a_warning():
    photo = Photo(pixels=np.zeros((8, 8, 3), np.uint8), format="png", alpha=np.full((8, 8), 51, np.uint8))
    assert abs(np.asarray(decoded(encode_photo(photo, "jpeg"))).astype(int) - 204).max() <= 1
    assert conversion_warnings(photo, "jpeg") == ("JPEG has no transparency: placed on a white background",)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_a_gray_photo_stays_gray(kind):
    data = encoded(Image.fromarray(RGB[..., 0]), kind)
    photo = read_photo(data)
    assert photo.gray
    assert photo.pixels.shape == (10, 14, 3)
    assert decoded(encode_photo(photo)).mode == "L"
    if kind != "jpeg":
        np.testing.assert_array_equal(np.asarray(decoded(encode_photo(photo))), RGB[..., 0])


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_extreme_shapes_are_read_and_written(size, kind):
    photo = read_photo(encoded(Image.new("RGB", size, "teal"), kind))
    assert decoded(encode_photo(photo)).size == size


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_an_image_too_large_for_the_format_is_refused_with_advice(kind):
    photo = Photo(pixels=np.zeros((1, 70_000, 3), np.uint8), format="png")
    with pytest.raises(PhotoError, match=r"70000 x 1 px as .*--format png"):
        encode_photo(photo, kind)


def test_quality_changes_the_size_of_a_lossy_file():
    photo = Photo(pixels=RGB, format="jpeg")
    assert len(encode_photo(photo, quality=30)) < len(encode_photo(photo)) < len(encode_photo(photo, quality=100))


@pytest.fixture
def unprivileged():
    """Root may read and write every file, so the test runs as another user."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_missing_permissions_are_reported(unprivileged):
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which belongs to root
        path = Path(folder) / "secret.png"
        path.write_bytes(encoded(Image.fromarray(RGB), "png"))
        path.chmod(0)
        with pytest.raises(PhotoError, match="Permission denied"):
            read_photo(path)
        Path(folder).chmod(0o500)
        with pytest.raises(PhotoError, match=r"cannot write .*new\.png: Permission denied"):
            write_atomically(Path(folder) / "new.png", encode_photo(Photo(pixels=RGB, format="png")))
        assert os.listdir(folder) == ["secret.png"]
        Path(folder).chmod(0o700)


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "photo.png"
    write_atomically(path, encode_photo(Photo(pixels=RGB, format="jpeg"), "png"))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), RGB)
    assert [entry.name for entry in path.parent.iterdir()] == ["photo.png"]
    with pytest.raises(PhotoError, match="cannot write"):
        write_atomically(path / "below.png", b"x")  # the parent is a file
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")
    with pytest.raises(PhotoError, match="--format png"):  # too wide for the encoder
        encode_photo(Photo(pixels=np.zeros((1, 70_000, 3), np.uint8), format="webp"))
    assert [entry.name for entry in path.parent.iterdir()] == ["photo.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(path)), RGB)


@pytest.mark.parametrize("quality", [None, 100])
def test_a_picture_of_noise_is_written_as_jpeg(quality):
    """Pillow's encoder runs out of its buffer when it optimizes such a picture."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    data = encode_photo(Photo(pixels=noise, format="jpeg"), quality=quality)
    assert np.abs(np.asarray(decoded(data)).astype(int) - noise).mean() < 4
