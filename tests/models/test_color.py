"""Color matching."""

import pytest
import torch

from models.color import match_colors


def test_each_channel_gets_the_mean_and_deviation_of_the_reference():
    image, reference = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.1
    matched = match_colors(image * 2 - 0.5, reference)
    torch.testing.assert_close(matched.mean((1, 2)), reference.mean((1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(matched.std((1, 2)), reference.std((1, 2)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1), (5, 5)])
@pytest.mark.parametrize("constant", [True, False])
def test_a_picture_of_one_pixel_one_line_or_one_color_gives_finite_pixels(height, width, constant):
    image = torch.full((3, height, width), 0.25) if constant else torch.linspace(-1, 1, 3 * height * width)
    matched = match_colors(image.reshape(3, height, width), torch.full((3, height, width), -0.5))
    assert matched.isfinite().all()
    torch.testing.assert_close(matched.mean((1, 2)), torch.full((3,), -0.5), atol=1e-5, rtol=0)
