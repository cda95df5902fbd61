"""EXIF: camera and date are kept, the location is removed."""

import io
import struct

import numpy as np
import pytest
from photo_samples import RGB, RGB16, decoded, encoded, phone_exif
from PIL import ExifTags, Image

from models.photo.read import FORMATS, Photo, read_photo
from models.photo.write import encode_photo


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_exif_survives_between_all_formats_without_the_location(source, target, samples):
    kept = read_photo(encoded(Image.fromarray(RGB), source, exif=phone_exif())).exif
    data = encode_photo(Photo(pixels=samples, format=source, exif=kept), target)
    found = Image.Exif()
    found.load(read_photo(data).exif)  # read again from our own file
    assert_kept(found)
    assert ExifTags.Base.ImageWidth not in found  # a TIFF storage tag
    with Image.open(io.BytesIO(data)) as image:
        assert_kept(image.getexif())


def assert_kept(found):
    assert found[ExifTags.Base.Make] == "Maker"
    assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2026:11:21 10:00:00"
    assert not found.get_ifd(ExifTags.IFD.GPSInfo)


def test_no_byte_of_the_new_file_holds_the_location():
    longitude = struct.pack(">II", 69, 4)  # 17.25 as EXIF stores it
    data = encoded(Image.fromarray(RGB), "jpeg", exif=phone_exif(), xmp=b"<x exif:GPSLatitude='52,31.2N'/>")
    assert longitude in data
    assert b"GPSLatitude" in data
    new = encode_photo(read_photo(data))
    assert longitude not in new
    assert b"GPSLatitude" not in new


def test_damaged_exif_is_dropped_and_the_photo_is_read():
    data = encoded(Image.fromarray(RGB), "png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x0f\x01\x02\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_photo(data).pixels, RGB)


def test_exif_that_is_too_long_for_jpeg_does_not_prevent_writing():
    found = Image.Exif()
    found[ExifTags.Base.ImageDescription] = "x" * 70_000
    photo = read_photo(encoded(Image.fromarray(RGB), "png", exif=found))
    assert decoded(encode_photo(photo, "jpeg")).size == (14, 10)
