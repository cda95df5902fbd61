"""Each operation against the authors' module at the same seed; the seeds are those of the vectors."""

import cv2
import numpy as np
import pytest

from models.training.data.wild.added_noise import gaussian, random_gaussian, random_noise, random_poisson
from models.training.data.wild.apertures import box_kernel, defocus_kernel, line_kernel
from models.training.data.wild.random_streams import RandomStreams
from models.training.data.wild.kernels import PUBLISHED, KernelConfig, kernel_of, random_kernel, smooth_kernel
from models.training.data.wild.resize_and_jpeg import jpeg, sharpen
from models.training.data.wild.ringing import sinc_kernel, wiener
from models.training.data.wild.under_display import random_under_display

SMOOTH = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


def no_psf(draws):
    raise AssertionError("this kind reads no point spread")


@pytest.mark.parametrize("size", [5, 7, 11, 17, 21])
@pytest.mark.parametrize("kind", [*SMOOTH, "defocus", "box", "line"])
def test_a_random_kernel_is_the_published_one(ops, kind, size):
    kernel = kernel_of(kind, size, RandomStreams(size), KernelConfig(), no_psf)
    np.testing.assert_allclose(kernel, ops[f"k.{kind}.{size}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", range(5, 22, 2))
def test_every_line_through_the_center_is_the_published_one(ops, size):
    lines = np.stack([line_kernel(size, index) for index in range(2 * size - 2)])
    np.testing.assert_array_equal(lines, ops[f"line_all.{size}"])


@pytest.mark.parametrize("size", range(5, 22, 2))
def test_the_sinc_kernel_is_the_published_one(ops, size):
    np.testing.assert_allclose(sinc_kernel(1.2, size), ops[f"sinc.{size}.1.2"], rtol=0, atol=1e-14)


def test_wiener_sharpening_is_the_published_one(ops):
    found = wiener(ops["wiener.in"], ops["wiener.kernel"])
    np.testing.assert_allclose(found, ops["wiener.out"], rtol=0, atol=2e-6)  # a single precision FFT


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("gauss", lambda image: random_gaussian(image, RandomStreams(6))),
        ("poisson", lambda image: random_poisson(image, RandomStreams(7))),
        ("noise", lambda image: random_noise(image, RandomStreams(8))),
        ("deg_noise50", lambda image: gaussian(image, 50, RandomStreams(9))),
    ],
)
def test_noise_is_the_published_one(ops, name, run):
    np.testing.assert_allclose(run(ops["img_bgr"]), ops[name], rtol=0, atol=1e-7)


def test_the_under_display_filter_is_the_published_one(ops, spreads_file):
    from safetensors.numpy import load_file

    spreads = [load_file(spreads_file)[f"ucd{i}"] for i in range(3)]
    np.testing.assert_allclose(random_under_display(ops["img_bgr"], spreads, RandomStreams(5)), ops["udc"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("quality", [10, 60, 80, 95])
def test_jpeg_is_the_published_one(ops, quality):
    found, expected = jpeg(ops["img_bgr"], quality), ops[f"jpeg{quality}"]
    assert np.abs(found - expected).max() <= 2 / 255  # decoders round differently from version to version


def test_sharpening_is_the_published_one(ops):
    np.testing.assert_allclose(sharpen(ops["img_bgr"]), ops["usm"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", ["down", "up"])
@pytest.mark.parametrize(
    ("name", "method"), [("area", cv2.INTER_AREA), ("cubic", cv2.INTER_CUBIC), ("linear", cv2.INTER_LINEAR)]
)
def test_opencv_resizes_as_it_did_for_the_authors(ops, way, name, method):
    expected = ops[f"resize_{way}_{name}"]
    found = cv2.resize(ops["img_bgr"], expected.shape[1::-1], interpolation=method)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [*SMOOTH, "defocus", "box", "line"])
def test_every_kernel_keeps_the_light(kind):
    kernel = kernel_of(kind, 19, RandomStreams(3), KernelConfig(), no_psf)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel.min() >= 0


def test_a_gaussian_kernel_has_the_moments_that_it_was_asked_for():
    kernel = smooth_kernel("gaussian", 41, 3.0, 1.5, angle=0.0)
    axis = np.arange(41) - 20
    assert (kernel.sum(axis=0) * axis**2).sum() == pytest.approx(9.0, rel=1e-3)
    assert (kernel.sum(axis=1) * axis**2).sum() == pytest.approx(2.25, rel=1e-3)


def test_the_disk_has_the_area_of_a_circle_and_the_box_is_even():
    assert np.count_nonzero(defocus_kernel(101)) == pytest.approx(np.pi * 51**2, rel=0.02)
    assert np.unique(box_kernel(9)).size == 1


def test_the_ideal_low_pass_passes_low_and_stops_high_frequencies():
    kernel = np.zeros((256, 256))
    kernel[:101, :101] = sinc_kernel(1.0, 101)
    response = np.abs(np.fft.fft2(kernel))[0]
    frequency = np.arange(128) * 2 * np.pi / 256
    assert response[:128][frequency < 0.8].min() > 0.85
    assert response[:128][frequency > 1.2].max() < 0.15


def test_the_mixture_has_the_published_odds():
    drawn, draws = [], RandomStreams(0)
    config = KernelConfig()
    for _ in range(4000):
        before = draws.choices.getstate()
        drawn.append(draws.choices.choices(list(config.odds), list(config.odds.values()))[0])
        draws.choices.setstate(before)
        random_kernel(5, draws, config, lambda _: np.ones((5, 5)) / 25)
    for kind, odds in PUBLISHED.items():
        assert drawn.count(kind) / 4000 == pytest.approx(odds, abs=4 * (odds * (1 - odds) / 4000) ** 0.5)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"'gaussian'.*expected one of iso"):
        kernel_of("gaussian", 5, RandomStreams(0), KernelConfig(), no_psf)


def test_the_streams_are_those_of_the_two_modules_seeded():
    import random

    random.seed(11)
    np.random.seed(11)
    draws = RandomStreams(11)
    assert draws.choices.random() == random.random()
    assert draws.numbers.uniform(2, 3) == np.random.uniform(2, 3)
    np.testing.assert_array_equal(draws.numbers.permutation(["a", "b", "c"]), np.random.permutation(["a", "b", "c"]))
