"""Statistics of a whole picture that tell photographs from frames, graphics, pages and starry skies.

A camera leaves traces everywhere: gradients of many colors, soft edges, grain.  What is drawn has few colors and edges
between flat areas.

Shapes:  N windows, H W pixels of one.  Images are RGB (3, H, W), see models.pixels.  Levels are those of 8 bits.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models.pixels import floats

WINDOW_PX, SIDE_COUNT = 400, 3
"""A picture that is larger than the grid of windows is seen through it."""
BLOCK_PX = 16
FEW = 8
"""Colors that are counted."""
RING = (
    (-6, 0), (6, 0), (0, -6), (0, 6), (-4, -4), (4, 4), (-4, 4), (4, -4), (-6, -2), (-6, 2), (6, -2), (6, 2), (-2, 6),
    (2, 6), (-2, -6), (2, -6),
)  # fmt: skip
"""Offsets of a circle of 6 px."""


class Edges(NamedTuple):
    flat: float
    hard: float


class Strokes(NamedTuple):
    paper: float
    ink: float
    thick: float
    written: float


class Points(NamedTuple):
    points: float
    bright: float
    compact: float


class Statistics:
    """Of an image (3, H, W) of at least 16 x 16 px, each computed when it is asked for; shares are from 0 to 1.

    Attributes:
        block_range: levels between the darkest and the brightest block.
        range: levels between the 0.1 % darkest and brightest pixels.
        block_median, block_spread: of the blocks: median, and levels between their 5 and 95 % quantiles.
        contrast: levels between 1 and 99 % of a channel, of the channel with the most.
        grain: levels of noise, a robust estimate.
        edges: `flat`, the share of neighboring pixels that are alike, and `hard`, that of large steps among the others.
        few: share of pixels that have one of `FEW` colors.
        strokes: `paper` and `ink`, shares of pixels about as bright as the brightest near them, and much darker;
            `thick`, the share of the ink that is wider than a stroke; `written`, that of blocks of 32 px with ink.
        median, saturation: levels.
        points: `points`, isolated bright points a million pixels; `bright`, the share of pixels that belong to small
            bright structures, and `compact` of these that are near points.
    """

    def __init__(self, image: Tensor) -> None:
        self._windows = _windows(image)
        weights = self._windows.new_tensor([0.299, 0.587, 0.114])[:, None, None]
        self._luma = (self._windows * weights).sum(1)
        means = F.avg_pool2d(self._luma[:, None], BLOCK_PX).flatten()
        self.block_range = float(means.max() - means.min())
        low, self.block_median, high = _quantiles(means, (0.05, 0.5, 0.95))
        self.block_spread = high - low
        darkest, self.median, brightest = _quantiles(self._luma, (0.001, 0.5, 0.999))
        self.range = brightest - darkest

    @cached_property
    def contrast(self) -> float:
        ends = [_quantiles(self._windows[:, channel], (0.01, 0.99)) for channel in range(3)]
        return max(max(top - bottom for bottom, top in ends), 8.0)

    @cached_property
    def saturation(self) -> float:
        return _quantiles(self._windows.amax(1) - self._windows.amin(1), (0.5,))[0]

    @cached_property
    def grain(self) -> float:
        return _grain(self._luma)

    @cached_property
    def few(self) -> float:
        return _few(self._windows, self.contrast)

    @cached_property
    def edges(self) -> Edges:
        return _edges(self._windows, self.contrast)

    @cached_property
    def strokes(self) -> Strokes:
        return _strokes(self._luma)

    @cached_property
    def points(self) -> Points:
        return _points(self._luma, self.grain)


def _windows(image: Tensor) -> Tensor:
    """Returns the image, or a grid of native windows, (N, 3, H, W) float32 in levels."""
    height, width = image.shape[-2:]
    most = SIDE_COUNT * WINDOW_PX
    if height * width <= most * most:
        shown = [image]
    else:
        rows, columns = min(WINDOW_PX, height), min(WINDOW_PX, width)
        shown = [
            image[:, round(top) : round(top) + rows, round(left) : round(left) + columns]
            for top in torch.linspace(0, height - rows, SIDE_COUNT).tolist()
            for left in torch.linspace(0, width - columns, SIDE_COUNT).tolist()
        ]
    return torch.stack([floats(part).float() for part in shown]).add_(1).mul_(127.5)


def _quantiles(values: Tensor, at: Sequence[float]) -> list[float]:
    flat = values.flatten()
    some = flat[:: max(1, len(flat) // 30_000)]
    found: list[float] = torch.quantile(some, torch.tensor(at, device=flat.device)).tolist()
    return found


def _share(mask: Tensor, among: Tensor | None = None) -> float:
    if among is None:
        return float(mask.float().mean())
    return float((mask & among).sum()) / max(1.0, float(among.sum()))


def _grain(luma: Tensor) -> float:
    """Returns the standard deviation of noise (Immerkaer 1996, with the median of Donoho)."""
    kernel = luma.new_tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])[None, None] / 6
    return _quantiles(F.conv2d(luma[:, None], kernel).abs(), (0.5,))[0] / 0.6745


def _edges(windows: Tensor, contrast: float) -> Edges:
    alike, large = max(3.0, 0.04 * contrast), 0.3 * contrast
    steps = torch.cat(
        [(turned[..., 1:] - turned[..., :-1]).abs().amax(1).flatten() for turned in (windows, windows.mT)]
    )
    unlike = steps > alike
    return Edges(flat=1 - _share(unlike), hard=_share(steps > large, unlike))


def _few(windows: Tensor, contrast: float) -> float:
    """Returns the share of pixels that have one of the `FEW` most frequent colors, up to a tenth of the contrast."""
    step = max(4.0, contrast / 20)
    count = int(255 / step) + 2
    red, green, blue = (windows / step).round_().long().permute(1, 0, 2, 3).reshape(3, -1)
    histogram = torch.bincount((red * count + green) * count + blue, minlength=count**3).float()
    cells, total, covered = histogram.reshape(count, count, count), float(histogram.sum()), 0.0
    for _ in range(FEW):
        near = F.avg_pool3d(cells[None, None], 3, 1, 1, divisor_override=1)[0, 0]
        at = int(near.argmax())
        place = (at // count**2, at // count % count, at % count)
        box = tuple(slice(max(0, index - 1), index + 2) for index in place)
        covered += float(cells[box].sum())
        cells[box] = 0
    return covered / total


def _strokes(luma: Tensor) -> Strokes:
    near = _largest(_mean(luma, 3), 31)
    relative = luma / _mean(near, 31).clamp_min_(1)
    ink = relative < 0.6
    closed = -_largest(-_largest(luma, 11), 11)
    wide = closed / near.clamp_min(1) < 0.6
    side = min(32, *luma.shape[-2:])
    inked = F.avg_pool2d(ink.float()[:, None], side)
    return Strokes(_share(relative > 0.9), _share(ink), _share(wide, ink), _share(inked > 0.01))


def _points(luma: Tensor, grain: float) -> Points:
    height, width = luma.shape[-2:]
    padded, least = F.pad(luma[:, None], (6, 6, 6, 6), mode="reflect")[:, 0], max(8.0, 5 * grain)
    ring = torch.full_like(luma, -1.0)
    for down, right in RING:
        ring = torch.maximum(ring, padded[:, 6 + down : 6 + down + height, 6 + right : 6 + right + width])
    points = (luma - ring > least) & (luma >= _largest(luma, 5))
    bright = luma - _largest(-_largest(-luma, 9), 9) > least
    near = _largest(points.float(), 9) > 0
    return Points(1e6 * _share(points), _share(bright), _share(near, bright))


def _largest(images: Tensor, side: int) -> Tensor:
    """Returns the maximum over squares of an odd side, (N, H, W)."""
    half = side // 2
    rows = F.max_pool2d(images[:, None], (side, 1), 1, (half, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, half))[:, 0]


def _mean(images: Tensor, side: int) -> Tensor:
    """Returns the mean over squares of an odd side, at borders over their inner part, (N, H, W)."""
    half = side // 2
    rows = F.avg_pool2d(images[:, None], (side, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, half), count_include_pad=False)[:, 0]
