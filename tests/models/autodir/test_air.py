"""The denoiser against the published numbers: fractional timesteps, text states, and the image beside the noise."""

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.latents import PatchConfig

SMALL = UNetConfig(
    block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=8, norm_groups=4
)


@pytest.fixture(scope="module")
def air():
    torch.manual_seed(0)
    return AIR(AIRConfig(unet=SMALL, codec=PatchConfig(factor=4))).eval().requires_grad_(False)


def inputs(count):
    generator = torch.Generator().manual_seed(1)
    z_t, z_image = torch.randn(2, count, 48, 6, 8, generator=generator)
    return z_t, z_image, torch.rand(count, generator=generator) * 999, torch.randn(count, 5, 8, generator=generator)


@pytest.mark.parametrize("name", ["int", "frac"])
def test_the_published_denoiser_is_reproduced(tiny_air, parity, name):
    vectors = {key.removeprefix(f"{name}."): value for key, value in load_file(parity / "unet.safetensors").items()}
    eps = tiny_air.predict(vectors["z_t"], vectors["z_I"], vectors["t"], vectors["context"])
    assert_parity(eps, vectors["eps"])


def test_a_fraction_of_a_timestep_counts(air):
    z_t, z_image, _, context = inputs(1)
    low, middle, high = (air.predict(z_t, z_image, torch.tensor([t]), context) for t in (500.0, 500.02, 500.04))
    assert not torch.equal(low, middle)
    torch.testing.assert_close(middle, (low + high) / 2, atol=1e-4, rtol=0)


def test_the_result_of_an_image_does_not_depend_on_its_batch(air):
    batch = inputs(3)
    alone = torch.cat([air.predict(*(part[i : i + 1] for part in batch)) for i in range(3)])
    assert_parity(air.predict(*batch), alone)


@pytest.mark.parametrize("changed", range(4))
def test_every_input_changes_the_output(air, changed):
    parts = list(inputs(1))
    before = air.predict(*parts)
    parts[changed] = parts[changed] * 0.5
    assert not torch.allclose(air.predict(*parts), before, atol=1e-4)


@pytest.mark.parametrize(
    ("unet", "codec", "stride"), [(SMALL, PatchConfig(factor=8), 16), (SMALL, PatchConfig(factor=4), 8)]
)
def test_the_stride_is_the_smallest_side_that_passes_through(unet, codec, stride):
    air = AIR(AIRConfig(unet=unet, codec=codec)).eval().requires_grad_(False)
    assert air.stride == stride
    z_image = air.encode(torch.zeros(1, 3, stride, 2 * stride))
    output = air.predict(torch.randn_like(z_image), z_image, torch.tensor([10.0]), torch.zeros(1, 5, 8))
    assert output.shape == z_image.shape


def test_the_defaults_are_the_published_denoiser():
    with torch.device("meta"):
        air = AIR(AIRConfig())
    assert sum(parameter.numel() for parameter in air.unet.parameters()) == 859_532_484
    assert air.stride == 64
