"""The cached U-Net call against diffusers' own forward, on the published layout."""

import torch
from parity_check import assert_parity

from models.autodir.deep_cache import cached_forward, full_forward


def test_with_its_own_deep_features_the_cached_call_equals_the_full_one(tiny_air):
    generator = torch.Generator().manual_seed(0)
    stacked, context = torch.randn(2, 8, 16, 24, generator=generator), torch.randn(2, 77, 768, generator=generator)
    timestep = torch.tensor([500.3, 20.0])
    expected = tiny_air.eager(stacked, timestep, context)
    output, deep = full_forward(tiny_air.unet, stacked, timestep, context)
    assert_parity(output, expected)
    assert_parity(cached_forward(tiny_air.unet, stacked, timestep, context, deep), expected)
