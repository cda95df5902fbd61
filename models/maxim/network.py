"""MAXIM: multi-axis MLPs in a U-Net, in stages that hand on their features (Tu et al. 2022, arXiv:2201.02973).

Shapes:  B batch, H W pixels (any size, reflected to a multiple of 64 inside and cropped back).  Images are RGB
(B, 3, H, W) in [-1, 1]; the networks inside see (B, H, W, C), and images in [0, 1] as published.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.maxim.blocks import (
    Bottleneck,
    CrossGating,
    Decoder,
    Encoder,
    Resizing,
    SupervisedAttention,
)
from models.maxim.config import CHANNELS, DEPTH, SIDES, MAXIMConfig
from models.networks.channels_last import Convolution
from models.pixels import pad_to_multiple

LEVELS = len(CHANNELS)
DOWN, UP = tuple(range(LEVELS)), tuple(reversed(range(LEVELS)))


class HandedOn(NamedTuple):
    """What a stage leaves to the next one, by level; the next one takes it out, so that it is freed early."""

    supervised: list[Tensor]
    features: list[Tensor]
    """The sum of the encoder's and the decoder's."""


class Stage(nn.Module):
    """One U-Net; all but the first are gated by the stage before, and all but the last end in supervised attention."""

    def __init__(self, *, first: bool, last: bool) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(Convolution(3, channels, 3, padding=1) for channels in CHANNELS)
        if not first:
            self.fusions = nn.ModuleList(CrossGating(CHANNELS[i], CHANNELS[i], SIDES[i]) for i in DOWN)
        self.encoders = nn.ModuleList(Encoder(level, gated=not first) for level in DOWN)
        self.bottlenecks = nn.ModuleList(Bottleneck() for _ in range(DEPTH))
        self.to_gatings, self.to_decoders = (
            nn.ModuleList(nn.ModuleList(Resizing(source, target) for source in DOWN) for target in DOWN)
            for _ in range(2)
        )
        self.gatings = nn.ModuleList(
            CrossGating(LEVELS * CHANNELS[i], CHANNELS[i], SIDES[i], below=CHANNELS[min(i + 1, LEVELS - 1)])
            for i in DOWN
        )
        self.decoders = nn.ModuleList(Decoder(level) for level in DOWN)
        self.supervisors = nn.ModuleList(SupervisedAttention(channels) for channels in CHANNELS) if not last else None
        self.output = Convolution(CHANNELS[0], 3, 3, padding=1) if last else None

    def forward(self, images: Sequence[Tensor], before: HandedOn | None) -> HandedOn | Tensor:
        """Returns what the next stage needs, or the correction (B, H, W, 3) where this is the last stage.

        `images` are the picture at each level.
        """
        shallow = self._shallow(images, before)
        encoded, x = [], shallow[0]
        for level in DOWN:
            x, features = self.encoders[level](x, shallow[level], before and before.features.pop(0))
            encoded.append(features)
        del shallow
        for bottleneck in self.bottlenecks:
            x = bottleneck([x])
        skips, y = {}, x
        for level in UP:
            skips[level], y = self.gatings[level](self._from_all(self.to_gatings[level], encoded, DOWN), y)
        del y
        if self.output is not None:
            encoded.clear()
        decoded = {}
        for level in UP:
            x = self.decoders[level](x, self._from_all(self.to_decoders[level], skips, UP))
            decoded[level] = x if self.output is None else None
        if self.output is not None:
            return self.output(x)  # type: ignore[no-any-return]
        assert self.supervisors is not None
        return HandedOn(
            supervised=[self.supervisors[level](decoded[level], images[level]) for level in DOWN],
            features=[encoded[level] + decoded[level] for level in DOWN],
        )

    def _shallow(self, images: Sequence[Tensor], before: HandedOn | None) -> list[Tensor]:
        """Returns the features of each level's own picture."""
        features = [conv(image) for conv, image in zip(self.inputs, images, strict=True)]
        if before is None:
            return features
        return [fusion([features.pop(0)], before.supervised.pop(0))[0] for fusion in self.fusions]

    def _from_all(
        self, resizings: nn.Module, features: Sequence[Tensor] | dict[int, Tensor], order: Sequence[int]
    ) -> Iterator[Tensor]:
        """Yields the features of all levels, in this order, at one level."""
        assert isinstance(resizings, nn.ModuleList)
        for level in order:
            yield resizings[level](features[level])


class MAXIM(nn.Module):
    """Returns the restored picture: the input plus the correction that the last stage computes."""

    def __init__(self, config: MAXIMConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(
            Stage(first=index == 0, last=index == config.stages - 1) for index in range(config.stages)
        )

    def forward(self, degraded: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W), not clamped.  The network computes in the precision of its weights."""
        height, width = degraded.shape[-2:]
        padded = pad_to_multiple((degraded + 1) / 2, self.config.stride, "reflect").to(self._dtype)
        image = padded.permute(0, 2, 3, 1).contiguous()  # (B, H', W', 3)
        # The nearest pixels to the centers, as published: 1, 3, ... and 2, 6, ...
        images = [image, *(image[:, step // 2 :: step, step // 2 :: step].contiguous() for step in (2, 4))]
        state: HandedOn | Tensor | None = None
        for stage in self.stages:
            state = stage(images, state)
        assert isinstance(state, Tensor)
        correction = state.permute(0, 3, 1, 2)[..., :height, :width]
        return degraded + 2 * correction.to(degraded.dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
