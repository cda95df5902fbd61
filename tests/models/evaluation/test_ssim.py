"""PSNR and SSIM against closed forms, and SSIM against a second implementation of the same formula."""

import math

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from models.evaluation.pairs import read_picture
from models.evaluation.ssim import METRICS, ssim
from models.psnr import psnr


def flat(value, height=24, width=20, dtype=np.uint8):
    return np.full((height, width, 3), value, dtype)


def photo(seed, height=40, width=33):
    """Smooth structure with noise, so that means, variances and covariances all matter."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(x / 5 + seed)[..., None] * np.cos(y / 7)[..., None] * np.array([1.0, 0.7, 0.4])
    return np.clip(waves + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("difference", [1, 5, 255])
def test_psnr_of_a_constant_difference_is_twenty_log_peak_over_difference(difference):
    assert psnr(flat(0), flat(difference)) == pytest.approx(20 * math.log10(255 / difference))


def test_psnr_of_one_wrong_pixel_is_a_mean_over_every_pixel_and_channel():
    other = flat(100)
    other[3, 4, 1] = 110
    assert psnr(flat(100), other) == pytest.approx(10 * math.log10(255**2 * other.size / 10**2))


def test_psnr_of_equal_pictures_is_infinite():
    assert psnr(photo(1), photo(1)) == math.inf


def test_psnr_does_not_overflow_in_8_bits():
    assert psnr(flat(255), flat(0)) == psnr(flat(0), flat(255)) == pytest.approx(0)


def test_16_bit_pictures_are_measured_against_their_own_peak():
    assert psnr(flat(0, dtype=np.uint16), flat(257, dtype=np.uint16)) == pytest.approx(20 * math.log10(255))


def test_gaussian_noise_of_25_gives_the_textbook_psnr():
    grain = np.random.default_rng(0).normal(0, 25, (256, 256, 3))
    noisy = np.clip(np.round(128 + grain), 0, 255).astype(np.uint8)
    assert psnr(flat(128, 256, 256), noisy) == pytest.approx(20 * math.log10(255 / 25), abs=0.1)


def test_ssim_of_equal_pictures_is_one():
    assert ssim(photo(2), photo(2)) == pytest.approx(1)


def test_ssim_of_two_flat_pictures_is_the_luminance_term_alone():
    a, b, c1 = 60.0, 180.0, (0.01 * 255) ** 2
    assert ssim(flat(60), flat(180)) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))


def test_ssim_is_symmetric_and_falls_with_noise():
    clean, grain = photo(3).astype(float), np.random.default_rng(4).normal(0, 1, (40, 33, 3))
    worse = [np.clip(clean + sigma * grain, 0, 255).astype(np.uint8) for sigma in (5, 20, 60)]
    values = [ssim(photo(3), picture) for picture in worse]
    assert values == sorted(values, reverse=True)
    assert ssim(worse[0], photo(3)) == pytest.approx(values[0])


def test_ssim_agrees_with_a_plain_two_dimensional_convolution():
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    a, b = photo(5).astype(float), photo(6).astype(float)
    maps = []
    for channel in range(3):
        p, q = a[..., channel], b[..., channel]
        mean = lambda plane: np.einsum("ijkl,kl->ij", sliding_window_view(plane, (11, 11)), window)  # noqa: E731
        mp, mq = mean(p), mean(q)
        vp, vq, cov = mean(p * p) - mp**2, mean(q * q) - mq**2, mean(p * q) - mp * mq
        maps.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert maps[0].shape == (30, 23)
    assert ssim(photo(5), photo(6)) == pytest.approx(float(np.mean(maps)), abs=1e-9)


@pytest.mark.parametrize(
    ("pair", "psnr_db", "similarity"),
    [
        ("derain/{}/rain100l_021.png", 32.017263667902036, 0.9281795854875233),
        ("lowlight/{}/lol_111.png", 5.612231218325907, 0.191399084089723),
        ("deblur/{}/gopro_00.png", 23.581849924152944, 0.7039253165710316),
    ],
)
def test_public_test_photos_have_the_scores_that_scikit_image_computes(shared, pair, psnr_db, similarity):
    """scikit-image 0.26: gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255."""
    degraded, truth = (read_picture(shared / "eval" / pair.format(kind)) for kind in ("lq", "gt"))
    assert psnr(degraded, truth) == pytest.approx(psnr_db, abs=1e-9)
    assert ssim(degraded, truth) == pytest.approx(similarity, abs=1e-9)


def test_ssim_uses_only_positions_where_the_window_fits():
    other = flat(100, 11, 11)
    other[0, 0] = 101  # the only window gives this pixel its smallest weight
    assert 0.999 < ssim(flat(100, 11, 11), other) < 1


@pytest.mark.parametrize("measure", METRICS.values())
def test_pictures_of_different_shape_or_type_are_refused(measure):
    with pytest.raises(ValueError, match="one shape and type"):
        measure(flat(0), flat(0, 24, 21))
    with pytest.raises(ValueError, match="one shape and type"):
        measure(flat(0), flat(0, dtype=np.uint16))


def test_ssim_refuses_a_picture_smaller_than_the_window():
    with pytest.raises(ValueError, match="at least 11 a side"):
        ssim(flat(0, 10, 40), flat(0, 10, 40))
