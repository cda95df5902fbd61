"""The denoiser's latent space: a lossless patch codec for the small system, KL-f8 for the published system.

Both convert (B, 3, H, W) in [-1, 1] to (B, C, H/f, W/f) and back.  There are two scales: z_t is in *scaled* latents, of
about unit variance; the image condition z_I is the *unscaled* posterior mode, as AutoDIR concatenates it.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.torchvision_mend import mend_torchvision


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """Folds f x f pixels into channels.  `scale` gives natural images (std about 0.5) unit variance."""

    kind: Literal["patch"] = "patch"
    factor: int = 8
    scale: float = 2.0

    @property
    def channels(self) -> int:
        return 3 * self.factor**2


@dataclass(frozen=True, kw_only=True)
class KLConfig:
    """Stable Diffusion's autoencoder; defaults are the published KL-f8."""

    kind: Literal["kl"] = "kl"
    block_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    channels: int = 4
    norm_groups: int = 32
    scale: float = 0.18215

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.block_channels) - 1))


CodecConfig = PatchConfig | KLConfig


class PatchCodec(nn.Module):
    """Space-to-depth: lossless, without parameters."""

    def __init__(self, config: PatchConfig) -> None:
        super().__init__()
        self.factor = config.factor

    def encode(self, image: Tensor) -> Tensor:
        return F.pixel_unshuffle(image, self.factor)

    def decode(self, latent: Tensor) -> Tensor:
        return F.pixel_shuffle(latent, self.factor)


class KLCodec(nn.Module):
    """diffusers' AutoencoderKL; the condition is the posterior's mode, so encoding draws no noise."""

    def __init__(self, config: KLConfig) -> None:
        super().__init__()
        mend_torchvision()
        from diffusers import AutoencoderKL  # after the mend: diffusers may import torchvision

        levels = len(config.block_channels)
        self.autoencoder = AutoencoderKL(
            block_out_channels=config.block_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.channels,
            norm_num_groups=config.norm_groups,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )

    def encode(self, image: Tensor) -> Tensor:
        return self.autoencoder.encode(image).latent_dist.mode()  # type: ignore[no-any-return]

    def decode(self, latent: Tensor) -> Tensor:
        return self.autoencoder.decode(latent).sample  # type: ignore[no-any-return]


def build_codec(config: CodecConfig) -> PatchCodec | KLCodec:
    return PatchCodec(config) if isinstance(config, PatchConfig) else KLCodec(config)
