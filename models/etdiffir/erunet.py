"""The efficient U-Net of ETDiffIR: IR-SDE's U-Net with efficient residual blocks (ERB) in place of convolutions.

An ERB is a depthwise 7 x 7 convolution and a two-layer perceptron over channels with global response normalization
(Woo et al. 2023, arXiv:2301.00808), both residual.  There are two modes:

    published-code   what the authors' code does: the decoder's ERBs are built and stored, but never run
    paper            what the paper says: the decoder's ERBs run, one block a level; caption and degradation are
                     concatenated before the prompt, so that the prompt's input is twice as wide

Shapes:  B images, C channels, H W pixels, D context width.  Interfaces and ranges are those of `ConditionalUNet`.
Key names are those of the published code.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.daclip.conditional_unet import ConditionalUNet, ResBlock, UNetConfig

Mode = Literal["published-code", "paper"]


@dataclass(frozen=True, kw_only=True)
class EfficientUNetConfig:
    """Defaults are the authors' sizes: 45,244,035 stored parameters in published-code mode, 33,779,459 of them used."""

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    context_dim: int = 512
    mode: Mode = "published-code"

    @property
    def unet(self) -> UNetConfig:
        """The skeleton."""
        return UNetConfig(width=self.width, multipliers=self.multipliers, context_dim=self.context_dim)

    @property
    def prompt_dim(self) -> int:
        """Width of the fused condition that the prompt reads (see models.etdiffir.tifb)."""
        return 2 * self.context_dim if self.mode == "paper" else self.context_dim


class ResponseNorm(nn.Module):
    """Each channel weighed by its share of the picture's response, (B, H, W, C) -> (B, H, W, C); silent at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        response = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)  # (B, 1, 1, C)
        share = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.beta, x, self.gamma * share + 1)


class EfficientBlock(nn.Module):
    """The ERB: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.grn = ResponseNorm(4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C) from here on
        near = F.gelu(self.dwconv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        x = x + self.norm(near)
        x = x + self.pwconv2(self.grn(F.gelu(self.pwconv1(x))))
        return x.permute(0, 3, 1, 2)


class EfficientConvolution(nn.Module):
    """What stands for a convolution: (B, inputs, H, W) -> (B, outputs, H, W), modulated where asked, then SiLU.

    With `mixes` a 1 x 1 convolution goes before the ERB; with `runs` false the ERB is stored and left out.
    """

    def __init__(self, inputs: int, outputs: int, *, mixes: bool = False, runs: bool = True) -> None:
        super().__init__()
        block = EfficientBlock(outputs)
        self.proj = nn.Sequential(nn.Conv2d(inputs, outputs, 1), block) if mixes else nn.Sequential(block)
        self.runs = runs

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return _modulated(self.proj(x) if self.runs else self.proj[0](x), scale, shift)


class MixingConvolution(nn.Module):
    """A 1 x 1 convolution alone, modulated where asked, then SiLU: how the paper's decoder takes in a skip."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        return _modulated(self.proj(x), scale, shift)


def _modulated(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    return F.silu(x if scale is None or shift is None else torch.addcmul(shift, x, 1 + scale))


class EfficientUNet(ConditionalUNet):
    """The noise in a state.  `prepare` takes the caption's feature (B, D) and the fused condition (B, prompt_dim)."""

    def __init__(self, config: EfficientUNetConfig) -> None:
        super().__init__(config.unet, partial(_block, runs=config.mode == "paper"))
        self.efficient = config
        wide = self.config.embedding
        if config.mode == "paper":
            self.text_mlp[0] = nn.Linear(config.prompt_dim, wide)
            for level, narrow in zip(self.ups, reversed(self._widths()), strict=True):
                broad = level[1].block2.proj[0].out_channels  # type: ignore[index]
                level[0] = ResBlock(broad + narrow, broad, wide, MixingConvolution)  # type: ignore[operator]

    def _widths(self) -> list[int]:
        """Of each level's incoming picture, from the top."""
        return [self.config.width * multiplier for multiplier in (1, *self.config.multipliers[:-1])]


def _block(inputs: int, outputs: int, embedding: int, *, runs: bool) -> ResBlock:
    """The decoder's blocks, those that join a skip, mix channels first; the encoder's and the middle's need not."""
    if inputs == outputs:
        return ResBlock(inputs, outputs, embedding, EfficientConvolution)
    return ResBlock(inputs, outputs, embedding, partial(EfficientConvolution, mixes=True, runs=runs))
