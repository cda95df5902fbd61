"""CLIP as AutoDIR uses it: image features, and the token states and pooled features of texts.

The networks are open_clip's, of any size.  This module adds two options of the text encoder that open_clip lacks:
states before pooling, and a padding mask.

Shapes:  B batch, N texts, L tokens (77), D text width, E joint width.  Pixels are normalized with `mean` and `std`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.evidence_encoder import EvidenceEncoder, EvidenceEncoderConfig
from models.networks.token_table import TokenTable
from models.networks.torchvision_mend import mend_torchvision

VOCABULARY = 49408
END_OF_TEXT = 49407
"""CLIP's end token.  AutoDIR pads with it; open_clip pads with 0."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The image encoder: a ViT if `layers` is a number, CLIP's ResNet if it is four numbers."""

    image_size: int = 224
    layers: int | tuple[int, int, int, int] = 24
    width: int = 1024
    patch_size: int = 14
    head_width: int = 64
    mlp_ratio: float = 4.0


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The text encoder.  With `kept_tokens`, its embeddings are a `TokenTable` of so many tokens."""

    context_length: int = 77
    vocab_size: int = VOCABULARY
    kept_tokens: int | None = None
    width: int = 768
    heads: int = 12
    layers: int = 12
    mlp_ratio: float = 4.0


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Defaults are OpenAI's ViT-L/14, as in the published AutoDIR.

    With a `tower`, the image encoder is an `EvidenceEncoder`, and CLIP's own image encoder (`vision`) is a part of it.
    """

    embed_dim: int = 768
    vision: VisionConfig = field(default_factory=VisionConfig)
    tower: EvidenceEncoderConfig | None = None
    text: TextConfig = field(default_factory=TextConfig)
    quick_gelu: bool = True
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


def build_clip(config: ClipConfig) -> nn.Module:
    """Returns an open_clip `CLIP` of these sizes with random weights."""
    mend_torchvision()
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # after the mend: open_clip imports torchvision

    text = asdict(config.text)
    kept = text.pop("kept_tokens")
    clip: nn.Module = CLIP(
        embed_dim=config.embed_dim,
        vision_cfg=CLIPVisionCfg(**asdict(config.vision)),
        text_cfg=CLIPTextCfg(**text),
        quick_gelu=config.quick_gelu,
    )
    if kept is not None:
        clip.token_embedding = TokenTable(kept, config.text.width)
    if config.tower is not None:
        own = clip.get_submodule("visual")
        clip.visual = EvidenceEncoder(config.tower, own, config.embed_dim, config.mean, config.std)
    return clip


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Returns CLIP's byte-pair tokens (N, L) int64, padded with the end token as in AutoDIR; longer texts are cut."""
    tokens = _tokenizer(context_length)(list(texts))
    return torch.where(torch.arange(context_length) < lengths(tokens), tokens, END_OF_TEXT)


@functools.cache  # reading the merges takes 0.13 s, as long as a training step of the small image encoder
def _tokenizer(context_length: int) -> Callable[[list[str]], Tensor]:
    mend_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context_length)  # type: ignore[no-any-return]


def lengths(tokens: Tensor) -> Tensor:
    """Returns the number of tokens of each text with begin and end, without padding: (N, L) -> (N, 1)."""
    before_end = (tokens == END_OF_TEXT).cumsum(dim=-1) == 0
    return before_end.sum(dim=-1, keepdim=True) + 1


def text_states(clip: nn.Module, tokens: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """Returns the text states after the final LayerNorm (N, L, D), and the projected features (N, E), unnormalized.

    `masked` hides padding from attention.  AutoDIR masks its class prompts, but not null and user prompts.  The states
    of real tokens are equal either way (attention is causal), those of padding are not, and the denoiser attends to
    all of them.
    """
    encoder: Any = clip  # open_clip is untyped
    length = tokens.shape[1]
    x = encoder.token_embedding(tokens) + encoder.positional_embedding[:length]  # (N, L, D)
    mask = torch.full((length, length), -torch.inf, device=x.device).triu(1)
    if masked:
        hidden = torch.arange(length, device=x.device) >= lengths(tokens)  # (N, L): padding
        mask = mask.expand(len(tokens), -1, -1).masked_fill(hidden[:, None, :], -torch.inf)
        heads = encoder.transformer.resblocks[0].attn.num_heads
        mask = mask.repeat_interleave(heads, dim=0)  # (N * heads, L, L)
    states = encoder.ln_final(encoder.transformer(x, attn_mask=mask.to(x.dtype)))
    ends = lengths(tokens)[:, 0] - 1
    pooled = states[torch.arange(len(tokens), device=x.device), ends]
    return states, pooled @ encoder.text_projection
