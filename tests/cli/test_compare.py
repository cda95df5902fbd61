"""`undegrade compare` measures PSNR and SSIM, and overwrites no file unless asked."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def size(path):
    with Image.open(path) as image:
        return image.size


def test_psnr_and_ssim_follow_their_formulas(undegrade, workplace):
    Image.fromarray(np.full((20, 20, 3), 100, np.uint8)).save("a.png")
    Image.fromarray(np.full((20, 20, 3), 110, np.uint8)).save("b.png")
    result = undegrade("compare", "a.png", "b.png", "--json", "-o", "side.png")
    figures = json.loads(result.text)
    assert figures["psnr_db"] == pytest.approx(20 * math.log10(255 / 10))
    c1 = (0.01 * 255) ** 2  # of two flat pictures only the luminance term is left
    assert figures["ssim"] == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    assert size("side.png") == (44, 20)
    assert "PSNR 28.13 dB" in undegrade("compare", "a.png", "b.png").text


def test_equal_small_and_differently_sized_images_are_reported(undegrade, photo):
    a = photo("a.png", height=8, width=8)
    assert undegrade("compare", a, a).text.split() == ["equal", "too", "small", "for", "SSIM"]
    assert json.loads(undegrade("compare", a, a, "--json").text) == {"psnr_db": None, "ssim": None}
    result = undegrade("compare", a, photo("b.png", height=8, width=9))
    assert result.code == 1
    assert "8 x 8 and 9 x 8" in result.err


def test_compare_overwrites_no_file_unless_asked(undegrade, photo):
    a, kept = photo("a.png"), Path("side.png")
    kept.write_bytes(b"mine")
    assert "already exists" in undegrade("compare", a, a, "-o", kept).err
    assert kept.read_bytes() == b"mine"
    undegrade("compare", a, a, "-o", kept, "--exists", "replace")
    assert size(kept) == (68, 24)
    assert undegrade("compare", a, a, "-o", "side.gif").code == 2
