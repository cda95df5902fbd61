"""The whitened patch embedding: equal power on photographs, and a strong response to noise."""

import pytest
import torch
from torch import nn

from models.training.daclip.patch_whitening import MIN_DEVIATION, whiten_filters


def photographs(count=64, side=32, seed=0):
    """Random pictures whose power falls with the square of the frequency, as photographs' does."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft2(torch.randn(count, 3, side, side, generator=generator))
    across = torch.fft.rfftfreq(side)[None]
    down = torch.fft.fftfreq(side)[:, None]
    pictures = torch.fft.irfft2(spectrum / (across**2 + down**2).sqrt().clamp_min(1 / side), s=(side, side))
    return pictures / pictures.std()


@pytest.fixture
def patches():
    return nn.Conv2d(3, 48, 8, stride=8, bias=False)


def deviations(patches, pictures):
    with torch.no_grad():
        return patches(pictures).transpose(0, 1).flatten(1).std(dim=1)


def test_every_filter_has_the_same_power_on_photographs(patches):
    pictures = photographs()
    before = deviations(patches, pictures)
    whiten_filters(patches, pictures, torch.Generator().manual_seed(0))
    after = deviations(patches, pictures)
    assert before.max() / before.min() > 1.5  # random filters respond differently to brightness
    torch.testing.assert_close(after, torch.ones(48), rtol=0.05, atol=0)


def test_white_noise_has_a_stronger_response_than_with_random_filters(patches):
    """Random filters mostly respond to brightness; the increase by noise is 1.4 to 2.3 times theirs."""
    pictures = photographs()
    noisy = pictures + 0.1 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    plain = (deviations(patches, noisy) / deviations(patches, pictures)).median()
    whiten_filters(patches, pictures, torch.Generator().manual_seed(0))
    whitened = (deviations(patches, noisy) / deviations(patches, pictures)).median()
    assert whitened - 1 > 1.2 * (plain - 1)


def test_components_without_power_are_amplified_up_to_a_limit(patches):
    flat = photographs()[:, :1].repeat(1, 3, 1, 1)  # gray: two thirds of the components have no power
    whiten_filters(patches, flat, torch.Generator().manual_seed(0))
    assert patches.weight.flatten(1).norm(dim=1).max() <= 1 / MIN_DEVIATION + 1e-3


def test_the_same_seed_gives_the_same_filters_and_surplus_filters_are_zero():
    first, second = (nn.Conv2d(3, 60, 4, stride=4, bias=False) for _ in range(2))
    for patches in (first, second):
        whiten_filters(patches, photographs(), torch.Generator().manual_seed(3))
    assert torch.equal(first.weight, second.weight)
    assert torch.count_nonzero(first.weight[48:]) == 0


def test_too_few_patches_are_refused(patches):
    with pytest.raises(ValueError, match="expected at least 192"):
        whiten_filters(patches, photographs(count=1, side=16), torch.Generator())
