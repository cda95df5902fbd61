"""MAXIM's blocks: resizing between levels, and layers on the channels-last layout."""

import pytest
import torch
import torch.nn.functional as F
from parity_check import assert_parity

from models.maxim.blocks import CrossGating, Doubling, Resizing, SupervisedAttention, shrunk
from models.maxim.config import CHANNELS


def features(level, height, width):
    shape = 2, height >> level, width >> level, CHANNELS[level]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("source", range(3))
@pytest.mark.parametrize("target", range(3))
def test_resizing_before_and_after_the_layer_is_the_same(source, target):
    """As published: first resize, then a 1 x 1 convolution.  Bilinear, antialiased only where it shrinks."""
    resizing, x = Resizing(source, target), features(source, 32, 48)
    planes, size = x.permute(0, 3, 1, 2), (32 >> target, 48 >> target)
    scaled = F.interpolate(planes, size, mode="bilinear", align_corners=False, antialias=target > source)
    expected = F.conv2d(scaled, resizing.linear.weight[:, :, None, None], resizing.linear.bias)
    assert_parity(resizing(x), expected.permute(0, 2, 3, 1))


def test_shrinking_averages_with_a_triangle_twice_as_wide_as_a_pixel_of_the_result():
    """A line of one pixel at twice the resolution: weights 1/8, 3/8, 3/8, 1/8 of the triangle, not 1/2, 1/2."""
    resizing = Resizing(0, 1)
    torch.nn.init.eye_(resizing.linear.weight)
    torch.nn.init.zeros_(resizing.linear.bias)
    x = torch.zeros(1, 8, 8, CHANNELS[0])
    x[:, :, 4] = 1.0
    found = resizing(x)[0, 2, :, 0]
    torch.testing.assert_close(found, torch.tensor([0, 0.125, 0.375, 0]))


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("size", [(8, 8), (64, 32), (16, 128)])
def test_shrinking_is_torchs_antialiased_resize_at_the_borders_too(times, size):
    planes = torch.rand(2, 5, *size, generator=torch.Generator().manual_seed(3))
    expected = F.interpolate(planes, scale_factor=1 / times, mode="bilinear", align_corners=False, antialias=True)
    assert_parity(shrunk(planes, times), expected)


def test_doubling_gives_each_pixel_a_square_of_four():
    layer, x = Doubling(6, 4), torch.randn(2, 5, 7, 6)
    expected = torch.einsum("bhwi,iopq->bhpwqo", x, layer.weight).reshape(2, 10, 14, 4) + layer.bias
    assert_parity(layer(x), expected)


def test_closed_gates_leave_both_features_of_a_cross_gating_and_their_sum():
    """x' = out(p G(q)) + y' + x and y' = out(q G(p)) + y: with G = 0 and no biases after it, y' = y and x' = x + y."""
    block, x, y = CrossGating(32, 32, 16), features(0, 64, 64), features(0, 64, 64).flip(1)
    for gates in (block.gates_x, block.gates_y):
        torch.nn.init.zeros_(gates.project.weight)
        torch.nn.init.zeros_(gates.project.bias)
    for out in (block.out_x, block.out_y):
        torch.nn.init.zeros_(out.bias)
    new_x, new_y = block([x], y)
    assert_parity(new_y, block.entry_y(y))
    assert_parity(new_x, block.entry_x(x) + block.entry_y(y))


def test_supervised_attention_weights_features_by_the_predicted_picture():
    block, x, image = SupervisedAttention(32), features(0, 16, 16), torch.rand(2, 16, 16, 3)
    picture = block.picture(x) + image
    assert_parity(block(x, image), block.features(x) * torch.sigmoid(block.weights(picture)) + x)
