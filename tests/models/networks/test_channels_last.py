"""Layers on features with the channels last compute what torch's do on planes."""

import torch
import torch.nn.functional as F
from parity_check import assert_parity

from models.networks.channels_last import Convolution


def test_a_convolution_sees_channels_last():
    layer, x = Convolution(6, 4, 3, padding=1), torch.randn(2, 5, 7, 6)
    expected = F.conv2d(x.permute(0, 3, 1, 2), layer.weight, layer.bias, padding=1)
    assert_parity(layer(x), expected.permute(0, 2, 3, 1))
