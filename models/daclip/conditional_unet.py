"""IR-SDE's U-Net conditioned by DA-CLIP's two embeddings (arXiv:2310.01018, section 4; wild variant: arXiv:2404.09732).

The degradation embedding weights a learned prompt, which is added to the time embedding.  The content embedding is the
single token of the cross-attentions.  `prepare` computes once what is constant for an image.  Parameter names are those
of the published checkpoints.

Shapes:  B images, H W pixels (any size; reflected at the right and the bottom to a multiple of 2^levels), D context,
E = 4 width the embedding.  x (state), mu (degraded image) and the output (noise) are (B, 3, H, W), images in [0, 1].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.daclip.attention import LinearAttention, Pointwise, Residual, SpatialTransformer
from models.pixels import pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Defaults are the published universal-ir.pth; `WILD` is wild-ir.pth.

    Attributes:
        prompt: whether the degradation embedding is used.
        cross: whether the content embedding is used.
        half_scale: whether the network works at half the image's size between the first convolution and the last
            blocks.
    """

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    context_dim: int = 512
    prompt: bool = True
    cross: bool = True
    half_scale: bool = False
    channels: int = 3

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this."""
        return int(2 ** len(self.multipliers))

    @property
    def embedding(self) -> int:
        return 4 * self.width


WILD = UNetConfig(context_dim=768, prompt=False, half_scale=True)


@dataclass(frozen=True)
class Constants:
    """What is the same at every step of an image: its prompt (B, E), and one vector (B, C) for each cross-attention."""

    prompt: Tensor | None
    cross_vectors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.prompt if self.prompt is not None else self.cross_vectors[0])

    def __getitem__(self, index: int) -> Self:
        """Returns the constants of one image, as a batch of 1."""
        part = slice(index, index + 1)
        prompt = None if self.prompt is None else self.prompt[part]
        return type(self)(prompt, tuple(vector[part] for vector in self.cross_vectors))

    @classmethod
    def stack(cls, images: Sequence[Self]) -> Self:
        """Returns the constants of several images as a batch; all must come from the same network."""
        prompts = [image.prompt for image in images if image.prompt is not None]
        cross_vectors = zip(*(image.cross_vectors for image in images), strict=True)
        return cls(torch.cat(prompts) if prompts else None, tuple(torch.cat(vectors) for vectors in cross_vectors))


class Sinusoid(nn.Module):
    """(B,) times -> (B, width): sines, then cosines, with frequencies from 1 to 1e-4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.count = width // 2

    def forward(self, t: Tensor) -> Tensor:
        rates = torch.exp(torch.arange(self.count, device=t.device) * -(math.log(10000) / (self.count - 1)))
        angles = t.float()[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Convolution(nn.Module):
    """A 3 x 3 convolution without bias, modulated if a scale and a shift are given, then SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        x = self.proj(x)
        if scale is not None and shift is not None:
            x = torch.addcmul(shift, x, 1 + scale)
        return F.silu(x, inplace=not x.requires_grad)  # saves the memory of a feature map


class ResBlock(nn.Module):
    """Two convolutions without norms; the embedding (B, E) modulates the first: (B, in, H, W) -> (B, out, H, W)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        convolution: Callable[[int, int], nn.Module] = Convolution,
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * outputs))
        self.block1, self.block2 = convolution(inputs, outputs), convolution(outputs, outputs)
        self.res_conv = Pointwise(inputs, outputs, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.mlp(embedding)[:, :, None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, scale, shift)) + self.res_conv(x)  # type: ignore[no-any-return]


Block = Callable[[int, int, int], nn.Module]
"""Builds a residual block: (inputs, outputs, embedding) -> a module that takes (x, embedding)."""


class Level(nn.ModuleList):
    """Two residual blocks, an attention, and the resampling to the next level."""

    def __init__(self, first: nn.Module, second: nn.Module, attention: Residual, resample: nn.Module) -> None:
        super().__init__([first, second, attention, resample])

    @property
    def attention(self) -> Residual:
        part = self[2]
        assert isinstance(part, Residual)
        return part


class ConditionalUNet(nn.Module):
    """Predicts the noise in a state.  `block` builds the residual blocks; ETDiffIR passes its own.

    Raises:
        ValueError: the configuration has neither condition, or a width that is not a multiple of 32.
    """

    def __init__(self, config: UNetConfig, block: Block = ResBlock) -> None:
        super().__init__()
        self.config = config
        if not (config.prompt or config.cross):
            raise ValueError("got a U-Net without a condition, expected prompt or cross")
        if config.width % 32:
            raise ValueError(f"got width {config.width}, expected a multiple of 32")
        width, wide = config.width, config.embedding
        self.init_conv = nn.Conv2d(2 * config.channels, width, 7, padding=3, bias=False)
        self.time_mlp = nn.Sequential(Sinusoid(width), nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, wide))
        if config.prompt:
            self.prompt = nn.Parameter(torch.rand(1, wide))
            self.text_mlp = nn.Sequential(nn.Linear(config.context_dim, wide), nn.SiLU(), nn.Linear(wide, wide))
            self.prompt_mlp = nn.Linear(wide, wide)
        if config.half_scale:
            self.downsample = nn.Conv2d(width, width, 4, stride=2, padding=1)
            self.upsample = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1))
        sizes = [width, *(width * multiplier for multiplier in config.multipliers)]
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (narrow, broad) in enumerate(pairwise(sizes)):
            last = level == len(config.multipliers) - 1
            self.downs.append(self._level(block, narrow, narrow, _down(narrow, broad, last), last))
            self.ups.insert(0, self._level(block, broad + narrow, broad, _up(broad, narrow, level == 0), last))
        bottom = sizes[-1]
        self.mid_block1, self.mid_block2 = block(bottom, bottom, wide), block(bottom, bottom, wide)
        self.mid_attn = self._attention(bottom, full=True)
        self.final_res_block = block(2 * width, width, wide)
        self.final_conv = nn.Conv2d(width, config.channels, 3, padding=1)

    def _level(self, block: Block, inputs: int, outputs: int, resample: nn.Module, full: bool) -> Level:
        wide = self.config.embedding
        first, second = block(inputs, outputs, wide), block(inputs, outputs, wide)
        return Level(first, second, self._attention(outputs, full), resample)

    def _attention(self, channels: int, full: bool) -> Residual:
        if full and self.config.cross:
            return Residual(channels, SpatialTransformer(channels, self.config.context_dim))
        return Residual(channels, LinearAttention(channels))

    def transformers(self) -> list[SpatialTransformer]:
        """Returns the transformers that take a context, in the order of the forward pass."""
        parts = [
            *(level.attention for level in _levels(self.downs)),
            self.mid_attn,
            *(level.attention for level in _levels(self.ups)),
        ]
        return [part.fn.fn for part in parts if isinstance(part.fn.fn, SpatialTransformer)]

    def prepare(self, image_context: Tensor | None, degradation: Tensor | None = None) -> Constants:
        """Compute what is constant for an image, from DA-CLIP's embeddings (B, D), not normalized.

        Without a degradation embedding the prompt is left out, as published.  Conditions that the network does not use
        are ignored.

        Raises:
            ValueError: the network uses the content embedding, and it is missing.
        """
        if self.config.cross and image_context is None:
            raise ValueError("got no image context, expected one: this network attends to it")
        cross_vectors: tuple[Tensor, ...] = ()
        if image_context is not None:
            cross_vectors = tuple(part.cross_vector(image_context) for part in self.transformers())
        if not self.config.prompt or degradation is None:
            return Constants(None, cross_vectors)
        prompt = self.text_mlp(degradation).softmax(dim=-1) * self.prompt
        return Constants(self.prompt_mlp(prompt), cross_vectors)

    def embed(self, t: Tensor, constants: Constants) -> Tensor:
        """Returns the embedding of time and prompt that modulates every block: t (B,), may be fractional -> (B, E)."""
        embedding: Tensor = self.time_mlp(t)
        return embedding if constants.prompt is None else embedding + constants.prompt

    def forward(self, x: Tensor, mu: Tensor, t: Tensor, constants: Constants) -> Tensor:
        """Returns the noise in x; t (B,) counts steps of the training schedule."""
        return self.denoise(x, mu, self.embed(t, constants), constants.cross_vectors)

    def denoise(self, x: Tensor, mu: Tensor, embedding: Tensor, cross_vectors: Sequence[Tensor]) -> Tensor:
        """Returns the noise in x from a precomputed embedding (B, E) and a vector (B, C) for each cross-attention."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(torch.cat([x - mu, mu], dim=1), self.config.stride, "reflect")  # (B, 6, H', W')
        x = self.init_conv(x.contiguous(memory_format=torch.channels_last))
        whole = x
        if self.config.half_scale:
            x = self.downsample(x)
        x = self._body(x, embedding, list(cross_vectors))
        if self.config.half_scale:
            x = self.upsample(x)
        x = self.final_conv(self.final_res_block(torch.cat([x, whole], dim=1), embedding))
        return x[..., :height, :width]

    def _body(self, x: Tensor, embedding: Tensor, cross_vectors: list[Tensor]) -> Tensor:
        """Run the levels down, the middle, and the levels up; each transformer takes the next of `cross_vectors`."""
        skips = []
        for level in _levels(self.downs):
            x = level[0](x, embedding)
            skips.append(x)
            x = _attend(level.attention, level[1](x, embedding), cross_vectors)
            skips.append(x)
            x = level[3](x)
        x = self.mid_block1(x, embedding)
        x = self.mid_block2(_attend(self.mid_attn, x, cross_vectors), embedding)
        for level in _levels(self.ups):
            x = level[0](torch.cat([x, skips.pop()], dim=1), embedding)
            x = level[1](torch.cat([x, skips.pop()], dim=1), embedding)
            x = level[3](_attend(level.attention, x, cross_vectors))
        return x


def _levels(parts: nn.ModuleList) -> list[Level]:
    return [part for part in parts if isinstance(part, Level)]


def _attend(attention: Residual, x: Tensor, cross_vectors: list[Tensor]) -> Tensor:
    cross_vector = [cross_vectors.pop(0)] if isinstance(attention.fn.fn, SpatialTransformer) else []
    return attention(x, *cross_vector)  # type: ignore[no-any-return]


def _down(narrow: int, broad: int, last: bool) -> nn.Module:
    if last:
        return nn.Conv2d(narrow, broad, 3, padding=1, bias=False)
    return nn.Conv2d(narrow, broad, 4, stride=2, padding=1)


def _up(broad: int, narrow: int, first: bool) -> nn.Module:
    if first:
        return nn.Conv2d(broad, narrow, 3, padding=1, bias=False)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(broad, narrow, 3, padding=1))
