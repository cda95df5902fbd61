"""The independent measures fall with the damage that they are about."""

import numpy as np
import pytest
import torch
from scenes import scene

from models.safety.damage import MEASURES, darkness, lessened, noise
from models.training.data.degradations import SYNTHESIZERS


def damaged(label, seed):
    """A damaged scene; haze and low light of the strength that real ones have."""
    truth = np.ascontiguousarray(((scene(seed) + 1) / 2).permute(1, 2, 0).numpy())
    out = SYNTHESIZERS[label](truth, np.random.default_rng(seed))
    return torch.from_numpy(np.ascontiguousarray(out)).permute(2, 0, 1) * 2 - 1


@pytest.mark.parametrize("label", sorted(MEASURES))
def test_the_truth_has_less_of_every_damage(label):
    found = [lessened(label, damaged(label, seed), scene(seed)) for seed in range(1, 9)]
    assert sum(found) >= 7, "a faint or odd one may be missed"


@pytest.mark.parametrize("label", sorted(MEASURES))
def test_an_image_has_no_less_than_itself(label):
    assert not lessened(label, damaged(label, 1), damaged(label, 1))


@pytest.mark.parametrize("sigma", [3.0, 10.0, 25.0])
def test_the_noise_is_its_standard_deviation(sigma):
    generator = torch.Generator().manual_seed(0)
    assert noise(128 + sigma * torch.randn(3, 128, 128, generator=generator)) == pytest.approx(sigma, rel=0.05)


def test_darkness_is_the_distance_from_white():
    assert darkness(torch.full((3, 16, 16), 55.0)) == pytest.approx(200)


def test_an_unknown_damage_and_a_tiny_picture_are_not_judged():
    assert lessened("faded", scene(), scene())
    assert lessened("noise", scene()[:, :4, :4], scene()[:, :4, :4])
