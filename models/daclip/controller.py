"""DA-CLIP: CLIP with a controller for its frozen image encoder (Luo et al. 2024, arXiv:2310.01018, section 3).

The controller is a copy of the image encoder that was trained to recognize degradations.  Its class token is the
degradation embedding.  Its hidden states correct the frozen encoder through linear layers, so that the encoder's class
token becomes the content embedding of the undamaged image.

Shapes:  B images, S the encoder's side in px, L tokens, N texts, W encoder width, D joint width.  Pixels are normalized
with CLIP's mean and deviation.  Embeddings are not normalized: the restoration networks were trained without it.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.networks.clip import VOCABULARY, ClipConfig, TextConfig, VisionConfig, build_clip, lengths, tokenize
from models.pixels import to_pixels

TEMPERATURE = 100.0
"""The scale of the published classification, softmax(100 cos)."""


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Defaults are the published daclip_ViT-B-32; `L14` is wild-daclip_ViT-L-14."""

    clip: ClipConfig = field(
        default_factory=lambda: ClipConfig(
            embed_dim=512,
            vision=VisionConfig(layers=12, width=768, patch_size=32),
            text=TextConfig(width=512, heads=8),
            quick_gelu=False,
        )
    )


L14 = ControllerConfig(clip=ClipConfig(quick_gelu=False))


class DaCLIP(nn.Module):
    """The parameters are those of `clip` (open_clip's CLIP), `controller` (another image encoder) and `links`."""

    def __init__(self, config: ControllerConfig) -> None:
        super().__init__()
        self.config = config
        clip = build_clip(config.clip)
        self.clip = clip
        self.controller = deepcopy(_module(clip, "visual"))
        width = config.clip.vision.width
        self.links = nn.ModuleList([nn.Linear(width, width) for _ in _blocks(self.controller)])
        for link in self.links:
            nn.init.zeros_(link.weight)  # type: ignore[arg-type]
            nn.init.zeros_(link.bias)  # type: ignore[arg-type]
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the content and degradation embeddings: (B, 3, S, S) -> 2 x (B, D)."""
        degradation, hidden = self.degradation(pixels)
        return self.content(pixels, self.controls(hidden)), degradation

    def degradation(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the degradation embedding (B, D), and the controller's state (B, L, W) after every block."""
        return _encode(self.controller, pixels)

    def controls(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Returns the corrections for the blocks of the frozen encoder, in the encoder's order.

        The controller's last block corrects the encoder's first: the released networks were trained this way, although
        the paper says "corresponding blocks".
        """
        return [link(state) for link, state in zip(self.links, hidden, strict=True)][::-1]

    def content(self, pixels: Tensor, controls: Sequence[Tensor] = ()) -> Tensor:
        """Returns the content embedding (B, D); without controls, the image feature of the original CLIP."""
        return _encode(_module(self.clip, "visual"), pixels, controls)[0]

    def text(self, tokens: Tensor) -> Tensor:
        """Returns text features, (N, 77) int64 -> (N, D), taken at the end token, which has the largest number."""
        clip, length = self.clip, tokens.shape[1]
        x = _module(clip, "token_embedding")(tokens) + clip.positional_embedding[:length]  # type: ignore[index]
        # open_clip's own mask is a buffer that is not stored; a network built on the meta device lacks it
        mask = torch.full((length, length), -torch.inf, device=x.device).triu(1)
        states = _module(clip, "ln_final")(_module(clip, "transformer")(x, attn_mask=mask))
        pooled = states[torch.arange(len(tokens), device=x.device), tokens.argmax(dim=-1)]
        return pooled @ clip.text_projection  # type: ignore[no-any-return]

    def word_features(self, texts: Sequence[str]) -> Tensor:
        """Returns the text features of words or sentences, (N, D)."""
        text = self.config.clip.text
        return self.text(tokens(texts, text.vocab_size, text.context_length).to(self.device))


def _module(parent: nn.Module, name: str) -> nn.Module:
    return parent.get_submodule(name)


def _blocks(tower: nn.Module) -> list[nn.Module]:
    return list(_module(tower, "transformer.resblocks").children())


def _encode(tower: nn.Module, pixels: Tensor, controls: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor]]:
    """Run one of open_clip's image encoders and add each control after its block."""
    x: Tensor = tower._embeds(pixels)  # type: ignore[operator]  # (B, L, W)
    hidden = []
    for index, block in enumerate(_blocks(tower)):
        x = block(x)
        if controls:
            x = x + controls[index]
        hidden.append(x)
    return _module(tower, "ln_post")(x[:, 0]) @ tower.proj, hidden


def classify(degradation: Tensor, words: Tensor) -> Tensor:
    """Returns the probabilities of the words, (B, D) and (N, D) -> (B, N); normalizes its inputs."""
    cosines = F.normalize(degradation, dim=-1) @ F.normalize(words, dim=-1).T
    return (TEMPERATURE * cosines).softmax(dim=-1)


def tokens(texts: Sequence[str], vocabulary: int = VOCABULARY, length: int = 77) -> Tensor:
    """Returns CLIP's byte-pair tokens (N, L) int64, padded with 0 as in open_clip.

    For a smaller vocabulary, as networks in tests have, tokens are taken modulo its size minus two, and the last token
    is the end token.
    """
    padded = tokenize(texts, length)
    inside = torch.arange(length) < lengths(padded)
    if vocabulary < VOCABULARY:
        ends = torch.arange(length) == lengths(padded) - 1
        padded = torch.where(ends, vocabulary - 1, padded % (vocabulary - 2))
    return torch.where(inside, padded, 0)


def preprocess(image: Tensor, config: ClipConfig) -> Tensor:
    """Prepare an image for the encoder as published: (3, H, W) in [-1, 1] -> (3, S, S), normalized.

    The shorter side is resized to S (antialiased bicubic, 8 bits), then the center is cropped.
    """
    side = config.vision.image_size
    picture = Image.fromarray(to_pixels(_central_part(image)))
    width, height = picture.size
    if (short := min(width, height)) != side:
        width, height = side * width // short, side * height // short
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    cut = np.array(picture.crop((left, top, left + side, top + side)))  # (S, S, 3)
    unit = torch.from_numpy(cut).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (config.mean, config.std))
    return (unit - mean) / std


def _central_part(image: Tensor) -> Tensor:
    """Crop the ends of a very long image: the center crop drops them, but resizing them would take gigabytes."""
    height, width = image.shape[-2:]
    longest = 16 * min(height, width)
    top, left = max(height - longest, 0) // 2, max(width - longest, 0) // 2
    return image[..., top : top + longest, left : left + longest]


def match_norm(features: Tensor, reference: Tensor) -> Tensor:
    """Scale features to the norms of reference embeddings, 2 x (B, D) -> (B, D)."""
    return F.normalize(features, dim=-1) * reference.norm(dim=-1, keepdim=True)  # type: ignore[no-any-return]
