"""The latent spaces: the patch codec losses nothing, the autoencoder is the published one."""

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.latents import KLConfig, PatchCodec, PatchConfig, build_codec


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_the_patch_codec_is_lossless(factor):
    image = torch.rand(2, 3, 48, 80) * 2 - 1
    codec = PatchCodec(PatchConfig(factor=factor))
    latent = codec.encode(image)
    assert latent.shape == (2, PatchConfig(factor=factor).channels, 48 // factor, 80 // factor)
    assert torch.equal(codec.decode(latent), image)


def test_a_patch_becomes_the_channels_of_one_latent_pixel():
    image = torch.rand(1, 3, 16, 24)
    latent = PatchCodec(PatchConfig(factor=8)).encode(image)
    patch = image[0, :, 8:16, 16:24]
    assert torch.equal(latent[0, :, 1, 2], patch.reshape(-1))


def test_the_scale_is_undone_by_decoding():
    """AIR decodes scaled latents; its condition stays unscaled."""
    unet = UNetConfig(
        block_channels=(8, 8), layers_per_block=1, attention=(False, True), heads=2, context_dim=8, norm_groups=4
    )
    air = AIR(AIRConfig(unet=unet, codec=PatchConfig(factor=4, scale=2.0)))
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    assert air.encode(image).abs().max() <= 1
    assert torch.equal(air.decode(air.encode(image) * air.scale), image)


class TestTheAutoencoder:
    @pytest.fixture
    def codec(self, tiny_air):
        return tiny_air.codec

    def test_encoding_gives_the_published_posterior_mode(self, codec, parity):
        vectors = load_file(parity / "vae.safetensors")
        assert_parity(codec.encode(vectors["x"]), vectors["mode"])

    def test_decoding_gives_the_published_picture(self, codec, parity):
        vectors = load_file(parity / "vae.safetensors")
        decoded = codec.decode(vectors["z"] / KLConfig().scale)
        assert_parity(decoded, vectors["decoded"])

    def test_encoding_draws_no_noise(self, codec):
        image = torch.rand(1, 3, 32, 32)
        assert torch.equal(codec.encode(image), codec.encode(image))

    def test_the_defaults_are_the_published_size(self):
        with torch.device("meta"):
            codec = build_codec(KLConfig())
        assert sum(parameter.numel() for parameter in codec.parameters()) == 83_653_863
        assert KLConfig().factor == 8
