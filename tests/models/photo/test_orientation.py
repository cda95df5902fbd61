"""EXIF orientation against Pillow's own."""

import io

import numpy as np
import pytest
from photo_samples import LOSSLESS, RGB, RGB16, decoded, encoded, phone_exif
from PIL import ExifTags, Image, ImageOps

from models.photo.read import FORMATS, Photo, read_photo
from models.photo.write import encode_photo


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_not_written_again(kind, orientation):
    data = encoded(Image.fromarray(RGB), kind, exif=phone_exif(orientation), **LOSSLESS.get(kind, {}))
    photo = read_photo(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.shape == ((14, 10, 3) if orientation > 4 else (10, 14, 3))
    assert decoded(encode_photo(photo)).getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_pixels_are_oriented_like_eight_bit_pixels(orientation):
    data = encode_photo(Photo(pixels=RGB16, format="png", exif=phone_exif(orientation)))
    high = Image.fromarray((RGB16 >> 8).astype(np.uint8))
    high.getexif()[ExifTags.Base.Orientation] = orientation
    np.testing.assert_array_equal(read_photo(data).pixels >> 8, np.asarray(ImageOps.exif_transpose(high)))
