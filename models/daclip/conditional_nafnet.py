"""NAFNet conditioned by IR-SDE's time and DA-CLIP's two embeddings (arXiv:2304.08291; arXiv:2310.01018, section 4.3).

The degradation embedding selects a learned prompt, which modulates every block.  The content embedding is the single
token of the cross-attention that replaces channel attention in the lowest blocks.  The paper does not state widths and
depths; docs/decisions/0012 explains ours.  Parameter names are those of IR-SDE's files.

Shapes:  B images, C channels, H W pixels (any size; zero-padded to a multiple of the stride and cropped again),
D context, E = 4 width the embedding.  Images are (B, 3, H, W) in [0, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.daclip.attention import ChannelNorm, Residual, SpatialTransformer
from models.daclip.conditional_unet import Constants, Sinusoid
from models.networks.encoder_decoder import fold, unfold
from models.networks.nafnet import simple_gate
from models.pixels import pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class NAFNetConfig:
    """Defaults are the one-step restorer for DA-CLIP.

    Attributes:
        timed: whether the network is IR-SDE's, which also takes a state and a time, and predicts the noise.
        context_dim: the width of both embeddings; None for a network without them.
        patch: above 1, folds patch x patch pixels into channels, as in models.networks.nafnet: the same receptive field
            at a fraction of the cost.
    """

    width: int = 32
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 28)
    middle_blocks: int = 1
    decoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    timed: bool = False
    context_dim: int | None = 512
    patch: int = 1

    @property
    def stride(self) -> int:
        return int(self.patch * 2 ** len(self.encoder_blocks))

    @property
    def embedding(self) -> int:
        return 4 * self.width


class SimpleGate(nn.Module):
    """NAFNet's SimpleGate over dimension 1."""

    def forward(self, x: Tensor) -> Tensor:
        return simple_gate(x)


class NAFBlock(nn.Module):
    """A NAFNet block whose two halves are scaled and shifted by the embedding (B, E).

    With a context, a transformer block replaces channel attention.
    """

    def __init__(self, channels: int, embedding: int, context: int | None = None) -> None:
        super().__init__()
        double = 2 * channels
        self.mlp = nn.Sequential(SimpleGate(), nn.Linear(embedding // 2, 4 * channels))
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, double, 1)
        self.conv2 = nn.Conv2d(double, double, 3, padding=1, groups=double)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, double, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        if context is None:
            self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        else:
            self.att = Residual(channels, SpatialTransformer(channels, context))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, embedding: Tensor, cross_vector: Tensor | None = None) -> Tensor:
        shift1, scale1, shift2, scale2 = self.mlp(embedding)[:, :, None, None].chunk(4, dim=1)
        y = simple_gate(self.conv2(self.conv1(self.norm1(x) * (1 + scale1) + shift1)))
        y = y * self.sca(y) if cross_vector is None else self.att(y, cross_vector)
        x = x + self.beta * self.conv3(y)
        y = simple_gate(self.conv4(self.norm2(x) * (1 + scale2) + shift2))
        return x + self.gamma * self.conv5(y)  # type: ignore[no-any-return]


class ConditionalNAFNet(nn.Module):
    """Restores the degraded image in one step; if `timed`, predicts the noise in a state instead."""

    def __init__(self, config: NAFNetConfig) -> None:
        super().__init__()
        self.config = config
        width, wide, context = config.width, config.embedding, config.context_dim
        if config.timed:
            self.time_mlp = nn.Sequential(
                Sinusoid(width), nn.Linear(width, 2 * wide), SimpleGate(), nn.Linear(wide, wide)
            )  # fmt: skip
        if context is not None:
            self.prompt = nn.Parameter(torch.rand(1, wide))
            self.text_mlp = nn.Sequential(nn.Linear(context, wide), nn.SiLU(), nn.Linear(wide, wide))
            self.prompt_mlp = nn.Linear(wide, wide)
        area = config.patch**2
        self.intro = nn.Conv2d((6 if config.timed else 3) * area, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3 * area, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for blocks in config.encoder_blocks:
            self.encoders.append(_level(width, wide, blocks))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2))
            width *= 2
        self.middle_blks = _level(width, wide, config.middle_blocks, context)
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for blocks in config.decoder_blocks:
            self.ups.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.decoders.append(_level(width, wide, blocks))

    def transformers(self) -> list[SpatialTransformer]:
        """Returns the transformers that take a context, in order."""
        return [part for part in self.middle_blks.modules() if isinstance(part, SpatialTransformer)]

    def prepare(self, image_context: Tensor | None, degradation: Tensor | None = None) -> Constants:
        """Compute what is constant for an image, from the content and degradation embeddings (B, D), not normalized.

        Raises:
            ValueError: the network takes both embeddings, and one is missing.
        """
        if self.config.context_dim is None:
            return Constants(None, ())
        if image_context is None or degradation is None:
            raise ValueError("got one embedding, expected two: content and degradation")
        prompt = self.text_mlp(degradation).softmax(dim=-1) * self.prompt
        cross_vectors = tuple(part.cross_vector(image_context) for part in self.transformers())
        return Constants(self.prompt_mlp(prompt), cross_vectors)

    def forward(self, mu: Tensor, constants: Constants, x: Tensor | None = None, t: Tensor | None = None) -> Tensor:
        """Returns the restored image; with a state x and its time t (B,), the noise in x.  All images (B, 3, H, W)."""
        height, width = mu.shape[-2:]
        inputs = mu if x is None else torch.cat([x - mu, mu], dim=1)
        folded = fold(pad_to_multiple(inputs, self.config.stride), self.config.patch)
        embedding = self._embedding(t, constants)
        output = self._body(folded.contiguous(memory_format=torch.channels_last), embedding, constants.cross_vectors)
        output = unfold(output, self.config.patch)[..., :height, :width]
        return output if self.config.timed else mu + output

    def _embedding(self, t: Tensor | None, constants: Constants) -> Tensor:
        parts = [] if constants.prompt is None else [constants.prompt]
        if self.config.timed:
            assert t is not None, "a timed network needs a state and its time"
            parts.append(self.time_mlp(t))
        return torch.stack(parts).sum(dim=0)

    def _body(self, x: Tensor, embedding: Tensor, cross_vectors: tuple[Tensor, ...]) -> Tensor:
        x = self.intro(x)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = _run_blocks(encoder, x, embedding)
            skips.append(x)
            x = down(x)
        x = _run_blocks(self.middle_blks, x, embedding, cross_vectors)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            x = _run_blocks(decoder, up(x) + skip, embedding)
        return self.ending(x)  # type: ignore[no-any-return]


def _level(channels: int, embedding: int, blocks: int, context: int | None = None) -> nn.ModuleList:
    return nn.ModuleList([NAFBlock(channels, embedding, context) for _ in range(blocks)])


def _blocks(level: nn.Module) -> list[NAFBlock]:
    return [block for block in level.children() if isinstance(block, NAFBlock)]


def _run_blocks(level: nn.Module, x: Tensor, embedding: Tensor, cross_vectors: tuple[Tensor, ...] = ()) -> Tensor:
    for index, block in enumerate(_blocks(level)):
        x = block(x, embedding, cross_vectors[index] if cross_vectors else None)
    return x
