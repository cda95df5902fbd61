"""Color matching."""

import torch

from models.color import match_colors


def test_each_channel_gets_the_mean_and_deviation_of_the_reference():
    image, reference = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.1
    matched = match_colors(image * 2 - 0.5, reference)
    torch.testing.assert_close(matched.mean((1, 2)), reference.mean((1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(matched.std((1, 2)), reference.std((1, 2)), atol=1e-3, rtol=0)
