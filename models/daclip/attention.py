"""Attention layers of the U-Net: linear on the upper levels, full at the lowest, and cross-attention over one token.

Parameter names are those of the published checkpoints.  With a single context token, cross-attention reduces to a
constant vector, so its queries and keys are left out.

Shapes:  B images, C channels, H W pixels, N = H W positions, h heads of 32 channels, D the context's width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_CHANNELS = 32
NORM_GROUPS = 32
ALL_HEADS_MAX_POSITIONS = 2**17
"""Linear attention computes all heads at once up to this number of positions, and one by one beyond."""


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, computed as a matrix product: torch has no fast path for it on the CPU."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (B, C, H, W) with a gain and no bias, eps 1e-5 (1e-3 for weights below float32).

    The published code chooses eps by the precision of the image, which differs from that of the weights only under
    autocast.  Networks that are trained under autocast run in float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        eps = 1e-5 if self.g.dtype == torch.float32 else 1e-3
        last = x.permute(0, 2, 3, 1)  # a view if the memory is channels-last
        return F.layer_norm(last, last.shape[-1:], self.g.flatten(), None, eps).permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """Attention whose cost is linear in N: (B, C, H, W) -> (B, C, H, W).

    Values are divided by N before a norm with eps 1e-5, so the result depends on the image's size.  The output
    projection is folded into the 32 x 32 matrix of each head.  Large images are computed head by head: at 1024 px the
    queries, keys and values of all heads take 1.6 GB, and their softmax as much again.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, inner = heads, heads * HEAD_CHANNELS
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, channels, 1), ChannelNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view if the memory is channels-last
        heads_at_once = 1 if height * width > ALL_HEADS_MAX_POSITIONS else self.heads
        bias: Tensor = self.to_out.get_parameter("0.bias")
        output = bias
        for first in range(0, self.heads, heads_at_once):
            output = output + self._heads_output(tokens, first, heads_at_once)
        output = output.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return self.to_out[1](output)  # type: ignore[no-any-return]

    def _heads_output(self, tokens: Tensor, first: int, count: int) -> Tensor:
        """Returns the contribution of `count` heads to the output, without its bias: (B, N, C) -> (B, N, C)."""
        inner, size = self.heads * HEAD_CHANNELS, count * HEAD_CHANNELS
        start = first * HEAD_CHANNELS
        q, k, v = (
            F.linear(tokens, self.to_qkv.weight[part * inner + start : part * inner + start + size, :, 0, 0])
            for part in range(3)
        )  # (B, N, count * 32)
        q = q.reshape(*q.shape[:2], count, HEAD_CHANNELS).softmax(dim=-1).flatten(-2)
        context = k.softmax(dim=1).transpose(1, 2) @ v  # (B, count * 32, count * 32)
        if count > 1:  # keep the blocks on the diagonal: heads must not mix
            context = context * torch.eye(count).to(context).kron(context.new_ones(HEAD_CHANNELS, HEAD_CHANNELS))
        out = self.to_out.get_parameter("0.weight")[:, start : start + size, 0, 0]
        return q @ (context @ out.T * (HEAD_CHANNELS**-0.5 / tokens.shape[1]))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Full attention over positions, (B, N, C), with torch's exact SDPA, which needs no N x N matrix in memory."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split_heads(part(x)) for part in (self.to_q, self.to_k, self.to_v))  # (B, h, N, C / h)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class SingleTokenAttention(nn.Module):
    """Cross-attention over one context token, (B, D) -> (B, C).

    The softmax over one token is always 1.  Queries, keys and the norm before them therefore have no effect, and the
    output is the same vector at all positions and steps.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, context: Tensor) -> Tensor:
        return self.to_out(self.to_v(context))  # type: ignore[no-any-return]


class GatedGELU(nn.Module):
    """One half of a projection times the exact GELU of the other half."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two layers, four times as wide in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.net = nn.Sequential(GatedGELU(channels, inner), nn.Identity(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each residual: (B, N, C) -> (B, N, C)."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.attn1 = SelfAttention(channels, heads)
        self.attn2 = SingleTokenAttention(channels, context)
        self.ff = FeedForward(channels)
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, x: Tensor, cross_vector: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x)) + cross_vector[:, None, :]
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class SpatialTransformer(nn.Module):
    """One residual transformer block over the positions of (B, C, H, W)."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, channels, eps=1e-6)
        self.proj_in = Pointwise(channels, channels)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, channels // HEAD_CHANNELS, context)])
        self.proj_out = Pointwise(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)  # type: ignore[arg-type]  # a convolution with a bias

    def cross_vector(self, context: Tensor) -> Tensor:
        """Returns the output of the cross-attention, the same at every position and step: (B, D) -> (B, C)."""
        return self.transformer_blocks[0].attn2(context)  # type: ignore[no-any-return, operator]

    def forward(self, x: Tensor, cross_vector: Tensor) -> Tensor:
        projected = self.proj_in(self.norm(x)).permute(0, 2, 3, 1)  # (B, H, W, C)
        tokens = self.transformer_blocks[0](projected.flatten(1, 2), cross_vector)
        return x + self.proj_out(tokens.reshape(projected.shape).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class PreNorm(nn.Module):
    """A norm before another module."""

    def __init__(self, channels: int, part: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = ChannelNorm(channels), part

    def forward(self, x: Tensor, *cross_vector: Tensor) -> Tensor:
        return self.fn(self.norm(x), *cross_vector)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """x + part(norm(x)).  A SpatialTransformer as `part` adds its input once more, as published."""

    def __init__(self, channels: int, part: nn.Module) -> None:
        super().__init__()
        self.fn = PreNorm(channels, part)

    def forward(self, x: Tensor, *cross_vector: Tensor) -> Tensor:
        return x + self.fn(x, *cross_vector)  # type: ignore[no-any-return]
