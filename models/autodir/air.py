"""AIR, AutoDIR's text-conditioned latent diffusion network (Jiang et al. 2023, arXiv:2310.10123, section 3.2).

Shapes:  B batch, C latent channels, h w latent pixels, L D text tokens and width.  Images are RGB in [-1, 1]; z_t is in
scaled latents (about unit variance), z_I in unscaled ones.  The U-Net sees [z_t, z_I] and attends to the text states.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from models.autodir.latents import CodecConfig, KLConfig, build_codec
from models.autodir.samplers import NoiseSchedule
from models.networks.torchvision_mend import mend_torchvision

PredictionType = Literal["epsilon", "v_prediction"]
Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""([z_t, z_I] (B, 2 C, h, w), timestep (B,), context (B, L, D)) -> the U-Net's output (B, C, h, w)."""


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Configuration of diffusers' UNet2DConditionModel; defaults are the published network (859.5 M parameters).

    `attention` says for each level whether it attends to the text; the middle block always does.
    """

    block_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention: tuple[bool, ...] = (True, True, True, False)
    heads: int = 8
    context_dim: int = 768
    norm_groups: int = 32


@dataclass(frozen=True, kw_only=True)
class AIRConfig:
    """Configuration of the denoiser and its latent space; defaults are the published system.

    `residual` adds -sigma_t z_I (in scaled latents) to the U-Net's v.  At the noisy end that is the v of an unchanged
    image, so the network learns what to change instead of how to copy 8 x 8 patches.  Only with v_prediction.
    """

    unet: UNetConfig = field(default_factory=UNetConfig)
    codec: CodecConfig = field(default_factory=KLConfig)
    prediction: PredictionType = "epsilon"
    residual: bool = False
    terminal_signal: float | None = None  # see NoiseSchedule


class AIR(nn.Module):
    """The denoiser and its latent space.

    Both take and return float32, whatever the type of their weights, so latents and the sampler stay exact.  `network`
    replaces the plain call of the U-Net (models.autodir.speed sets a faster one); None: `eager`.
    """

    def __init__(self, config: AIRConfig) -> None:
        super().__init__()
        mend_torchvision()
        from diffusers import UNet2DConditionModel  # after the mend: diffusers may import torchvision

        self.config = config
        self.schedule = NoiseSchedule(config.terminal_signal)
        unet, channels = config.unet, config.codec.channels
        self.codec = build_codec(config.codec)
        self.unet = UNet2DConditionModel(
            in_channels=2 * channels,
            out_channels=channels,
            block_out_channels=unet.block_channels,
            layers_per_block=unet.layers_per_block,
            down_block_types=tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in unet.attention),
            up_block_types=tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(unet.attention)),
            cross_attention_dim=unet.context_dim,
            attention_head_dim=unet.heads,  # diffusers' old name: it is the number of heads
            norm_num_groups=unet.norm_groups,
        )
        self.network: Network | None = None

    @property
    def stride(self) -> int:
        """The codec's factor times the U-Net's down-sampling; image sides must be multiples of it."""
        return int(self.config.codec.factor * 2 ** (len(self.config.unet.block_channels) - 1))

    @property
    def scale(self) -> float:
        """Scaled latents are `scale` times unscaled ones."""
        return self.config.codec.scale

    def encode(self, image: Tensor) -> Tensor:
        """Returns the image condition z_I, unscaled: (B, 3, H, W) -> (B, C, h, w)."""
        return self.codec.encode(image.to(_dtype(self.codec, image))).to(image.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Returns the pixels of a scaled latent: (B, C, h, w) -> (B, 3, H, W)."""
        return self.codec.decode((z / self.scale).to(_dtype(self.codec, z))).to(z.dtype)

    def predict(
        self, z_t: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor, network: Network | None = None
    ) -> Tensor:
        """Returns the network's output (eps or v, see the configuration).

        z_t (B, C, h, w) in variance-preserving scale, timestep (B,) that may be fractional, context (B, L, D);
        `network` is called instead of the usual network.
        """
        dtype = _dtype(self.unet, z_t)
        network = network or self.network or self.eager
        output = network(torch.cat([z_t, z_image], dim=1).to(dtype), timestep, context.to(dtype)).to(z_t.dtype)
        if self.config.residual:
            output = output + self._residual(z_t, z_image, timestep)
        return output

    def eager(self, stacked: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """Calls the U-Net directly; see `Network`."""
        output: Tensor = self.unet(stacked, timestep, encoder_hidden_states=context, return_dict=False)[0]
        return output

    def _residual(self, z_t: Tensor, z_image: Tensor, timestep: Tensor) -> Tensor:
        """Returns sigma (alpha z_t - z_I), z_I in scaled latents: near sigma 1 the v of the unchanged degraded latent.

        The exact v has 1 / sigma in place of sigma, which explodes where the noise ends; this term vanishes there.
        """
        kept = self.schedule.at(timestep)[:, None, None, None]
        return (1 - kept).sqrt() * (kept.sqrt() * z_t - self.scale * z_image)


def _dtype(network: nn.Module, otherwise: Tensor) -> torch.dtype:
    """Returns the type of a network's weights; that of `otherwise` if it has none."""
    return next((parameter.dtype for parameter in network.parameters()), otherwise.dtype)
