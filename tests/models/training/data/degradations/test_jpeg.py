"""JPEG compression against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from models.training.data.degradations.jpeg import SAMPLING_420, SAMPLING_444, compress


@pytest.mark.parametrize(("sampling", "subsampling"), [(SAMPLING_420, "4:2:0"), (SAMPLING_444, "4:4:4")])
@pytest.mark.parametrize("quality", [10, 20, 60])
def test_compression_agrees_with_pillow_at_the_same_quality(quality, sampling, subsampling, picture, psnr):
    clean = picture(64, 72)
    file = io.BytesIO()
    pixels = np.rint(clean * 255).astype(np.uint8)
    Pillow.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    theirs = np.asarray(Pillow.open(file)).astype(np.float32) / 255
    ours = compress(clean, quality, sampling)
    assert np.abs(ours - theirs).mean() < 0.5 / 255
    assert np.abs(psnr(ours, clean) - psnr(theirs, clean)) < 0.1
