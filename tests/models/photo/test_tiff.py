"""Our TIFF encoder, read back by other libraries."""

import io

import numpy as np
import pytest
import tifffile
from photo_samples import RGB, RGB16, SRGB, decoded, phone_exif

from models.photo.read import Photo
from models.photo.write import encode_photo


@pytest.mark.parametrize("samples", [RGB, RGB16], ids=["8 bits", "16 bits"])
def test_libtiff_and_tifffile_read_our_tiffs(samples):
    data = encode_photo(Photo(pixels=samples, format="tiff", exif=phone_exif(), icc=SRGB))
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), samples)
    pillow = np.asarray(decoded(data))
    np.testing.assert_array_equal(pillow, samples if samples.dtype == np.uint8 else samples >> 8)
