"""AutoDIR's released checkpoint: sizes from the tensors' shapes, and the table of rules.

The authors' keys are those of the CompVis latent-diffusion code (U-Net, autoencoder), transformers (CLIP) and NAFNet.
Ours are those of diffusers, open_clip and, unchanged, NAFNet.

Some sizes do not show in a shape, and the published constants are used: 8 heads and 32 norm groups in the U-Net and the
autoencoder, and in CLIP one head per 64 channels, but at least 4.
"""

import math
import re
from dataclasses import dataclass

import torch
from torch import nn

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.config import AutoDIRConfig
from models.autodir.latents import KLConfig
from models.convert.rule_table import Rule, with_prefix
from models.convert.sizes import Shapes, clip_heads, count_modules, mlp_ratio, shape_of
from models.errors import BundleError
from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.vocabulary import AUTODIR_NAMES, CLEAN, NOTHING, degradation

UNET = "model.diffusion_model."
CODEC = "first_stage_model."
CLIP = "model_assessment.clipmodel."
SCM = "NAFNet."
_UNET, _CODEC, _CLIP, _SCM = (re.escape(prefix) for prefix in (UNET, CODEC, CLIP, SCM))
NAMES = (*AUTODIR_NAMES, CLEAN)


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Numbers of attention heads, which shapes do not show; None uses the published head width."""

    unet: int = 8
    text: int | None = None
    vision: int | None = None


# --- sizes


def config_of(shapes: Shapes, heads: Heads | None = None) -> AutoDIRConfig:
    """Returns the configuration of networks of these shapes, with the published loop.

    Raises:
        BundleError: a tensor that is needed for a size is missing; the message names it.
    """
    heads = heads or Heads()
    return AutoDIRConfig(
        names=NAMES,
        fidelity={name: (NOTHING if name == CLEAN else degradation(name)).fidelity for name in NAMES},
        clip=_clip(shapes, heads),
        air=AIRConfig(unet=unet_config(shapes, heads.unet), codec=codec_config(shapes)),
        scm=_scm(shapes),
    )


def _shape(shapes: Shapes, key: str, dimensions: int) -> torch.Size:
    return shape_of(shapes, key, dimensions, "it is not AutoDIR's. Use the released autodir.ckpt.")


def unet_config(shapes: Shapes, heads: int = 8) -> UNetConfig:
    """Returns the sizes of the U-Net, which Stable Diffusion names alike."""
    levels = 1 + sum(1 for key in shapes if re.fullmatch(rf"{_UNET}input_blocks\.\d+\.0\.op\.weight", key))
    blocks = count_modules(shapes, rf"{_UNET}input_blocks\.(\d+)\.")
    layers, rest = blocks // levels - 1, blocks % levels  # conv_in, then per level its layers and a downsampling
    if rest or layers < 1:
        raise BundleError(
            f"the checkpoint's U-Net has {blocks} input blocks, expected a multiple of its {levels} levels."
        )
    first = [1 + level * (layers + 1) for level in range(levels)]
    return UNetConfig(
        block_channels=tuple(_shape(shapes, f"{UNET}input_blocks.{at}.0.out_layers.3.weight", 4)[0] for at in first),
        layers_per_block=layers,
        attention=tuple(f"{UNET}input_blocks.{at}.1.proj_in.weight" in shapes for at in first),
        heads=heads,
        context_dim=_shape(shapes, f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1],
    )


def codec_config(shapes: Shapes) -> KLConfig:
    """Returns the sizes of the autoencoder, which Stable Diffusion names alike."""
    levels = count_modules(shapes, rf"{_CODEC}encoder\.down\.(\d+)\.")
    return KLConfig(
        block_channels=tuple(
            _shape(shapes, f"{CODEC}encoder.down.{level}.block.0.conv1.weight", 4)[0] for level in range(levels)
        ),
        layers_per_block=count_modules(shapes, rf"{_CODEC}encoder\.down\.0\.block\.(\d+)\."),
        channels=_shape(shapes, f"{CODEC}post_quant_conv.weight", 4)[0],
    )


def _clip(shapes: Shapes, heads: Heads) -> ClipConfig:
    width, _, patch, _ = _shape(shapes, f"{CLIP}vision_model.embeddings.patch_embedding.weight", 4)
    positions = _shape(shapes, f"{CLIP}vision_model.embeddings.position_embedding.weight", 2)[0]
    return ClipConfig(
        embed_dim=_shape(shapes, f"{CLIP}text_projection.weight", 2)[0],
        vision=VisionConfig(
            image_size=math.isqrt(positions - 1) * patch,
            layers=_layers(shapes, "vision_model"),
            width=width,
            patch_size=patch,
            head_width=width // (heads.vision or clip_heads(width)),
            mlp_ratio=_mlp_ratio(shapes, "vision_model", width),
        ),
        text=text_config(shapes, heads.text),
    )


def text_config(shapes: Shapes, heads: int | None = None) -> TextConfig:
    """Returns the sizes of CLIP's text encoder."""
    length, width = _shape(shapes, f"{CLIP}text_model.embeddings.position_embedding.weight", 2)
    return TextConfig(
        context_length=length,
        vocab_size=_shape(shapes, f"{CLIP}text_model.embeddings.token_embedding.weight", 2)[0],
        width=width,
        heads=heads or clip_heads(width),
        layers=_layers(shapes, "text_model"),
        mlp_ratio=_mlp_ratio(shapes, "text_model", width),
    )


def _layers(shapes: Shapes, tower: str) -> int:
    return count_modules(shapes, rf"{_CLIP}{tower}\.encoder\.layers\.(\d+)\.")


def _mlp_ratio(shapes: Shapes, tower: str, width: int) -> float:
    rows = _shape(shapes, f"{CLIP}{tower}.encoder.layers.0.mlp.fc1.weight", 2)[0]
    return mlp_ratio(rows, width)


def _scm(shapes: Shapes) -> NAFNetConfig:
    width, inputs, _, _ = _shape(shapes, f"{SCM}intro.weight", 4)
    levels = count_modules(shapes, rf"{_SCM}encoders\.(\d+)\.")
    return NAFNetConfig(
        width=width,
        encoder_blocks=tuple(count_modules(shapes, rf"{_SCM}encoders\.{level}\.(\d+)\.") for level in range(levels)),
        middle_blocks=count_modules(shapes, rf"{_SCM}middle_blks\.(\d+)\."),
        decoder_blocks=tuple(count_modules(shapes, rf"{_SCM}decoders\.{level}\.(\d+)\.") for level in range(levels)),
        patch=max(1, math.isqrt(inputs // 6)),
    )


# --- rules

BUFFERS = (
    r"(betas|alphas_cumprod|alphas_cumprod_prev|sqrt_alphas_cumprod|sqrt_one_minus_alphas_cumprod|"
    r"log_one_minus_alphas_cumprod|sqrt_recip_alphas_cumprod|sqrt_recipm1_alphas_cumprod|posterior_variance|"
    r"posterior_log_variance_clipped|posterior_mean_coef1|posterior_mean_coef2)"
)
"""Buffers of the noise schedule, which models.autodir.samplers computes."""

LEAF = r"\.(weight|bias)"

RESIDUAL = [  # of the U-Net
    Rule(rf"in_layers\.0{LEAF}", r"norm1.\1"),
    Rule(rf"in_layers\.2{LEAF}", r"conv1.\1"),
    Rule(rf"emb_layers\.1{LEAF}", r"time_emb_proj.\1"),
    Rule(rf"out_layers\.0{LEAF}", r"norm2.\1"),
    Rule(rf"out_layers\.3{LEAF}", r"conv2.\1"),
    Rule(rf"skip_connection{LEAF}", r"conv_shortcut.\1"),
]
TRANSFORMER = [Rule(r"((?:norm|proj_in|proj_out|transformer_blocks)\..*)", r"\1")]

CODEC_RESIDUAL = [
    Rule(rf"(norm1|conv1|norm2|conv2){LEAF}", r"\1.\2"),
    Rule(rf"nin_shortcut{LEAF}", r"conv_shortcut.\1"),
]
CODEC_ATTENTION = [  # the authors use 1 x 1 convolutions, diffusers uses linear layers
    Rule(rf"norm{LEAF}", r"group_norm.\1"),
    Rule(r"(q|k|v)\.weight", r"to_\1.weight", "matrix"),
    Rule(r"(q|k|v)\.bias", r"to_\1.bias"),
    Rule(r"proj_out\.weight", "to_out.0.weight", "matrix"),
    Rule(r"proj_out\.bias", "to_out.0.bias"),
]

CLIP_BLOCK = [
    Rule(r"(\d+)\.self_attn\.q_proj\.(weight|bias)", r"\1.attn.in_proj_\2", "q"),
    Rule(r"(\d+)\.self_attn\.k_proj\.(weight|bias)", r"\1.attn.in_proj_\2", "k"),
    Rule(r"(\d+)\.self_attn\.v_proj\.(weight|bias)", r"\1.attn.in_proj_\2", "v"),
    Rule(r"(\d+)\.self_attn\.out_proj\.(weight|bias)", r"\1.attn.out_proj.\2"),
    Rule(r"(\d+)\.layer_norm([12])\.(weight|bias)", r"\1.ln_\2.\3"),
    Rule(r"(\d+)\.mlp\.fc1\.(weight|bias)", r"\1.mlp.c_fc.\2"),
    Rule(r"(\d+)\.mlp\.fc2\.(weight|bias)", r"\1.mlp.c_proj.\2"),
]
CLIP_RULES = [
    Rule(rf"{_CLIP}(text|vision)_model\.embeddings\.position_ids", None),  # 0, 1, 2, ...
    Rule(rf"{_CLIP}logit_scale", "clip:logit_scale"),
    Rule(rf"{_CLIP}text_projection\.weight", "clip:text_projection", "transpose"),
    Rule(rf"{_CLIP}visual_projection\.weight", "clip:visual.proj", "transpose"),
    Rule(rf"{_CLIP}text_model\.embeddings\.token_embedding\.weight", "clip:token_embedding.weight"),
    Rule(rf"{_CLIP}text_model\.embeddings\.position_embedding\.weight", "clip:positional_embedding"),
    Rule(rf"{_CLIP}text_model\.final_layer_norm{LEAF}", r"clip:ln_final.\1"),
    *with_prefix(rf"{_CLIP}text_model\.encoder\.layers\.", "clip:transformer.resblocks.", CLIP_BLOCK),
    Rule(rf"{_CLIP}vision_model\.embeddings\.class_embedding", "clip:visual.class_embedding"),
    Rule(rf"{_CLIP}vision_model\.embeddings\.patch_embedding\.weight", "clip:visual.conv1.weight"),
    Rule(rf"{_CLIP}vision_model\.embeddings\.position_embedding\.weight", "clip:visual.positional_embedding"),
    Rule(rf"{_CLIP}vision_model\.pre_layrnorm{LEAF}", r"clip:visual.ln_pre.\1"),  # sic
    Rule(rf"{_CLIP}vision_model\.post_layernorm{LEAF}", r"clip:visual.ln_post.\1"),
    *with_prefix(rf"{_CLIP}vision_model\.encoder\.layers\.", "clip:visual.transformer.resblocks.", CLIP_BLOCK),
]


def rules(config: AutoDIRConfig) -> list[Rule]:
    """Returns the complete table."""
    return [Rule(BUFFERS, None), *air_rules(config.air), *CLIP_RULES, Rule(rf"{_SCM}(.*)", r"scm:\1")]


def air_rules(config: AIRConfig) -> list[Rule]:
    """Returns the rules of U-Net and autoencoder, which are those of Stable Diffusion, too.

    The authors number the blocks of the U-Net consecutively, diffusers by level.
    """
    codec = config.codec
    assert isinstance(codec, KLConfig), "the released checkpoint has a KL autoencoder"
    return [
        Rule(rf"{_CODEC}loss\..*", None),  # the discriminator used in training, which some files contain
        *_unet_rules(config.unet),
        *_codec_rules(codec),
    ]


def _unet_rules(config: UNetConfig) -> list[Rule]:
    ours, layers, levels = "air:unet.", config.layers_per_block, len(config.block_channels)
    table = [
        Rule(rf"{_UNET}time_embed\.0{LEAF}", rf"{ours}time_embedding.linear_1.\1"),
        Rule(rf"{_UNET}time_embed\.2{LEAF}", rf"{ours}time_embedding.linear_2.\1"),
        Rule(rf"{_UNET}input_blocks\.0\.0{LEAF}", rf"{ours}conv_in.\1"),
        Rule(rf"{_UNET}out\.0{LEAF}", rf"{ours}conv_norm_out.\1"),
        Rule(rf"{_UNET}out\.2{LEAF}", rf"{ours}conv_out.\1"),
        *with_prefix(rf"{_UNET}middle_block\.0\.", f"{ours}mid_block.resnets.0.", RESIDUAL),
        *with_prefix(rf"{_UNET}middle_block\.1\.", f"{ours}mid_block.attentions.0.", TRANSFORMER),
        *with_prefix(rf"{_UNET}middle_block\.2\.", f"{ours}mid_block.resnets.1.", RESIDUAL),
    ]
    for level in range(levels):
        down, up = f"{ours}down_blocks.{level}.", f"{ours}up_blocks.{level}."
        for layer in range(layers):
            at = rf"{_UNET}input_blocks\.{1 + level * (layers + 1) + layer}\."
            table += with_prefix(rf"{at}0\.", f"{down}resnets.{layer}.", RESIDUAL)
            table += with_prefix(rf"{at}1\.", f"{down}attentions.{layer}.", TRANSFORMER)
        last = (level + 1) * (layers + 1)
        table.append(Rule(rf"{_UNET}input_blocks\.{last}\.0\.op{LEAF}", rf"{down}downsamplers.0.conv.\1"))
        for layer in range(layers + 1):
            at = rf"{_UNET}output_blocks\.{level * (layers + 1) + layer}\."
            table += with_prefix(rf"{at}0\.", f"{up}resnets.{layer}.", RESIDUAL)
            table.append(Rule(rf"{at}[12]\.conv{LEAF}", rf"{up}upsamplers.0.conv.\1"))
            table += with_prefix(rf"{at}1\.", f"{up}attentions.{layer}.", TRANSFORMER)
    return table


def _codec_rules(config: KLConfig) -> list[Rule]:
    ours, levels = "air:codec.autoencoder.", len(config.block_channels)
    table = [
        Rule(rf"{_CODEC}(quant_conv|post_quant_conv){LEAF}", rf"{ours}\1.\2"),
        Rule(rf"{_CODEC}(encoder|decoder)\.(conv_in|conv_out){LEAF}", rf"{ours}\1.\2.\3"),
        Rule(rf"{_CODEC}(encoder|decoder)\.norm_out{LEAF}", rf"{ours}\1.conv_norm_out.\2"),
    ]
    for half in ("encoder", "decoder"):
        middle, theirs = f"{ours}{half}.mid_block.", rf"{_CODEC}{half}\.mid\."
        table += with_prefix(rf"{theirs}block_1\.", f"{middle}resnets.0.", CODEC_RESIDUAL)
        table += with_prefix(rf"{theirs}attn_1\.", f"{middle}attentions.0.", CODEC_ATTENTION)
        table += with_prefix(rf"{theirs}block_2\.", f"{middle}resnets.1.", CODEC_RESIDUAL)
    for level in range(levels):
        down, up = rf"{_CODEC}encoder\.down\.{level}\.", rf"{_CODEC}decoder\.up\.{level}\."
        reversed_level = (
            levels - 1 - level
        )  # the authors count the decoder's levels from the image, diffusers from the latent
        for layer in range(config.layers_per_block + 1):
            table += with_prefix(
                rf"{down}block\.{layer}\.", f"{ours}encoder.down_blocks.{level}.resnets.{layer}.", CODEC_RESIDUAL
            )
            table += with_prefix(
                rf"{up}block\.{layer}\.", f"{ours}decoder.up_blocks.{reversed_level}.resnets.{layer}.", CODEC_RESIDUAL
            )
        table.append(
            Rule(rf"{down}downsample\.conv{LEAF}", rf"{ours}encoder.down_blocks.{level}.downsamplers.0.conv.\1")
        )
        table.append(
            Rule(rf"{up}upsample\.conv{LEAF}", rf"{ours}decoder.up_blocks.{reversed_level}.upsamplers.0.conv.\1")
        )
    return table


def networks(config: AutoDIRConfig) -> dict[str, nn.Module]:
    """Returns the networks, on the meta device."""
    with torch.device("meta"):  # no memory, no random init
        return {"clip": build_clip(config.clip), "air": AIR(config.air), "scm": NAFNet(config.scm)}
