"""The two attentions of DAT: within windows, and between channels (Chen et al. 2023, arXiv:2308.03364, section 3.2).

Shapes:  B batch, H W pixels, C channels, h heads, d = C / h channels of a head, N positions.  Features are
(B, H, W, C).

The published window attention also learns a bias from the relative position.  In DAT-light the network that computes
it is one channel wide and normalizes this channel, so the bias is the same for all positions.  A softmax does not
change with a constant, so the bias is left out here.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOWS_TOGETHER = 32
"""Number of windows that attend in one call, because masks take 256 KB a window."""
HEAD_MULTIPLE = 16
"""Zeros change no product, and the CPU's attention kernel is faster with 16 channels of a head than with 10."""


def window_attention(
    qkv: Sequence[Tensor], heads: int, window: tuple[int, int], shift: tuple[int, int] = (0, 0)
) -> Tensor:
    """Returns the attention of each position to those of its window: 3 x (B, H, W, C) -> (B, H, W, C).

    H and W are multiples of the window's sides.  With a `shift`, the windows lie that far to the bottom right; those
    that would reach over the border wrap around, but attend within each side of it only.
    """
    q = qkv[0]
    batch, height, width = q.shape[:3]
    parts = [_heads(_windows(_rolled(x, (-shift[0], -shift[1])), window), heads) for x in qkv]
    # Of a shifted window, only positions of one side of the border belong together
    regions = _windows(_regions(height, width, shift, q.device), window)[:, :, 0].repeat(batch, 1)  # (B n, N)
    mixed = (regions != regions[:, :1]).any(dim=1)  # (B n,)
    size, share = q.shape[-1] // heads, (q.shape[-1] // heads) ** -0.5
    out = q.new_empty(len(regions), regions.shape[1], q.shape[-1])
    for selected, masked in ((~mixed, False), (mixed, True)):
        for indices in torch.split(selected.nonzero()[:, 0], WINDOWS_TOGETHER):
            queries, keys, values = (part[indices] for part in parts)  # 3 x (m, h, N, d')
            mask = _mask(regions[indices], q.dtype) if masked else None
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=share)
            out[indices] = attended[..., :size].transpose(1, 2).flatten(2)
    return _rolled(_from_windows(out, window, height, width), shift)


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Returns the attention of each channel to those of its head: 3 x (B, H, W, C) -> (B, H, W, C).

    Two channels attend by the cosine of their values at all positions, times `temperature` (h, 1, 1).
    """
    batch, height, width, channels = q.shape
    heads = temperature.shape[0]
    # In float32: the sums run over all positions, and half precision ends at 65,504
    keys, queries = (x.flatten(1, 2).float() for x in (k, q))  # (B, N, C)
    lengths = [x.square().sum(dim=1).sqrt().clamp_min(1e-12) for x in (queries, keys)]  # 2 x (B, C)
    products = queries.transpose(1, 2) @ keys / (lengths[0][:, :, None] * lengths[1][:, None, :])  # (B, C, C)
    size = channels // heads
    head = torch.arange(channels, device=q.device) // size
    scaled = products * temperature.float().flatten().repeat_interleave(size)[:, None]
    other = head[:, None] != head
    weights = scaled.masked_fill(other, float("-inf")).softmax(dim=-1)  # zero between heads
    mixed = v.flatten(1, 2) @ weights.transpose(1, 2).to(v.dtype)
    return mixed.view(batch, height, width, channels)


def _rolled(x: Tensor, shift: tuple[int, int]) -> Tensor:
    return x.roll(shift, dims=(1, 2)) if any(shift) else x


def _regions(height: int, width: int, shift: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the side of the border at which each rolled position was: (1, H, W, 1), 0 to 3."""
    rows = torch.arange(height, device=device) >= height - shift[0]
    columns = torch.arange(width, device=device) >= width - shift[1]
    return (2 * rows[:, None] + columns[None, :].long())[None, :, :, None]


def _mask(regions: Tensor, dtype: torch.dtype) -> Tensor:
    """(m, N) -> (m, 1, N, N): what is added to the logits."""
    far = regions[:, None, :, None] != regions[:, None, None, :]
    return torch.zeros(far.shape, dtype=dtype, device=far.device).masked_fill_(far, float("-inf"))


def _windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """(B, H, W, C) -> (B n, N, C), n windows with N positions each, in reading order."""
    rows, columns = window
    batch, height, width, channels = x.shape
    cut = x.reshape(batch, height // rows, rows, width // columns, columns, channels)
    return cut.transpose(2, 3).reshape(-1, rows * columns, channels)


def _from_windows(x: Tensor, window: tuple[int, int], height: int, width: int) -> Tensor:
    """The inverse of `_windows`."""
    rows, columns = window
    cut = x.view(-1, height // rows, width // columns, rows, columns, x.shape[-1])
    return cut.transpose(2, 3).reshape(-1, height, width, x.shape[-1])


def _heads(x: Tensor, heads: int) -> Tensor:
    """(m, N, C) -> (m, h, N, d'), where d' is d with zeros up to a multiple of HEAD_MULTIPLE."""
    parts = x.view(*x.shape[:2], heads, -1).transpose(1, 2)
    return F.pad(parts, (0, -parts.shape[-1] % HEAD_MULTIPLE))
