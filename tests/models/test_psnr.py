"""PSNR against its definition, for arrays and for tensors."""

import math

import numpy as np
import pytest
import torch

from models.psnr import mean_psnr, psnr


@pytest.mark.parametrize("as_array", [np.asarray, torch.from_numpy])
def test_bytes_have_a_peak_of_255(as_array):
    dark, light = (as_array(np.full((4, 5, 3), value, np.uint8)) for value in (10, 30))
    assert psnr(dark, light) == pytest.approx(20 * math.log10(255 / 20))


def test_equal_pictures_have_an_infinite_psnr():
    assert psnr(torch.ones(3, 4, 4), torch.ones(3, 4, 4), peak=2) == math.inf


def test_a_peak_counts_in_place_of_that_of_the_type():
    assert psnr(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.2), peak=2) == pytest.approx(20, abs=1e-5)


def test_pictures_of_different_types_are_refused():
    with pytest.raises(ValueError, match="expected pictures of one shape and type"):
        psnr(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint16))


def test_a_batch_is_the_mean_of_its_pictures_each_capped_at_45_db():
    targets = torch.zeros(2, 3, 8, 8)
    results = targets + torch.tensor([0.2, 0.0]).view(2, 1, 1, 1)
    assert mean_psnr(results, targets) == pytest.approx((20 - 10 * math.log10(3e-5)) / 2, abs=1e-4)
