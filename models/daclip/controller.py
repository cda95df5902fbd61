"""DA-CLIP: a controller beside a frozen CLIP image tower (Luo et al. 2024, arXiv:2310.01018, section 3).

The controller is a copy of the tower that learned to see the degradation.  Its class token is the degradation
embedding; its hidden states, through dense links, correct the frozen tower, whose class token becomes the content
embedding of the picture as it would be without damage.

Shapes:  B pictures, S the tower's side in px, L tokens, N texts, W tower width, D joint width.  Pixels are normalized
with CLIP's mean and deviation.  Embeddings are not normalized: the restoration networks were trained on them as they
are.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip, lengths, tokenize
from models.pixels import to_pixels

VOCABULARY = 49408
TEMPERATURE = 100.0
"""Of the published classification: softmax(100 cos)."""


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
    """Keys: `clip` is open_clip's CLIP, `controller` one more of its image towers, `links` the dense layers."""

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
        """Content and degradation embeddings: (B, 3, S, S) -> 2 x (B, D)."""
        degradation, hidden = self.degradation(pixels)
        return self.content(pixels, self.controls(hidden)), degradation

    def degradation(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The degradation embedding (B, D), and the controller's state after every block, (B, L, W)."""
        return _walk(self.controller, pixels)

    def controls(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """What each block of the frozen tower is corrected by, in its order.

        The last of the controller corrects the first of the tower: the released networks were trained so, although the
        paper says "corresponding blocks".
        """
        return [link(state) for link, state in zip(self.links, hidden, strict=True)][::-1]

    def content(self, pixels: Tensor, controls: Sequence[Tensor] = ()) -> Tensor:
        """The content embedding (B, D); without controls it is the original CLIP's image feature."""
        return _walk(_module(self.clip, "visual"), pixels, controls)[0]

    def text(self, tokens: Tensor) -> Tensor:
        """Text features: (N, 77) int64 -> (N, D), taken at the end token, which has the largest number."""
        clip, length = self.clip, tokens.shape[1]
        x = _module(clip, "token_embedding")(tokens) + clip.positional_embedding[:length]  # type: ignore[index]
        # open_clip keeps its mask in a buffer that no file holds, so a network from the meta device has none
        mask = torch.full((length, length), -torch.inf, device=x.device).triu(1)
        states = _module(clip, "ln_final")(_module(clip, "transformer")(x, attn_mask=mask))
        pooled = states[torch.arange(len(tokens), device=x.device), tokens.argmax(dim=-1)]
        return pooled @ clip.text_projection  # type: ignore[no-any-return]

    def words(self, texts: Sequence[str]) -> Tensor:
        """Text features of plain words: (N, D)."""
        text = self.config.clip.text
        return self.text(tokens(texts, text.vocab_size, text.context_length).to(self.device))


def _module(parent: nn.Module, name: str) -> nn.Module:
    return parent.get_submodule(name)


def _blocks(tower: nn.Module) -> list[nn.Module]:
    return list(_module(tower, "transformer.resblocks").children())


def _walk(tower: nn.Module, pixels: Tensor, controls: Sequence[Tensor] = ()) -> tuple[Tensor, list[Tensor]]:
    """Through one of open_clip's image towers, adding each control after its block."""
    x: Tensor = tower._embeds(pixels)  # type: ignore[operator]  # (B, L, W)
    hidden = []
    for index, block in enumerate(_blocks(tower)):
        x = block(x)
        if controls:
            x = x + controls[index]
        hidden.append(x)
    return _module(tower, "ln_post")(x[:, 0]) @ tower.proj, hidden


def classify(degradation: Tensor, words: Tensor) -> Tensor:
    """Probabilities of the words: (B, D) and (N, D), normalized here -> (B, N)."""
    cosines = F.normalize(degradation, dim=-1) @ F.normalize(words, dim=-1).T
    return (TEMPERATURE * cosines).softmax(dim=-1)


def tokens(texts: Sequence[str], vocabulary: int = VOCABULARY, length: int = 77) -> Tensor:
    """CLIP's byte-pair tokens (N, L) int64, padded with 0 as open_clip does.

    A smaller vocabulary, as networks for tests have, takes tokens modulo its size less two and ends with its last.
    """
    padded = tokenize(texts, length)
    inside = torch.arange(length) < lengths(padded)
    if vocabulary < VOCABULARY:
        ends = torch.arange(length) == lengths(padded) - 1
        padded = torch.where(ends, vocabulary - 1, padded % (vocabulary - 2))
    return torch.where(inside, padded, 0)


def preprocess(image: Tensor, config: ClipConfig) -> Tensor:
    """The tower's view of a whole picture: (3, H, W) in [-1, 1] -> (3, S, S), normalized.

    The shorter side becomes S by antialiased bicubic resizing in 8 bits, then the center is cut out, as published.
    """
    side = config.vision.image_size
    picture = Image.fromarray(to_pixels(_middle(image)))
    width, height = picture.size
    if (short := min(width, height)) != side:
        width, height = side * width // short, side * height // short
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    cut = np.array(picture.crop((left, top, left + side, top + side)))  # (S, S, 3)
    unit = torch.from_numpy(cut).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (config.mean, config.std))
    return (unit - mean) / std


def _middle(image: Tensor) -> Tensor:
    """All but the far ends of a strip, which are cut off anyway and would be blown up to gigabytes first."""
    height, width = image.shape[-2:]
    most = 16 * min(height, width)
    top, left = max(height - most, 0) // 2, max(width - most, 0) // 2
    return image[..., top : top + most, left : left + most]


def as_long(features: Tensor, own: Tensor) -> Tensor:
    """Text features at the lengths of pictures' embeddings, which are not normalized: 2 x (B, D) -> (B, D)."""
    return F.normalize(features, dim=-1) * own.norm(dim=-1, keepdim=True)  # type: ignore[no-any-return]
