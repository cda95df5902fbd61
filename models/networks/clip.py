"""CLIP as AutoDIR uses it: image features, and the text tower's token states as well as its pooled features.

The towers are open_clip's (any size); this module adds the two views of the text tower that open_clip does not offer:
states before pooling, and a padding mask.

Shapes:  B batch, N texts, L tokens (77), D text width, E joint width.  Pixels are normalized with `mean` and `std`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.evidence_tower import BranchTower, TowerConfig
from models.networks.torchvision_mend import mend_torchvision

END_OF_TEXT = 49407
"""CLIP's end token.  AutoDIR pads with it; open_clip pads with 0."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The image tower: a ViT when `layers` is a number, CLIP's ResNet when it is four numbers."""

    image_size: int = 224
    layers: int | tuple[int, int, int, int] = 24
    width: int = 1024
    patch_size: int = 14
    head_width: int = 64
    mlp_ratio: float = 4.0


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    context_length: int = 77
    vocab_size: int = 49408
    width: int = 768
    heads: int = 12
    layers: int = 12
    mlp_ratio: float = 4.0


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Defaults are OpenAI's ViT-L/14, the tower of the published AutoDIR.

    With a `tower`, CLIP's own image tower (`vision`) is one among others in it.
    """

    embed_dim: int = 768
    vision: VisionConfig = field(default_factory=VisionConfig)
    tower: TowerConfig | None = None
    text: TextConfig = field(default_factory=TextConfig)
    quick_gelu: bool = True
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


def build_clip(config: ClipConfig) -> nn.Module:
    """An open_clip `CLIP` of these sizes with random weights, its image tower within ours where there is one."""
    mend_torchvision()
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # after the mend: open_clip imports torchvision

    clip: nn.Module = CLIP(
        embed_dim=config.embed_dim,
        vision_cfg=CLIPVisionCfg(**asdict(config.vision)),
        text_cfg=CLIPTextCfg(**asdict(config.text)),
        quick_gelu=config.quick_gelu,
    )
    if config.tower is not None:
        own = clip.get_submodule("visual")
        clip.visual = BranchTower(config.tower, own, config.embed_dim, config.mean, config.std)
    return clip


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """CLIP's byte-pair tokens (N, L) int64, padded with the end token as AutoDIR does; longer texts are cut."""
    tokens = _tokenizer(context_length)(list(texts))
    return torch.where(torch.arange(context_length) < lengths(tokens), tokens, END_OF_TEXT)


@functools.cache  # reading the merges takes 0.13 s, as long as a training step of the small tower
def _tokenizer(context_length: int) -> Callable[[list[str]], Tensor]:
    mend_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context_length)  # type: ignore[no-any-return]


def lengths(tokens: Tensor) -> Tensor:
    """Tokens of each text, begin and end included, whatever it is padded with: (N, L) -> (N, 1)."""
    before_end = (tokens == END_OF_TEXT).cumsum(dim=-1) == 0
    return before_end.sum(dim=-1, keepdim=True) + 1


def text_states(clip: nn.Module, tokens: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """The text tower's states after its final LayerNorm (N, L, D), and its projected features (N, E), unnormalized.

    `masked` hides padding from attention.  AutoDIR masks its class prompts and does not mask null and user prompts;
    real tokens agree either way (attention is causal), padded positions do not, and the denoiser attends to all of
    them.
    """
    tower: Any = clip  # open_clip is untyped
    length = tokens.shape[1]
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]  # (N, L, D)
    mask = torch.full((length, length), -torch.inf, device=x.device).triu(1)
    if masked:
        hidden = torch.arange(length, device=x.device) >= lengths(tokens)  # (N, L): padding
        mask = mask.expand(len(tokens), -1, -1).masked_fill(hidden[:, None, :], -torch.inf)
        heads = tower.transformer.resblocks[0].attn.num_heads
        mask = mask.repeat_interleave(heads, dim=0)  # (N * heads, L, L)
    states = tower.ln_final(tower.transformer(x, attn_mask=mask.to(x.dtype)))
    ends = lengths(tokens)[:, 0] - 1
    pooled = states[torch.arange(len(tokens), device=x.device), ends]
    return states, pooled @ tower.text_projection
