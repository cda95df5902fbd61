"""Smooth kernels and the published mixture against the authors' module at the same seeds, and by definition."""

import numpy as np
import pytest

from models.training.data.wild.kernels import PUBLISHED, KernelConfig, kernel_of, random_kernel, smooth_kernel
from models.training.data.wild.random_streams import RandomStreams

SMOOTH = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


def no_psf(draws):
    raise AssertionError("this kind reads no point spread")


@pytest.mark.parametrize("size", [5, 7, 11, 17, 21])
@pytest.mark.parametrize("kind", [*SMOOTH, "defocus", "box", "line"])
def test_a_random_kernel_equals_the_published_one(ops, kind, size):
    kernel = kernel_of(kind, size, RandomStreams(size), KernelConfig(), no_psf)
    np.testing.assert_allclose(kernel, ops[f"k.{kind}.{size}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [*SMOOTH, "defocus", "box", "line"])
def test_every_kernel_sums_to_one(kind):
    kernel = kernel_of(kind, 19, RandomStreams(3), KernelConfig(), no_psf)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel.min() >= 0


def test_a_gaussian_kernel_has_the_requested_moments():
    kernel = smooth_kernel("gaussian", 41, 3.0, 1.5, angle=0.0)
    axis = np.arange(41) - 20
    assert (kernel.sum(axis=0) * axis**2).sum() == pytest.approx(9.0, rel=1e-3)
    assert (kernel.sum(axis=1) * axis**2).sum() == pytest.approx(2.25, rel=1e-3)


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


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match=r"'gaussian'.*expected one of iso"):
        kernel_of("gaussian", 5, RandomStreams(0), KernelConfig(), no_psf)
