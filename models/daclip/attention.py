"""The U-Net's attention: linear over pixels on the upper levels, full at the bottom, and one folded cross-attention.

Shapes:  B images, C channels, H W pixels, N = H W positions, h heads of 32 channels, D the context's width.
Key names are those of the published checkpoints; cross-attention keeps only what one context token leaves of it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 32
NORM_GROUPS = 32
ALL_HEADS = 2**17
"""Linear attention takes its heads together up to so many positions."""


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution as the matrix product that it is; torch's CPU has no fast path for one."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias).permute(0, 3, 1, 2)


class ChannelGain(nn.Module):
    """LayerNorm over the channels of (B, C, H, W) with a gain and no bias, eps 1e-5 (1e-3 for weights below float32).

    The published eps goes by the picture's precision, which is the weights' own but for autocast: a network that is
    trained so is run in float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        eps = 1e-5 if self.g.dtype == torch.float32 else 1e-3
        last = x.permute(0, 2, 3, 1)  # a view where the memory is channels-last already
        return F.layer_norm(last, last.shape[-1:], self.g.flatten(), None, eps).permute(0, 3, 1, 2)


class LinearAttention(nn.Module):
    """Attention whose cost grows with N and not with its square: (B, C, H, W) -> (B, C, H, W).

    Values are divided by N before a norm with eps 1e-5, so the result depends on the picture's size.  The projection
    out is folded into the heads' memories, which are 32 x 32, and large pictures go head by head: at 1024 px queries,
    keys and values of all heads would take 1.5 GiB, and as much again for their softmax.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, inner = heads, heads * HEAD
        self.to_qkv = nn.Conv2d(channels, 3 * inner, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, channels, 1), ChannelGain(channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view of channels-last memory
        together = 1 if height * width > ALL_HEADS else self.heads
        bias: Tensor = self.to_out.get_parameter("0.bias")
        found = bias
        for first in range(0, self.heads, together):
            found = found + self._some(tokens, first, together)
        found = found.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return self.to_out[1](found)  # type: ignore[no-any-return]

    def _some(self, tokens: Tensor, first: int, count: int) -> Tensor:
        """What some heads add to the output, without its bias: (B, N, C) -> (B, N, C)."""
        inner, size = self.heads * HEAD, count * HEAD
        start = first * HEAD
        q, k, v = (
            F.linear(tokens, self.to_qkv.weight[part * inner + start : part * inner + start + size, :, 0, 0])
            for part in range(3)
        )  # (B, N, count * 32)
        q = q.reshape(*q.shape[:2], count, HEAD).softmax(dim=-1).flatten(-2)
        memory = k.softmax(dim=1).transpose(1, 2) @ v  # (B, count * 32, count * 32)
        if count > 1:  # a head knows nothing of another's memory
            memory = memory * torch.eye(count).to(memory).kron(memory.new_ones(HEAD, HEAD))
        out = self.to_out.get_parameter("0.weight")[:, start : start + size, 0, 0]
        return q @ (memory @ out.T * (HEAD**-0.5 / tokens.shape[1]))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Full attention over positions, (B, N, C), by torch's exact SDPA: no N x N matrix in memory."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(part(x)) for part in (self.to_q, self.to_k, self.to_v))  # (B, h, N, C / h)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class TokenAttention(nn.Module):
    """Cross-attention over one context token, (B, D) -> (B, C): its softmax is 1 whatever the query says.

    So queries, keys and the norm before them are dead weights, and the answer is one vector for all positions and all
    steps.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, context: Tensor) -> Tensor:
        return self.to_out(self.to_v(context))  # type: ignore[no-any-return]


class GatedGELU(nn.Module):
    """Half of a projection times the exact GELU of the other half."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.net = nn.Sequential(GatedGELU(channels, inner), nn.Identity(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention, the context's constant, a feed-forward; each added to what came in: (B, N, C) -> (B, N, C)."""

    def __init__(self, channels: int, heads: int, context: int) -> None:
        super().__init__()
        self.attn1 = SelfAttention(channels, heads)
        self.attn2 = TokenAttention(channels, context)
        self.ff = FeedForward(channels)
        self.norm1, self.norm3 = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, x: Tensor, cross: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x)) + cross[:, None, :]
        return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]


class SpatialTransformer(nn.Module):
    """One transformer block over the positions of (B, C, H, W), residual; `cross` (B, C) is `constant`'s answer."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(NORM_GROUPS, channels, eps=1e-6)
        self.proj_in = Pointwise(channels, channels)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, channels // HEAD, context)])
        self.proj_out = Pointwise(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)  # type: ignore[arg-type]  # a convolution with a bias

    def constant(self, context: Tensor) -> Tensor:
        """What the context adds at every position and step: (B, D) -> (B, C)."""
        return self.transformer_blocks[0].attn2(context)  # type: ignore[no-any-return, operator]

    def forward(self, x: Tensor, cross: Tensor) -> Tensor:
        projected = self.proj_in(self.norm(x)).permute(0, 2, 3, 1)  # (B, H, W, C)
        tokens = self.transformer_blocks[0](projected.flatten(1, 2), cross)
        return x + self.proj_out(tokens.reshape(projected.shape).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class PreNorm(nn.Module):
    """A norm before a part."""

    def __init__(self, channels: int, part: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = ChannelGain(channels), part

    def forward(self, x: Tensor, *cross: Tensor) -> Tensor:
        return self.fn(self.norm(x), *cross)  # type: ignore[no-any-return]


class Residual(nn.Module):
    """x + part(norm(x)); `cross` goes to a SpatialTransformer, which adds its own input once more, as published."""

    def __init__(self, channels: int, part: nn.Module) -> None:
        super().__init__()
        self.fn = PreNorm(channels, part)

    def forward(self, x: Tensor, *cross: Tensor) -> Tensor:
        return x + self.fn(x, *cross)  # type: ignore[no-any-return]
