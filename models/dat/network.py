"""DAT-light: a transformer that enlarges a picture and restores its details (Chen et al. 2023, arXiv:2308.03364).

Shapes:  B batch, H W pixels (any size), C channels, s scale.  Images are RGB (B, 3, H, W) in [-1, 1]; the features
inside are (B, H, W, C), and images in [0, 1] as published.

Blocks aggregate over space and over channels in turn.  In each, a convolution beside the attention brings in what the
other direction sees, and each of both gates the other (the paper's adaptive interaction).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.dat.attention import channel_attention, window_attention
from models.dat.config import SHIFT_PX, WINDOW_PX, DATConfig
from models.networks.channels_last import Convolution
from models.pixels import pad_to_multiple

MEAN = (0.4488, 0.4371, 0.4040)
"""Of the training pictures, in [0, 1]."""
SIDE_PX = max(WINDOW_PX)
"""Both kinds of windows cover pictures whose sides are multiples of it."""


def same_size(inputs: int, outputs: int, side: int, groups: int = 1) -> Convolution:
    """Returns a convolution that keeps the size."""
    return Convolution(inputs, outputs, side, padding=side // 2, groups=groups)


class NormedConvolution(nn.Module):
    """A convolution, a batch normalization by recorded statistics, and GELU, on (B, H, W, C)."""

    def __init__(self, inputs: int, outputs: int, side: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = same_size(inputs, outputs, side, groups)
        self.gain, self.offset = nn.Parameter(torch.ones(outputs)), nn.Parameter(torch.zeros(outputs))
        self.mean, self.variance = nn.Parameter(torch.zeros(outputs)), nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        conv, scale = self.conv, self.gain * torch.rsqrt(self.variance + 1e-5)
        assert conv.bias is not None
        # Part of the convolution, since it is linear
        weight, bias = conv.weight * scale[:, None, None, None], (conv.bias - self.mean) * scale + self.offset
        y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=conv.padding, groups=conv.groups)
        return F.gelu(y).permute(0, 2, 3, 1)


class Interaction(nn.Module):
    """What both kinds of aggregation share: the convolution beside the attention, and the gates between them."""

    def __init__(self, config: DATConfig) -> None:
        super().__init__()
        width = config.width
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.beside = NormedConvolution(width, width, 3, groups=width)
        self.to_channels = NormedConvolution(width, width // 8, 1)
        self.channel_gate = same_size(width // 8, width, 1)
        self.to_space = NormedConvolution(width, width // 16, 1)
        self.space_gate = same_size(width // 16, 1, 1)

    def by_channel(self, x: Tensor) -> Tensor:
        """Returns the gate of each channel (B, 1, 1, C), from its mean."""
        means = x.mean(dim=(1, 2), keepdim=True)
        return torch.sigmoid(self.channel_gate(self.to_channels(means)))

    def by_position(self, x: Tensor) -> Tensor:
        """Returns the gate of each position (B, H, W, 1)."""
        return torch.sigmoid(self.space_gate(self.to_space(x)))


class SpatialAggregation(Interaction):
    """Attention within windows: half of the channels in lying ones, the other half in standing ones."""

    def __init__(self, config: DATConfig, *, shifted: bool) -> None:
        super().__init__(config)
        self.heads, self.shift = config.heads // 2, SHIFT_PX if shifted else (0, 0)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) -> (B, H, W, C)
        qkv = self.qkv(x)  # (B, H, W, 3 C)
        beside = self.beside(qkv[..., 2 * x.shape[-1] :])
        attended = self._attended(qkv)
        out = attended * self.by_channel(beside) + self.by_position(attended) * beside
        return self.projection(out)  # type: ignore[no-any-return]

    def _attended(self, qkv: Tensor) -> Tensor:
        height, width = qkv.shape[1:3]
        # Zeros, as published: they are attended to, and take no part in the result otherwise
        padded = pad_to_multiple(qkv.permute(0, 3, 1, 2), SIDE_PX).permute(0, 2, 3, 1)
        halves = [part.chunk(2, dim=-1) for part in padded.chunk(3, dim=-1)]
        flat, shift = WINDOW_PX, self.shift
        lying = window_attention([half[0] for half in halves], self.heads, flat, shift)
        standing = window_attention([half[1] for half in halves], self.heads, flat[::-1], shift[::-1])
        return torch.cat([lying, standing], dim=-1)[:, :height, :width]


class ChannelAggregation(Interaction):
    """Attention between channels."""

    def __init__(self, config: DATConfig) -> None:
        super().__init__(config)
        self.temperature = nn.Parameter(torch.ones(config.heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) -> (B, H, W, C)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        beside = self.beside(v)
        attended = channel_attention(q, k, v, self.temperature)
        out = attended * self.by_position(beside) + beside * self.by_channel(attended)
        return self.projection(out)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """The spatial-gate network (section 3.3): one half of the channels, convolved, gates the other half."""

    def __init__(self, config: DATConfig) -> None:
        super().__init__()
        hidden = config.width * config.expansion
        self.expand, self.shrink = nn.Linear(config.width, hidden), nn.Linear(hidden // 2, config.width)
        self.norm = nn.LayerNorm(hidden // 2)
        self.conv = same_size(hidden // 2, hidden // 2, 3, groups=hidden // 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) -> (B, H, W, C)
        features, gate = F.gelu(self.expand(x)).chunk(2, dim=-1)
        return self.shrink(features * self.conv(self.norm(gate)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Aggregation and feed-forward, each added to its input.  Even blocks aggregate over space; every other of them,
    from the second, has shifted windows."""

    def __init__(self, config: DATConfig, index: int) -> None:
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.aggregation = (
            ChannelAggregation(config) if index % 2 else SpatialAggregation(config, shifted=index % 4 == 2)
        )
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) -> (B, H, W, C)
        x = x + self.aggregation(self.norm(x))
        return x + self.feed_forward(self.norm_after(x))  # type: ignore[no-any-return]


class Narrowing(nn.Module):
    """Three convolutions at a quarter of the width, at the end of what a residual skips."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.within = same_size(width, width // 4, 3), same_size(width // 4, width // 4, 1)
        self.leave = same_size(width // 4, width, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C) -> (B, H, W, C)
        return self.leave(F.leaky_relu(self.within(F.leaky_relu(self.enter(x), 0.2)), 0.2))  # type: ignore[no-any-return]


class DAT(nn.Module):
    """Returns the enlarged picture."""

    def __init__(self, config: DATConfig) -> None:
        super().__init__()
        self.config = config
        self.intro, self.norm = same_size(3, config.width, 3), nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.blocks))
        self.group_end, self.norm_after = Narrowing(config.width), nn.LayerNorm(config.width)
        self.body_end = Narrowing(config.width)
        self.output = same_size(config.width, 3 * config.scale**2, 3)

    def forward(self, small: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, s H, s W), not clamped.  The network computes in the precision of its weights."""
        mean = torch.tensor(MEAN, device=small.device).view(1, 3, 1, 1)
        image = ((small + 1) / 2 - mean).to(self.output.weight.dtype)
        shallow = self.intro(image.permute(0, 2, 3, 1).contiguous())  # (B, H, W, C)
        x = start = self.norm(shallow)
        for block in self.blocks:
            x = block(x)
        x = self.norm_after(start + self.group_end(x))
        pixels = self.output(shallow + self.body_end(x)).permute(0, 3, 1, 2)  # (B, 3 s^2, H, W)
        enlarged = F.pixel_shuffle(pixels, self.config.scale).to(small.dtype)
        return (enlarged + mean) * 2 - 1
